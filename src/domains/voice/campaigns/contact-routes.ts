import { Hono } from 'hono'
import * as z from 'zod'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, Id, params, query, returns, returnsPage } from '../../../http/route'
import { presignFiles } from '../../files/presign'
import { Presign, Presigned } from '../../files/schema'
import { Job } from '../../jobs/schema'
import { admitUploads } from '../../metering/limits/uploads'
import { allow } from '../../tenancy/authorize'
import { contactsBody } from './body'
import { addContacts, listContacts } from './contacts'
import { importContacts } from './import'
import { Contact, Imported, ListContacts } from './schema'
import { existingCampaign } from './service'

const tag = 'Campaigns'
const id = params({ id: Id })

export const contactRoutes = new Hono<AppEnv>()
  .post(
    '/:id/contacts/presign',
    doc('Say which file of contacts will come, and learn where to send it', {
      tag,
      counts: 'upload',
      description: 'As `POST /api/v1/files/presign`, for the purpose `campaign_contacts`.',
      errors: ['storage_limit_reached'],
    }),
    allow('campaigns:write', 'files:write'),
    id,
    body(Presign, { example: { filename: 'contacts.csv', content_type: 'text/csv', size: 48213 } }),
    returns(201, Presigned, { location: () => '/api/v1/files' }),
    async (c) => {
      const input = c.req.valid('json')
      await existingCampaign(c.var.ctx, c.req.valid('param').id)
      await admitUploads(c, 'files', input.files?.length ?? 1)
      return c.var.reply(await presignFiles(c.var.ctx, input, 'campaign_contacts'))
    },
  )
  .post(
    '/:id/contacts',
    doc('Add contacts', {
      tag,
      description:
        'As CSV with a header (`text/csv`) or as JSON, up to 10,000 in 10 MiB: the good ones are kept, each of the others is named with its line. Or `{file_id}`: a job takes in a file of CSV, of any size. There is one contact for a number; what is said of it later replaces what was said before, field by field.',
      idempotency: 'claimed',
      errors: ['conflict', 'malformed_body', 'payload_too_large', 'upload_incomplete'],
      also: [{ status: 202, schema: Job, description: 'They are in a file' }],
    }),
    allow('campaigns:write'),
    id,
    contactsBody(),
    returns(200, z.union([Imported, Job]), { statusOf: (value) => ('kind' in value ? 202 : 200) }),
    async (c) => {
      const { sent, ctx } = c.var
      const campaign = c.req.valid('param').id
      if ('lines' in sent) return c.var.reply(await addContacts(ctx, campaign, sent.lines))
      return c.var.reply(await importContacts(ctx, campaign, sent))
    },
  )
  .get(
    '/:id/contacts',
    doc('List a campaign’s contacts, the last that were added first', { tag }),
    allow('campaigns:read'),
    id,
    query(ListContacts),
    returnsPage(Contact),
    async (c) => c.var.reply(await listContacts(c.var.ctx, c.req.valid('param').id, c.req.valid('query'))),
  )

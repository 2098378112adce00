import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import {
  body,
  doc,
  Id,
  paging,
  params,
  query,
  returns,
  returnsNothing,
  returnsPage,
} from '../../../http/route'
import { allow } from '../../tenancy/authorize'
import { getReceived, listReceived } from './received'
import { listRefusals } from './refusals'
import {
  CreateSource,
  ListReceived,
  ListSources,
  Received,
  ReceivedDetail,
  Refused,
  Source,
  UpdateSource,
} from './schema'
import { createSource, deleteSource, getSource, listSources, updateSource } from './service'

const tag = 'incoming webhooks'
const example = {
  kind: 'github',
  name: 'Our repositories',
  secrets: ['a secret of at least 8 characters'],
}

/** What a tenant takes webhooks from. */
export const sourceRoutes = new Hono<AppEnv>()
  .post(
    '/',
    doc('Create a source of webhooks', {
      tag,
      description:
        'Its `url` is where its sender is to send. What it sends becomes events `incoming.{kind}.…`.',
      errors: ['conflict'],
      secret: true,
    }),
    allow('webhooks:write'),
    body(CreateSource, { example }),
    returns(201, Source),
    async (c) => c.var.reply(await createSource(c.var.ctx, c.req.valid('json'))),
  )
  .get(
    '/',
    doc('List sources of webhooks, newest first', { tag }),
    allow('webhooks:read'),
    query(ListSources),
    returnsPage(Source),
    async (c) => c.var.reply(await listSources(c.var.ctx, c.req.valid('query'))),
  )
  .get(
    '/:id',
    doc('Read a source of webhooks', { tag }),
    allow('webhooks:read'),
    params({ id: Id }),
    returns(200, Source),
    async (c) => c.var.reply(await getSource(c.var.ctx, c.req.valid('param').id)),
  )
  .patch(
    '/:id',
    doc('Change a source of webhooks', {
      tag,
      description: 'Each `********` among its secrets stands for one that there was, in their order.',
      secret: ['secrets'],
    }),
    allow('webhooks:write'),
    params({ id: Id }),
    body(UpdateSource, { example: { name: 'All our repositories' } }),
    returns(200, Source),
    async (c) => c.var.reply(await updateSource(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )
  .delete(
    '/:id',
    doc('Delete a source of webhooks', { tag, description: 'Its URL is 404 at once; its events stay.' }),
    allow('webhooks:write'),
    params({ id: Id }),
    returnsNothing(),
    async (c) => c.var.reply(await deleteSource(c.var.ctx, c.req.valid('param').id)),
  )
  .get(
    '/:id/errors',
    doc('List what a source was refused, newest first', {
      tag,
      description: 'Without the bodies. The last 200, for 30 days.',
    }),
    allow('webhooks:read'),
    params({ id: Id }),
    query({ ...paging }),
    returnsPage(Refused),
    async (c) => {
      const { id } = await getSource(c.var.ctx, c.req.valid('param').id)
      return c.var.reply(await listRefusals(c.var.ctx, id, c.req.valid('query')))
    },
  )

/** What came in. */
export const receivedRoutes = new Hono<AppEnv>()
  .get(
    '/',
    doc('List webhooks that were taken in, newest first', { tag }),
    allow('events:read'),
    query(ListReceived),
    returnsPage(Received),
    async (c) => c.var.reply(await listReceived(c.var.ctx, c.req.valid('query'))),
  )
  .get(
    '/:id',
    doc('Read a webhook that was taken in, with its payload', {
      tag,
      description: 'Also one that is too large for an event (`payload_omitted`).',
    }),
    allow('events:read'),
    params({ id: Id }),
    returns(200, ReceivedDetail),
    async (c) => c.var.reply(await getReceived(c.var.ctx, c.req.valid('param').id)),
  )

import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, Id, params, query, returns, returnsPage } from '../../../http/route'
import { allow } from '../../tenancy/authorize'
import { cancelCampaign, pauseCampaign, resumeCampaign, scheduleCampaign } from './control'
import { Campaign, CreateCampaign, ListCampaigns, ScheduleCampaign, UpdateCampaign } from './schema'
import { createCampaign, getCampaign, listCampaigns, updateCampaign } from './service'
import './ended'
import './late'

const tag = 'Campaigns'
const id = params({ id: Id })
const errors = ['conflict', 'provider_not_configured'] as const

/** Campaigns; their contacts are in contact-routes.ts. */
export const campaignRoutes = new Hono<AppEnv>()
  .post(
    '/',
    doc('Create a campaign', { tag, description: 'A draft: it calls once it is scheduled.' }),
    allow('campaigns:write'),
    body(CreateCampaign),
    returns(201, Campaign),
    async (c) => c.var.reply(await createCampaign(c.var.ctx, c.req.valid('json'))),
  )
  .get(
    '/',
    doc('List campaigns, newest first', { tag }),
    allow('campaigns:read'),
    query(ListCampaigns),
    returnsPage(Campaign),
    async (c) => c.var.reply(await listCampaigns(c.var.ctx, c.req.valid('query'))),
  )
  .get(
    '/:id',
    doc('Read how a campaign stands', { tag }),
    allow('campaigns:read'),
    id,
    returns(200, Campaign),
    async (c) => c.var.reply(await getCampaign(c.var.ctx, c.req.valid('param').id)),
  )
  .patch(
    '/:id',
    doc('Change a campaign', {
      tag,
      description: 'Its calling times are changed by scheduling it anew.',
      errors: [...errors],
    }),
    allow('campaigns:write'),
    id,
    body(UpdateCampaign),
    returns(200, Campaign),
    async (c) => c.var.reply(await updateCampaign(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )
  .post(
    '/:id/schedule',
    doc('Schedule a campaign', {
      tag,
      description:
        'From `start_at` on a job places its calls. One that is scheduled already, or paused, goes by the new times.',
      errors: [...errors],
    }),
    allow('campaigns:write', 'calls:write'),
    id,
    body(ScheduleCampaign),
    returns(200, Campaign),
    async (c) => c.var.reply(await scheduleCampaign(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )
  .post(
    '/:id/pause',
    doc('Pause a campaign', { tag, description: 'Calls that are under way go on.', errors: ['conflict'] }),
    allow('campaigns:write'),
    id,
    returns(200, Campaign),
    async (c) => c.var.reply(await pauseCampaign(c.var.ctx, c.req.valid('param').id)),
  )
  .post(
    '/:id/resume',
    doc('Have a paused campaign go on', { tag, errors: [...errors] }),
    allow('campaigns:write', 'calls:write'),
    id,
    returns(200, Campaign),
    async (c) => c.var.reply(await resumeCampaign(c.var.ctx, c.req.valid('param').id)),
  )
  .post(
    '/:id/cancel',
    doc('Cancel a campaign', {
      tag,
      description: 'For good. Calls that are under way go on; nobody else is called.',
      errors: ['conflict'],
    }),
    allow('campaigns:write'),
    id,
    returns(200, Campaign),
    async (c) => c.var.reply(await cancelCampaign(c.var.ctx, c.req.valid('param').id)),
  )

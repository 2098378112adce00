import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, params, query, returns, returnsNothing, returnsPage } from '../../../http/route'
import { allow } from '../../tenancy/authorize'
import { CreateSpeaker, listFilters, Speaker, SpeakerId, UpdateSpeaker } from './schema'
import { createSpeaker, deleteSpeaker, getSpeaker, listSpeakers, updateSpeaker } from './service'

const tag = 'Interactions'
const id = params({ id: SpeakerId })

export const speakerRoutes = new Hono<AppEnv>()
  .post(
    '/',
    doc('Make a speaker known', {
      tag,
      description: 'One that is not known yet is made with the first thing said, too, without a name.',
      errors: ['already_exists'],
    }),
    allow('interactions:write'),
    body(CreateSpeaker),
    returns(201, Speaker, { location: ({ id }) => `/api/v1/speakers/${encodeURIComponent(id)}` }),
    async (c) => c.var.reply(await createSpeaker(c.var.ctx, c.req.valid('json'))),
  )
  .get(
    '/',
    doc('List speakers, newest first', { tag }),
    allow('interactions:read'),
    query(listFilters),
    returnsPage(Speaker),
    async (c) => c.var.reply(await listSpeakers(c.var.ctx, c.req.valid('query'))),
  )
  .get(
    '/:id',
    doc('Read a speaker', { tag }),
    allow('interactions:read'),
    id,
    returns(200, Speaker),
    async (c) => c.var.reply(await getSpeaker(c.var.ctx, c.req.valid('param').id)),
  )
  .patch(
    '/:id',
    doc('Change a speaker’s name or metadata', { tag }),
    allow('interactions:write'),
    id,
    body(UpdateSpeaker),
    returns(200, Speaker),
    async (c) => c.var.reply(await updateSpeaker(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )
  .delete(
    '/:id',
    doc('Forget a speaker', {
      tag,
      description:
        'What was said keeps the id. To delete that too: `DELETE /api/v1/interactions?speaker_id=`.',
    }),
    allow('interactions:write'),
    id,
    returnsNothing(),
    async (c) => c.var.reply(await deleteSpeaker(c.var.ctx, c.req.valid('param').id)),
  )

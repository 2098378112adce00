import { Hono } from 'hono'
import * as z from 'zod'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, params, query, returns, returnsNothing, returnsPage } from '../../../http/route'
import { Id } from '../../../lib/wire'
import { allow } from '../../tenancy/authorize'
import { eventStream, picture } from './answers'
import { setAvatar } from './avatar'
import { Agent, CreateAgent, CreatedAgent, ListAgents, TestAgent, UpdateAgent } from './schema'
import { createAgent, deleteAgent, getAgent, listAgents, updateAgent } from './service'
import { testAgent } from './trial'
import { pictureUpload } from './upload'

const tag = 'Agents'
/** An agent's secrets, and what says where they are sent. */
const SECRETS_AND_WHERE_TO = [
  ...['webhook_token', 'signing_secret', 'api_key'],
  ...['webhook_url', 'webhook_header', 'base_url'],
]
const one = { id: Id }

export const agents = new Hono<AppEnv>()
  .post(
    '/',
    doc('Create an agent', {
      tag,
      description: 'Only this answer shows the signing secret of a webhook agent.',
      secret: true,
      errors: ['workers_ai_not_bound'],
    }),
    allow('agents:write'),
    body(CreateAgent),
    returns(201, CreatedAgent),
    async (c) => c.var.reply(await createAgent(c.var.ctx, c.req.valid('json'))),
  )
  .get(
    '/',
    doc('List agents, newest first', { tag }),
    allow('agents:read'),
    query(ListAgents),
    returnsPage(Agent),
    async (c) => c.var.reply(await listAgents(c.var.ctx, c.req.valid('query'))),
  )
  .get(
    '/:id',
    doc('Read an agent', { tag }),
    allow('agents:read'),
    params(one),
    returns(200, Agent),
    async (c) => c.var.reply(await getAgent(c.var.ctx, c.req.valid('param').id)),
  )
  .patch(
    '/:id',
    doc('Change an agent', { tag, secret: SECRETS_AND_WHERE_TO }),
    allow('agents:write'),
    params(one),
    body(UpdateAgent),
    returns(200, Agent),
    async (c) => c.var.reply(await updateAgent(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )
  .put(
    '/:id',
    doc('Change an agent (the same as PATCH)', {
      tag,
      description: 'Fields left out stay as they are.',
      secret: SECRETS_AND_WHERE_TO,
    }),
    allow('agents:write'),
    params(one),
    body(UpdateAgent),
    returns(200, Agent),
    async (c) => c.var.reply(await updateAgent(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )
  .delete(
    '/:id',
    doc('Delete an agent', { tag, description: 'Its chats stay and can be read.' }),
    allow('agents:write'),
    params(one),
    returnsNothing(),
    async (c) => c.var.reply(await deleteAgent(c.var.ctx, c.req.valid('param').id)),
  )
  .post(
    '/:id/avatar',
    doc('Give an agent a picture', { tag, counts: 'upload', errors: ['storage_limit_reached'] }),
    allow('agents:write'),
    params(one),
    pictureUpload(),
    returns(200, Agent),
    async (c) => c.var.reply(await setAvatar(c.var.ctx, c.req.valid('param').id, c.var.picture)),
  )
  .get(
    '/:id/avatar',
    doc('Read an agent’s picture', {
      tag,
      returns: { status: 200, schema: null, contentType: 'image/*', description: 'The picture' },
    }),
    allow('agents:read'),
    params(one),
    query({
      v: z
        .string()
        .max(64)
        .optional()
        .meta({ description: 'The picture meant; with it the answer may be kept.' }),
    }),
    async (c) => picture(c, c.req.valid('param').id, c.req.valid('query').v),
  )
  .post(
    '/:id/test',
    doc('Ask an agent once, without a chat', {
      tag,
      description: 'Streams the answer as a chat does; an agent that is not active answers too.',
      idempotency: 'claimed',
      errors: ['agent_on_calls_only'],
      returns: {
        status: 200,
        schema: null,
        contentType: 'text/event-stream',
        description: 'The answer’s events',
      },
    }),
    allow('agents:write'),
    params(one),
    body(TestAgent),
    async (c) => {
      const stop = new AbortController()
      const frames = await testAgent(c.var.ctx, c.req.valid('param').id, c.req.valid('json'), stop.signal)
      return eventStream(c, frames, stop)
    },
  )

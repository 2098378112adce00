import { Hono } from 'hono'
import * as z from 'zod'
import type { AppEnv } from '../../../http/app-env'
import { doc, params, query, returns, returnsNothing } from '../../../http/route'
import { allow } from '../../tenancy/authorize'
import { getApplication } from '../../webhooks/applications/service'
import { endpointOf } from '../../webhooks/endpoints/of-application'
import { svix as dialect } from '../dialect'
import { messageAt } from '../messages/service'
import { listOf, Ref } from '../wire'
import {
  AttemptOut,
  EndpointMessageOut,
  ListByEndpoint,
  ListByMessage,
  ListDestinations,
  ListMessagesOf,
  MessageEndpointOut,
} from './schema'
import {
  attemptOfMessage,
  attemptsByEndpoint,
  attemptsByMessage,
  endpointsOfMessage,
  expungeAttempt,
  messagesOfEndpoint,
  resend,
} from './service'

const tag = 'svix'
const app_id = Ref('app')
const endpoint_id = Ref('ep')
const msg_id = Ref('msg')
const attempt_id = z
  .string()
  .regex(/^atmpt_[0-9A-Za-z_-]{1,64}$/, 'must be an attempt’s id (atmpt_…)')
  .meta({ example: 'atmpt_0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d_1' })
const bare = { bare: true } as const
const unknown = { unknown: 'ignored' } as const
const errors = ['service_unavailable'] as const
const looks = 'A page looks at so many; it may be short or empty, and goes on until `done`.'

/** Svix's attempts, and how messages stand with endpoints; mounted under an application. */
export const svixAttempts = new Hono<AppEnv>()
  .get(
    '/attempt/endpoint/:endpoint_id',
    doc('List an endpoint’s attempts, those of the newest message first', {
      ...{ tag, dialect, errors: [...errors] },
      description: looks,
    }),
    allow('deliveries:read'),
    params({ app_id, endpoint_id }),
    query(ListByEndpoint, unknown),
    returns(200, listOf(AttemptOut), bare),
    async (c) => {
      const at = c.req.valid('param')
      const { id } = await getApplication(c.var.ctx, at.app_id)
      const endpoint = await endpointOf(c.var.ctx, id, at.endpoint_id)
      return c.var.reply(await attemptsByEndpoint(c.var.ctx, endpoint, c.req.valid('query')))
    },
  )
  .get(
    '/attempt/msg/:msg_id',
    doc('List a message’s attempts, the latest first', { tag, dialect, errors: [...errors] }),
    allow('deliveries:read'),
    params({ app_id, msg_id }),
    query(ListByMessage, unknown),
    returns(200, listOf(AttemptOut), bare),
    async (c) => {
      const at = c.req.valid('param')
      const { id } = await getApplication(c.var.ctx, at.app_id)
      const event = await messageAt(c.var.ctx, id, at.msg_id)
      return c.var.reply(await attemptsByMessage(c.var.ctx, id, event, c.req.valid('query')))
    },
  )
  .get(
    '/endpoint/:endpoint_id/msg',
    doc('List an endpoint’s messages and how they stand, newest first', { tag, dialect, description: looks }),
    allow('deliveries:read'),
    params({ app_id, endpoint_id }),
    query(ListMessagesOf, unknown),
    returns(200, listOf(EndpointMessageOut), bare),
    async (c) => {
      const at = c.req.valid('param')
      const { id } = await getApplication(c.var.ctx, at.app_id)
      const endpoint = await endpointOf(c.var.ctx, id, at.endpoint_id)
      return c.var.reply(await messagesOfEndpoint(c.var.ctx, endpoint, c.req.valid('query')))
    },
  )
  .get(
    '/msg/:msg_id/endpoint',
    doc('List a message’s endpoints and how it stands there', { tag, dialect }),
    allow('deliveries:read'),
    params({ app_id, msg_id }),
    query(ListDestinations, unknown),
    returns(200, listOf(MessageEndpointOut), bare),
    async (c) => {
      const at = c.req.valid('param')
      const { id } = await getApplication(c.var.ctx, at.app_id)
      const event = await messageAt(c.var.ctx, id, at.msg_id)
      return c.var.reply(await endpointsOfMessage(c.var.ctx, event, c.req.valid('query')))
    },
  )
  .get(
    '/msg/:msg_id/attempt/:attempt_id',
    doc('Read an attempt', { tag, dialect, errors: [...errors] }),
    allow('deliveries:read'),
    params({ app_id, msg_id, attempt_id }),
    returns(200, AttemptOut, bare),
    async (c) => {
      const at = c.req.valid('param')
      const { id } = await getApplication(c.var.ctx, at.app_id)
      const event = await messageAt(c.var.ctx, id, at.msg_id)
      return c.var.reply(await attemptOfMessage(c.var.ctx, event, at.attempt_id))
    },
  )
  .delete(
    '/msg/:msg_id/attempt/:attempt_id/content',
    doc('Erase what an attempt was answered', { tag, dialect, errors: [...errors] }),
    allow('deliveries:write'),
    params({ app_id, msg_id, attempt_id }),
    returnsNothing(),
    async (c) => {
      const at = c.req.valid('param')
      const { id } = await getApplication(c.var.ctx, at.app_id)
      const event = await messageAt(c.var.ctx, id, at.msg_id)
      return c.var.reply(await expungeAttempt(c.var.ctx, event, at.attempt_id))
    },
  )
  .post(
    '/msg/:msg_id/endpoint/:endpoint_id/resend',
    doc('Send a message to an endpoint again', { tag, dialect, errors: ['delivery_not_retryable'] }),
    allow('deliveries:write'),
    params({ app_id, msg_id, endpoint_id }),
    returns(202, z.object({}), { bare: true }),
    async (c) => {
      const at = c.req.valid('param')
      const { id } = await getApplication(c.var.ctx, at.app_id)
      const event = await messageAt(c.var.ctx, id, at.msg_id)
      return c.var.reply(await resend(c.var.ctx, id, event, at.endpoint_id))
    },
  )

import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, params, query, returns, returnsNothing } from '../../../http/route'
import { allow } from '../../tenancy/authorize'
import { getApplication } from '../../webhooks/applications/service'
import { eraseEvent } from '../../webhooks/erasures/service'
import { svix as dialect } from '../dialect'
import { showing } from '../showing'
import { Flag, listOf, Ref } from '../wire'
import { isAwaited } from './precheck'
import { ListMessages, MessageIn, MessageOut, PrecheckIn, PrecheckOut } from './schema'
import { getMessage, listMessages, messageAt, sendMessage } from './service'

const tag = 'svix'
const bare = { bare: true } as const

/** Svix's messages: events of one application. */
export const svixMessages = new Hono<AppEnv>()
  .get(
    '/',
    doc('List an application’s messages, newest first', {
      tag,
      dialect,
      description:
        'By channel or type a page looks at five messages for each that it may show; it may be short or empty, and goes on until `done`.',
    }),
    allow('events:read'),
    params({ app_id: Ref('app') }),
    query(ListMessages, { unknown: 'ignored' }),
    returns(200, listOf(MessageOut), bare),
    async (c) => {
      const app = await getApplication(c.var.ctx, c.req.valid('param').app_id)
      return c.var.reply(await listMessages(c.var.ctx, app, c.req.valid('query')))
    },
  )
  .post(
    '/',
    doc('Send a message to an application’s endpoints', {
      tag,
      dialect,
      description: 'Kept when answered 202, and on its way to every endpoint that takes its type.',
      errors: ['payload_too_large', 'already_exists'],
    }),
    allow('events:write'),
    params({ app_id: Ref('app') }),
    query({ with_content: Flag(true) }, { unknown: 'ignored' }),
    body(MessageIn, { example: { eventType: 'user.signup', payload: { email: 'ada@example.com' } } }),
    returns(202, MessageOut, bare),
    async (c) => {
      const { with_content } = c.req.valid('query')
      const { app_id } = c.req.valid('param')
      return c.var.reply(await sendMessage(c.var.ctx, app_id, c.req.valid('json'), with_content))
    },
  )
  .get(
    '/:msg_id',
    doc('Read a message', { tag, dialect }),
    allow('events:read'),
    params({ app_id: Ref('app'), msg_id: Ref('msg') }),
    query({ with_content: Flag(true) }, { unknown: 'ignored' }),
    returns(200, MessageOut, bare),
    async (c) => {
      const { app_id, msg_id } = c.req.valid('param')
      const app = await getApplication(c.var.ctx, app_id)
      return c.var.reply(await getMessage(c.var.ctx, app, msg_id, c.req.valid('query').with_content))
    },
  )
  .delete(
    '/:msg_id/content',
    doc('Erase a message’s payload', {
      tag,
      dialect,
      description:
        'With it goes what attempts sent and were answered; what has not arrived is cancelled, and nothing is sent again.',
    }),
    allow('events:write'),
    params({ app_id: Ref('app'), msg_id: Ref('msg') }),
    returnsNothing(),
    async (c) => {
      const { app_id, msg_id } = c.req.valid('param')
      const app = await getApplication(c.var.ctx, app_id)
      const { id } = await messageAt(c.var.ctx, app.id, msg_id)
      return c.var.reply(
        await eraseEvent(
          showing(c.var.ctx, () => undefined),
          id,
        ),
      )
    },
  )
  .post(
    '/precheck/active',
    doc('Whether a message would go to any endpoint', {
      tag,
      dialect,
      description: 'Disabled ones do not count; what filters would say is not asked.',
    }),
    allow('events:read'),
    params({ app_id: Ref('app') }),
    body(PrecheckIn, { example: { eventType: 'user.signup' } }),
    returns(200, PrecheckOut, bare),
    async (c) => {
      const app = await getApplication(c.var.ctx, c.req.valid('param').app_id)
      return c.var.reply({ active: await isAwaited(c.var.ctx, app, c.req.valid('json')) })
    },
  )

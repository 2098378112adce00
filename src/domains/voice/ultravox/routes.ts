import { Hono, type Context as HonoContext } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import type { Note } from '../../../http/notes'
import { body, doc, open, params, returns } from '../../../http/route'
import { Id } from '../../../lib/wire'
import { idempotencyOf } from '../../metering/idempotency/middleware'
import { ToolResult } from '../../tools/schema'
import { callToken, type WithCall } from './proof'
import { KnowledgeAsked, KnowledgeFound, ToolArguments } from './schema'
import { agentOnCall, knowledgeOnCall, toolOnCall } from './tools'
import './provider'

const note: Note = {
  tag: 'Calls',
  idempotency: 'proven',
  counts: 'source',
  errors: ['not_found', 'conflict', 'tenant_suspended', 'tenant_cancelled'],
  // A call that is over, or whose tenant has fallen, is told nothing again.
  again: async (ctx, _params, c) => {
    await agentOnCall(ctx, (c as unknown as HonoContext<WithCall>).get('onCall').call_id)
  },
}

/** A key is one of the call's. */
const byCall = (options: { claims?: boolean } = {}) =>
  idempotencyOf<WithCall>((c) => {
    const { ctx, call_id } = c.get('onCall')
    return { tenant_id: ctx.tenant.id, principal: `call:${call_id}`, ctx }
  }, options)

/** What Ultravox asks for while an agent of ours talks: under the token of the call, in `X-Causeway-Call-Token`. */
export const onCallRoutes = new Hono<AppEnv>()
  .post(
    '/tools/knowledge',
    doc('Look something up for the agent of a call', {
      ...note,
      description: 'In the knowledge bases of the agent; for Ultravox, under the token of the call.',
    }),
    open(),
    callToken(),
    byCall(),
    body(KnowledgeAsked),
    returns(200, KnowledgeFound),
    async (c) => {
      const { ctx, call_id } = c.var.onCall
      return c.var.reply(await knowledgeOnCall(ctx, call_id, c.req.valid('json').query))
    },
  )
  .post(
    '/tools/:id',
    doc('Call a tool for the agent of a call', {
      ...note,
      description:
        'For Ultravox, under the token of the call: so a tool’s secrets stay here. What fails is answered 200, in words for the model.',
    }),
    open(),
    params({ id: Id }),
    callToken(),
    byCall({ claims: true }),
    body(ToolArguments),
    returns(200, ToolResult),
    async (c) => {
      const { ctx, call_id } = c.var.onCall
      return c.var.reply(await toolOnCall(ctx, call_id, c.req.valid('param').id, c.req.valid('json')))
    },
  )

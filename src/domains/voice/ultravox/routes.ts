import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import type { Note } from '../../../http/notes'
import { body, doc, open, params, returns } from '../../../http/route'
import { Id } from '../../../lib/wire'
import { idempotencyOf } from '../../metering/idempotency/middleware'
import { ToolResult } from '../../tools/schema'
import { callToken, type WithCall } from './proof'
import { KnowledgeAsked, KnowledgeFound, ToolArguments } from './schema'
import { agentOnCall, knowledgeOnCall, noSuchTool, toolOnCall } from './tools'
import './provider'

const note: Note = {
  tag: 'Calls',
  idempotency: 'proven',
  counts: 'source',
  errors: ['not_found', 'conflict', 'tenant_suspended', 'tenant_cancelled'],
}

/** A key is one of a call that goes on, and of what its agent may use still. */
const byCall = idempotencyOf<WithCall>(
  async (c) => {
    const { ctx, call_id } = c.get('onCall')
    const { tools } = await agentOnCall(ctx, call_id)
    const toolId = c.req.param('id')
    if (toolId !== undefined && !tools.includes(toolId)) throw noSuchTool(toolId)
    return { tenant_id: ctx.tenant.id, principal: `call:${call_id}`, ctx }
  },
  { claims: true },
)

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
    byCall,
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
    byCall,
    body(ToolArguments),
    returns(200, ToolResult),
    async (c) => {
      const { ctx, call_id } = c.var.onCall
      return c.var.reply(await toolOnCall(ctx, call_id, c.req.valid('param').id, c.req.valid('json')))
    },
  )

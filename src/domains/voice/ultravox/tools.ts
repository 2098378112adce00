import type { Context } from '../../../data/context'
import { find } from '../../../data/revise'
import { sha256 } from '../../../lib/crypto'
import { problem } from '../../../lib/problem'
import { getAgent } from '../../chat/agents/service'
import { searchBases } from '../../knowledge/search'
import { refuseUnlessActiveNow } from '../../tenancy/tenants/active'
import { functionsOf } from '../../tools/for-agents'
import type { ToolResult } from '../../tools/schema'
import { calls } from '../calls/table'
import { hasEnded } from '../calls/transition'
import type { KnowledgeFound } from './schema'

/** Pieces of documents that an agent on a call is told: it has to speak by them at once. */
const MOST_PASSAGES = 3

/**
 * Calls a tool for the agent of a call that goes on, with what its model gave. What is wrong with that, or with the tool,
 * is a result too, in words that a model can go by. 404 for a tool that the agent does not have, 409 once the call has ended.
 */
export async function toolOnCall(
  ctx: Context,
  callId: string,
  toolId: string,
  args: Record<string, unknown>,
): Promise<ToolResult> {
  const { tools } = await agentOnCall(ctx, callId)
  const [tool] = tools.includes(toolId) ? await functionsOf(ctx, [toolId]) : []
  if (!tool) throw noSuchTool(toolId)
  const given = ctx.idempotency?.key
  // The same for a repeat of the request, also after a crash: then the receiver knows it again.
  const key = given === undefined ? ctx.requestId : await sha256(`${callId}:${toolId}:${given}`)
  return tool.call(args, { key })
}

export const noSuchTool = (id: string) => problem.notFound('tool of this call’s agent', id)

/** What the agent of a call that goes on knows about a question. 409 once the call has ended. */
export async function knowledgeOnCall(ctx: Context, callId: string, query: string): Promise<KnowledgeFound> {
  const { knowledge_base_ids } = await agentOnCall(ctx, callId)
  const found = await searchBases(ctx, knowledge_base_ids, { query, limit: MOST_PASSAGES })
  return { results: found.map(({ filename, heading, text }) => ({ filename, heading, text })) }
}

/** The agent of a call that goes on; 404 without such a call, 409 once it has ended, 403 where its tenant does not stand. */
export async function agentOnCall(ctx: Context, callId: string) {
  await refuseUnlessActiveNow(ctx, 'call')
  const call = await find(ctx, calls, callId)
  if (!call) throw problem.notFound('call', callId)
  if (hasEnded(call))
    throw problem('conflict', `The call is ${call.status}`, { details: { status: call.status } })
  return getAgent(ctx, call.agent_id)
}

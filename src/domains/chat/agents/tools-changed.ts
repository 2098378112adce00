import { and, eq, sql } from 'drizzle-orm'
import { onToolChange } from '../../tools/changed'
import { tellChatsOf } from '../chats/agent-changed'
import { syncSoon } from './sync/service'
import { agents } from './table'

// A chat knows its agent's tools for a minute, as it knows the agent. That the provider of an agent is told of them is
// written by triggers on the tools; here it begins.

onToolChange(async (ctx, toolId) => {
  const having = await ctx.db
    .select({ id: agents.id, kind: agents.kind })
    .from(agents)
    .where(and(eq(agents.tenant_id, ctx.tenant.id), sql`instr(${agents.tools}, ${toolId}) > 0`))
  return () =>
    Promise.all(
      having.map(({ id, kind }) => (kind === 'ultravox' ? syncSoon(ctx, id) : tellChatsOf(ctx, id))),
    )
})

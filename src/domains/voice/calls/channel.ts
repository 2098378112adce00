import { and, desc, eq, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { find } from '../../../data/revise'
import { bareTenant, systemContext } from '../../../data/system'
import { describeError, log } from '../../../lib/log'
import { problem } from '../../../lib/problem'
import { channelKind, publish, type Said } from '../../realtime/channels'
import type { Turn } from './port'
import { type CallRow, calls, callTurns } from './table'

// `calls:{id}` says how a call stands and what is said in it: to who comes all of it, and from then on what is new.

/** What was said lately, of which who comes is told; GET …/transcript has all of it. */
const MOST_TURNS = 100

const status = (row: CallRow) => ({
  ...{ id: row.id, status: row.status, started_at: row.started_at, ended_at: row.ended_at },
  ...{ duration_seconds: row.duration_seconds, cost: row.cost, ended_reason: row.ended_reason },
})

channelKind({
  name: 'calls',
  scope: 'calls:read',
  greet: async (ctx, id) => {
    const row = await find(ctx, calls, id)
    if (!row) throw problem.notFound('call', id)
    const turns = await ctx.db
      .select()
      .from(callTurns)
      .where(and(eq(callTurns.tenant_id, ctx.tenant.id), eq(callTurns.call_id, id)))
      .orderBy(desc(callTurns.position))
      .limit(MOST_TURNS)
    const transcript = turns.reverse().map(({ tenant_id: _, call_id: _call, ...turn }) => turn)
    return { type: 'call_status', data: { ...status(row), transcript } }
  },
  // Calls that nobody listens to say nothing: there are thousands, and each would wake an object.
  wake: async (env, tenantId, id) => {
    const ctx = systemContext(env, bareTenant(tenantId), 'calls', () => {})
    const mine = and(eq(calls.tenant_id, tenantId), eq(calls.id, id), eq(calls.watched, false))
    const statements = [ctx.db.update(calls).set({ watched: true }).where(mine)]
    await commit(ctx, { statements, result: undefined })
  },
})

/** Says how calls stand now and what was said in them, to who listens; never fails. */
export async function sayCalls(
  ctx: Context,
  said: readonly { row: CallRow; turns: readonly Turn[] }[],
): Promise<void> {
  try {
    const ids = JSON.stringify(said.map(({ row }) => row.id))
    const watched = await ctx.db
      .select({ id: calls.id })
      .from(calls)
      .where(
        and(
          eq(calls.tenant_id, ctx.tenant.id),
          sql`${calls.id} in (select value from json_each(${ids}))`,
          eq(calls.watched, true),
        ),
      )
    const wanted = new Set(watched.map(({ id }) => id))
    const telling = said
      .filter(({ row }) => wanted.has(row.id))
      .map(({ row, turns }) => publish(ctx.env, ctx.tenant.id, `calls:${row.id}`, framesOf(row, turns)))
    await Promise.all(telling)
  } catch (error) {
    log.warn('calls_not_told', { tenant_id: ctx.tenant.id, cause: describeError(error) })
  }
}

const framesOf = (row: CallRow, turns: readonly Turn[]): Said[] => [
  ...turns.map((turn) => ({ type: 'call_turn', data: { call_id: row.id, ...turn } })),
  { type: 'call_status', data: status(row) },
]

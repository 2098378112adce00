import { and, eq, lte, sql } from 'drizzle-orm'
import type { SQLiteUpdateSetSource } from 'drizzle-orm/sqlite-core'
import { commit } from '../../../../data/commit'
import type { Context } from '../../../../data/context'
import { find } from '../../../../data/revise'
import { bareTenant, systemContext } from '../../../../data/system'
import { iso, newId } from '../../../../lib/ids'
import { describeError, log } from '../../../../lib/log'
import { Problem, problem } from '../../../../lib/problem'
import { agents } from '../table'
import { keeperOfAgents } from './keeper'
import { type AgentSyncRow, agentSyncs } from './table'

/** A provider may take so long to be told; whoever was to tell it and has not by then is gone. */
const CLAIM_MS = 120_000
const FIRST_WAIT_MS = 5_000
const MOST_WAIT_MS = 3_600_000
/** Attempts of about a day. */
const MOST_ATTEMPTS = 32
/** Changes that came while the provider was being told, told one after the other. */
const MOST_IN_A_ROW = 5
const MOST_WORDS = 500

const TAKEN = problem('conflict', 'Another tells the provider of this agent')

/** What a deleted agent was at its provider, where that is not known (any more, or yet). */
const UNKNOWN = ''

const mine = (ctx: Context, agentId: string) =>
  and(eq(agentSyncs.tenant_id, ctx.tenant.id), eq(agentSyncs.agent_id, agentId))

/** Has the provider told of a change of an agent, or (`removed`) of its end. Not async: it belongs into a batch. */
export function syncDue(ctx: Context, agentId: string, removed: { provider_agent_id: string | null } | null) {
  const gone = removed && (removed.provider_agent_id ?? UNKNOWN)
  return ctx.db
    .insert(agentSyncs)
    .values({ tenant_id: ctx.tenant.id, agent_id: agentId, removed: gone, due_at: iso(ctx.now) })
    .onConflictDoUpdate({
      target: [agentSyncs.tenant_id, agentSyncs.agent_id],
      set: {
        ...{ asked: sql`asked + 1`, attempts: 0, removed: gone },
        due_at: sql`case when claim is null then excluded.due_at else due_at end`,
      },
    })
}

/** Begins to tell the provider, beside the answer; what fails of it the sweep finds. */
export function syncSoon(ctx: Context, agentId: string): void {
  const own = systemContext(ctx.env, bareTenant(ctx.tenant.id), 'agent-sync', ctx.defer)
  ctx.defer(syncAgent(own, agentId))
}

/** Tells the provider all that it has not been told of an agent, unless another does so now. */
export async function syncAgent(ctx: Context, agentId: string): Promise<void> {
  for (let times = 0; times < MOST_IN_A_ROW; times++) {
    const claimed = await claimOf({ ...ctx, now: Date.now() }, agentId)
    if (!claimed || (await told({ ...ctx, now: Date.now() }, claimed))) return
  }
}

async function claimOf(ctx: Context, agentId: string): Promise<AgentSyncRow | null> {
  let row: AgentSyncRow | undefined
  const set = { claim: newId(ctx.now), due_at: iso(ctx.now + CLAIM_MS), attempts: sql`attempts + 1` }
  const statement = ctx.db
    .update(agentSyncs)
    .set(set)
    .where(and(mine(ctx, agentId), lte(agentSyncs.due_at, iso(ctx.now))))
  const read = ctx.db.select().from(agentSyncs).where(mine(ctx, agentId))
  try {
    await commit(ctx, {
      statements: [{ statement, otherwise: TAKEN }],
      reads: { statements: [read], seen: ([rows]) => ([row] = rows as AgentSyncRow[]) },
      result: undefined,
    })
  } catch (error) {
    if (error !== TAKEN) throw error
  }
  return row ?? null
}

/** Answers whether nothing is left to be told for now. */
async function told(ctx: Context, claimed: AgentSyncRow): Promise<boolean> {
  const keeper = keeperOfAgents()
  const { agent_id: id, removed } = claimed
  try {
    if (!keeper) throw problem('provider_not_configured', 'This service has no provider of such agents')
    if (removed !== null) {
      await keeper.remove(ctx, { id, provider_agent_id: removed === UNKNOWN ? null : removed })
      return settled(ctx, claimed, null)
    }
    const agent = await find(ctx, agents, id)
    return settled(ctx, claimed, agent && (await keeper.save(ctx, agent)))
  } catch (error) {
    return failed(ctx, claimed, error)
  }
}

const agentOf = (ctx: Context, id: string) => and(eq(agents.tenant_id, ctx.tenant.id), eq(agents.id, id))

/** How often it was asked for by now; no row where another has claimed it since, or has told all. */
const askedNow = (ctx: Context, { agent_id, claim }: AgentSyncRow) => sql`select asked from agent_syncs
  where tenant_id = ${ctx.tenant.id} and agent_id = ${agent_id} and claim = ${claim}`

/** The provider has all that there was to be told when it was claimed. */
async function settled(ctx: Context, claimed: AgentSyncRow, there: string | null): Promise<boolean> {
  const { agent_id } = claimed
  const saved = ctx.db
    .update(agents)
    .set({
      ...{ provider_agent_id: there, sync_error: null, version: sql`version + 1` },
      sync_status: sql`case when ${claimed.asked} = (${askedNow(ctx, claimed)}) then 'synced' else 'pending' end`,
    })
    .where(and(agentOf(ctx, agent_id), sql`exists (${askedNow(ctx, claimed)})`))
  const again = {
    due_at: iso(ctx.now),
    // Deleted while it was made.
    ...(there === null
      ? {}
      : { removed: sql`case when removed = ${UNKNOWN} then ${there} else removed end` }),
  }
  let left = 0
  await commit(ctx, {
    statements: [...(there === null ? [] : [saved]), dropped(ctx, claimed), released(ctx, claimed, again)],
    reads: {
      statements: [ctx.db.select({ asked: agentSyncs.asked }).from(agentSyncs).where(mine(ctx, agent_id))],
      seen: ([rows]) => {
        left = (rows as unknown[]).length
      },
    },
    result: undefined,
  })
  return left === 0
}

/** Tried again later where that may help; else it ends here, and the agent says why. */
async function failed(ctx: Context, claimed: AgentSyncRow, error: unknown): Promise<true> {
  const { agent_id, asked, attempts, removed } = claimed
  const ends = (error instanceof Problem && !error.retryable) || attempts >= MOST_ATTEMPTS
  const words = error instanceof Problem ? error.message : 'Something went wrong on our side'
  log.warn('agent_not_synced', { tenant_id: ctx.tenant.id, agent_id, removed, cause: describeError(error) })
  const set = {
    sync_status: ends ? ('failed' as const) : ('pending' as const),
    sync_error: words.slice(0, MOST_WORDS),
  }
  const said = ctx.db
    .update(agents)
    .set({ ...set, version: sql`version + 1` })
    .where(
      and(
        agentOf(ctx, agent_id),
        // One that says so already does not change with each attempt.
        sql`(sync_status is not ${set.sync_status} or sync_error is not ${set.sync_error})`,
        sql`${asked} = (${askedNow(ctx, claimed)})`,
      ),
    )
  const later = iso(ctx.now + Math.min(MOST_WAIT_MS, FIRST_WAIT_MS * 2 ** (attempts - 1)))
  const due_at = sql`case when asked = ${asked} then ${later} else ${iso(ctx.now)} end`
  const statements = [...(ends ? [dropped(ctx, claimed)] : []), released(ctx, claimed, { due_at })]
  await commit(ctx, { statements: [said, ...statements], result: undefined })
  return true
}

/** What was asked meanwhile stays to be told. */
const dropped = (ctx: Context, { agent_id, asked, claim }: AgentSyncRow) =>
  ctx.db
    .delete(agentSyncs)
    .where(and(mine(ctx, agent_id), eq(agentSyncs.asked, asked), eq(agentSyncs.claim, claim ?? '')))

const released = (
  ctx: Context,
  { agent_id, claim }: AgentSyncRow,
  set: SQLiteUpdateSetSource<typeof agentSyncs>,
) =>
  ctx.db
    .update(agentSyncs)
    .set({ claim: null, ...set })
    .where(and(mine(ctx, agent_id), eq(agentSyncs.claim, claim ?? '')))

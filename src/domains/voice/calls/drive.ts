import { and, asc, eq, isNotNull, lte, min, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { describeError, log } from '../../../lib/log'
import { Problem } from '../../../lib/problem'
import { isActive } from '../../tenancy/tenants/active'
import { OVERTAKEN } from '../../webhooks/incoming/heard'
import { appliedEach, type CallChange } from './change'
import { providerNamed } from './port'
import { type Look, later, stepOf } from './step'
import { type CallRow, calls } from './table'
import { hasEnded } from './transition'

/** Calls of one look; those whose provider asks nobody outside are one batch. */
const MOST_AT_ONCE = 200
/** How many of a look are asked about outside, or have their recordings kept, at a time. */
const MOST_OUTSIDE = 20

/**
 * Does what is due for the tenant's calls, or some of it; answers with when to look again, null where no call is under
 * way. Nothing else moves calls by the clock.
 */
export async function driveCalls(ctx: Context): Promise<number | null> {
  const due = await ctx.db
    .select()
    .from(calls)
    .where(and(eq(calls.tenant_id, ctx.tenant.id), lte(calls.next_at, iso(ctx.now))))
    .orderBy(asc(calls.next_at))
    .limit(MOST_AT_ONCE)
  if (due.length > 0) await driveEach(ctx, due)
  if (due.length === MOST_AT_ONCE) return Date.now()
  const [next] = await ctx.db
    .select({ at: min(calls.next_at) })
    .from(calls)
    .where(and(eq(calls.tenant_id, ctx.tenant.id), isNotNull(calls.next_at)))
  return next?.at ? Date.parse(next.at) : null
}

async function driveEach(ctx: Context, due: readonly CallRow[]): Promise<void> {
  const [row] = await ctx.db.select({ active: isActive(ctx.tenant.id) }).from(sql`(select 1)`)
  const look: Look = { active: row?.active === 1, agents: new Map(), left: null }
  const isLocal = (call: CallRow) => !hasEnded(call) && providerNamed(call.provider)?.local === true
  const changes = await Promise.all(due.filter(isLocal).map((call) => stepOf(ctx, call, look)))
  await write(ctx, changes)
  const outside = due.filter((call) => !isLocal(call))
  for (let at = 0; at < outside.length; at += MOST_OUTSIDE) {
    const some = outside.slice(at, at + MOST_OUTSIDE)
    await Promise.all(some.map(async (call) => write(ctx, [await stepOf(ctx, call, look)])))
  }
}

/** What can't be written with the others is written alone, so that no call is in another's way. */
async function write(ctx: Context, changes: readonly CallChange[]): Promise<void> {
  if (changes.length === 0) return
  try {
    await settle(ctx, changes)
  } catch (error) {
    const [only, second] = changes
    if (second) for (const change of changes) await write(ctx, [change])
    else if (only) await writeOtherwise(ctx, only, error)
  }
}

async function writeOtherwise(ctx: Context, change: CallChange, error: unknown): Promise<void> {
  // It has changed meanwhile, or the credit has: it is still due, and decided anew.
  if (error === OVERTAKEN || (error instanceof Problem && error.code === 'insufficient_credit')) return
  const { call } = change
  if (error instanceof Problem && error.code === 'storage_limit_reached')
    return settle(ctx, [{ call, set: { recording: 'none', hang_up: false, next_at: null } }])
  log.error('call_not_driven', {
    ...{ tenant_id: call.tenant_id, call_id: call.id },
    cause: describeError(error),
  })
  // Throws where nothing can be written at all, and then all is tried again later.
  return settle(ctx, [{ call, set: later(call, ctx.now) }])
}

async function settle(ctx: Context, changes: readonly CallChange[]): Promise<void> {
  const { rows, after, ...change } = await appliedEach(ctx, changes)
  if (rows.length === 0) return
  await commit(ctx, { ...change, result: undefined })
  ctx.defer(after())
}

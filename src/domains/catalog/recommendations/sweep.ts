import { asc, gt, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import { directory } from '../../../data/database'
import { onNudge, onSweep } from '../../../data/sweeping'
import { bareTenant, systemContext } from '../../../data/system'
import { type Bindings, type EventNudge, settingsOf } from '../../../env'
import { describeError, log } from '../../../lib/log'
import { interactions } from '../interactions/table'
import { itemChanges } from '../items/table'
import { countInteractions } from './count'
import { embedChanged, embedderOf } from './embed'
import { EngineFailure } from './engine'
import { countingMarks, interactionCounts, interactionsRemoved } from './table'

type Waits = Pick<ExecutionContext, 'waitUntil'>

const MARK = 'interactions'
/** Interactions of all tenants that one sweep looks through; the next goes on behind them. */
const MOST_LOOKED_AT = 2_000
/** Tenants that one sweep counts for, of each kind. */
const MOST_TENANTS = 50
const AT_ONCE = 4
/** So long one tenant is counted for: by the queue's consumer, which others wait for, and by the sweep. */
const NUDGED_MS = 1_000
const SWEPT_MS = 4_000

const contextOf = (env: Bindings, tenantId: string, ctx: Waits) =>
  systemContext(env, bareTenant(tenantId), 'recommendations', (work) => ctx.waitUntil(work))

/** Counts for the tenants that nudges are of, where interactions may be among their events. */
export async function countNudged(env: Bindings, nudges: readonly EventNudge[], ctx: Waits): Promise<void> {
  const meant = nudges.filter(({ types }) => !types || types.some((type) => type.startsWith('interaction.')))
  await countFor(env, [...new Set(meant.map(({ tenant_id }) => tenant_id))], ctx, NUDGED_MS)
}

/**
 * Counts for those tenants of whom an interaction was committed, or deleted, since the last sweep, and for those that are
 * behind. Answers with how many there are, or may be. The mark moves on only when whoever could not be counted for is written down.
 */
export async function countLeft(env: Bindings, ctx: Waits): Promise<number> {
  const db = directory(env)
  const [[mark], removed, behind] = await db.batch([
    db.select({ seq: countingMarks.seq }).from(countingMarks).where(sql`${countingMarks.name} = ${MARK}`),
    db
      .select({ tenant_id: interactionsRemoved.tenant_id })
      .from(interactionsRemoved)
      .orderBy(asc(interactionsRemoved.tenant_id))
      .limit(MOST_TENANTS),
    db
      .select({ tenant_id: interactionCounts.tenant_id })
      .from(interactionCounts)
      .where(sql`${interactionCounts.behind} = 1`)
      .limit(MOST_TENANTS),
  ])
  const fresh = await db
    .select({ tenant_id: interactions.tenant_id, seq: interactions.seq, item_id: interactions.item_id })
    .from(interactions)
    .where(gt(interactions.seq, mark?.seq ?? 0))
    .orderBy(asc(interactions.seq))
    .limit(MOST_LOOKED_AT)
  const done = fresh.filter(({ item_id }) => item_id !== null)
  const tenants = [...new Set([...done, ...removed, ...behind].map(({ tenant_id }) => tenant_id))]
  const failed = await countFor(env, tenants, ctx, SWEPT_MS)
  await Promise.all(failed.map((tenantId) => writeDown(env, tenantId, ctx)))
  const last = fresh.at(-1)
  if (last) await moveMark(env, last.seq, ctx)
  // What was looked through may have been said alone, with others behind it.
  return Math.max(tenants.length, fresh.length < MOST_LOOKED_AT ? 0 : 1)
}

/** Counts for tenants, a few at a time; answers with those where that failed. */
async function countFor(
  env: Bindings,
  tenants: readonly string[],
  ctx: Waits,
  turnMs: number,
): Promise<string[]> {
  const failed: string[] = []
  for (let from = 0; from < tenants.length; from += AT_ONCE)
    await Promise.all(
      tenants.slice(from, from + AT_ONCE).map(async (tenantId) => {
        try {
          await countInteractions(contextOf(env, tenantId, ctx), turnMs)
        } catch (error) {
          failed.push(tenantId)
          log.error('interactions_not_counted', { tenant_id: tenantId, cause: describeError(error) })
        }
      }),
    )
  return failed
}

/** Has a tenant looked at again by the next sweep. */
async function writeDown(env: Bindings, tenant_id: string, ctx: Waits): Promise<void> {
  const system = contextOf(env, tenant_id, ctx)
  const statement = system.db
    .insert(interactionCounts)
    .values({ tenant_id, seq: 0, revision: 0, behind: 1 })
    .onConflictDoUpdate({ target: interactionCounts.tenant_id, set: { behind: 1 } })
  await commit(system, { statements: [statement], result: undefined })
}

async function moveMark(env: Bindings, seq: number, ctx: Waits): Promise<void> {
  const statement = directory(env)
    .insert(countingMarks)
    .values({ name: MARK, seq })
    .onConflictDoUpdate({
      target: countingMarks.name,
      set: { seq },
      setWhere: sql`${countingMarks.seq} < ${seq}`,
    })
  await commit(contextOf(env, '', ctx), { statements: [statement], result: undefined })
}

/** Has vectors made for the tenants of nudges, where items may be among their events. */
export async function embedNudged(env: Bindings, nudges: readonly EventNudge[], ctx: Waits): Promise<void> {
  if (!embedderOf({ env, settings: settingsOf(env) })) return
  const meant = nudges.filter(({ types }) => !types || types.some((type) => type.startsWith('item.')))
  await embedFor(env, [...new Set(meant.map(({ tenant_id }) => tenant_id))], ctx)
}

/** Tenants that one sweep has vectors made for. */
const MOST_EMBEDDED = 10
/** The tenant behind which the next sweep goes on: one whose items are refused holds up no other. */
let after = ''

/** The same for tenants with items on the list, by turns. Answers with how many it saw to; none while nothing is taken. */
export async function embedLeft(env: Bindings, ctx: Waits): Promise<number> {
  if (!embedderOf({ env, settings: settingsOf(env) })) return 0
  const tenants: string[] = []
  for (let turn = 0; turn < MOST_EMBEDDED; turn++) {
    const [next] = await directory(env)
      .select({ tenant_id: itemChanges.tenant_id })
      .from(itemChanges)
      .where(gt(itemChanges.tenant_id, after))
      .orderBy(asc(itemChanges.tenant_id))
      .limit(1)
    after = next?.tenant_id ?? ''
    if (!next) break
    tenants.push(next.tenant_id)
  }
  await embedFor(env, tenants, ctx)
  return tenants.length
}

async function embedFor(env: Bindings, tenants: readonly string[], ctx: Waits): Promise<void> {
  for (const tenantId of tenants)
    try {
      await embedChanged(contextOf(env, tenantId, ctx))
    } catch (error) {
      // Whatever it was, it is of this tenant; the others have their turn.
      const said = { tenant_id: tenantId, cause: describeError(error) }
      if (error instanceof EngineFailure) log.warn('items_not_embedded', said)
      else log.error('items_not_embedded', said)
    }
}

onNudge('items_not_embedded', embedNudged)
onSweep('items_not_embedded', embedLeft)
onNudge('interactions_not_counted', countNudged)
onSweep('interactions_not_counted', countLeft)

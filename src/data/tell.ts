import { and, asc, eq, gt, inArray, lt, type SQL, sql } from 'drizzle-orm'
import { stateChanges } from '../domains/metering/changes/table'
import type { Told } from '../domains/metering/meter/ledger'
import type { Bindings } from '../env'
import { iso } from '../lib/ids'
import { describeError, log } from '../lib/log'
import { hear, type NewChange } from './changes'
import type { Context } from './context'
import { directory, tenantDatabase } from './database'
import { meterOf } from './objects'

// A change reaches everybody by three ways: this isolate's memory at once; the tenant's Meter, which tells the others
// with their next lease; and KV, which they read while the Meter is silent. The row in `state_changes` is written with
// the change itself, and repeated by the sweeper until Meter and KV have it.

/** So long a change is told. Nobody goes by what he read in D1 for longer than half of this (identity/callers.ts). */
export const TOLD_MS = 3600_000

/** A Meter answers in milliseconds; beyond this the caller gets the answer, and the others learn by KV and the sweeper. */
const PATIENCE_MS = 1_000
/** So long it is tried all the same. */
const GIVE_UP_MS = 5_000
/** What is younger than this is on its ordinary way. */
const GRACE_MS = 2_000
/** Changes that one sweep tells; the next takes the next. */
const MOST_AT_ONCE = 500
/** KV takes 1,024 bytes of JSON beside a key's name, and one listing brings them along. */
const MOST_METADATA = 1_000

export type StateChange = typeof stateChanges.$inferSelect

/** A change as it is written with what changed. Not async: it goes into a batch. */
export function changeStatement(ctx: Context, change: NewChange) {
  const tenant_id = change.tenant_id ?? ctx.tenant.id
  const { kind, id } = change
  return tenantDatabase(ctx.env, tenant_id)
    .insert(stateChanges)
    .values({ tenant_id, kind, id, data: JSON.stringify(change.data), ...times(ctx) })
    .returning()
}

/** The same for each row of `from` (a table and its condition) that has a tenant_id and an id. */
export function changesStatement(
  ctx: Context,
  { kind, from, id = sql`id`, data = null, tenant_id = ctx.tenant.id }: ChangeOfEach,
) {
  const { until, created_at } = times(ctx)
  return tenantDatabase(ctx.env, tenant_id)
    .insert(stateChanges)
    .select(
      sql`select tenant_id, null, ${kind}, ${id}, ${until}, ${JSON.stringify(data)}, 0, ${created_at} from ${from}`,
    )
    .returning()
}

export type ChangeOfEach = Pick<NewChange, 'kind' | 'tenant_id'> & {
  from: SQL
  /** Where it is not its `id` that is told. */
  id?: SQL
  data?: NewChange['data']
}

const times = ({ now }: Pick<Context, 'now'>) => ({ until: iso(now + TOLD_MS), created_at: iso(now) })

const told = ({ seq, kind, id, until, data }: StateChange): Told => ({
  ...{ seq, kind, id },
  until: Date.parse(until),
  data: JSON.parse(data),
})

/** Tells everybody what was committed; resolves when the Meters have it, after a second at the latest. */
export async function tellAll(ctx: Pick<Context, 'env' | 'defer'>, rows: StateChange[]): Promise<void> {
  const tellings = [...byTenant(rows)].map(([tenantId, changes]) => {
    hear(ctx.env, tenantId, changes)
    return spread(ctx.env, tenantId, changes)
  })
  const all = Promise.all(tellings)
  ctx.defer(all)
  await Promise.race([all, scheduler.wait(PATIENCE_MS)])
}

function byTenant(rows: StateChange[]): Map<string, Told[]> {
  const tenants = new Map<string, Told[]>()
  for (const row of rows) tenants.set(row.tenant_id, [...(tenants.get(row.tenant_id) ?? []), told(row)])
  return tenants
}

/** Never rejects: what could not be told is left to the sweeper. */
async function spread(env: Bindings, tenantId: string, changes: Told[]): Promise<void> {
  const outcomes = await Promise.allSettled([
    inTime(async () => (await meterOf(env, tenantId)).tell(changes)),
    inTime(() => copy(env, tenantId, changes)),
  ])
  const failed = outcomes.filter((outcome) => outcome.status === 'rejected')
  for (const { reason } of failed)
    log.error('change_not_told', { tenant_id: tenantId, cause: describeError(reason) })
  if (failed.length > 0) return
  const seqs = JSON.stringify(changes.map(({ seq }) => seq))
  await tenantDatabase(env, tenantId)
    .update(stateChanges)
    .set({ told: 1 })
    .where(
      and(
        eq(stateChanges.tenant_id, tenantId),
        inArray(stateChanges.seq, sql`(select value from json_each(${seqs}))`),
      ),
    )
    .catch((error: unknown) => log.error('change_not_marked', { cause: describeError(error) }))
}

async function inTime(work: () => Promise<unknown>): Promise<void> {
  const late = scheduler.wait(GIVE_UP_MS).then(() => {
    throw new Error(`no answer within ${GIVE_UP_MS} ms`)
  })
  await Promise.race([work(), late])
}

/** The beginning of the names of a tenant's copies in KV. */
export const copiesOf = (tenantId: string): string => `changes:${tenantId}:`

/**
 * One entry for what was committed together: KV takes one write a second to each name, and none is written twice but
 * with the same changes.
 */
async function copy(env: Bindings, tenantId: string, changes: Told[]): Promise<void> {
  const text = JSON.stringify(changes)
  const name = `${copiesOf(tenantId)}${String(changes[0]?.seq).padStart(15, '0')}-${changes.length}`
  const small = new TextEncoder().encode(text).byteLength <= MOST_METADATA
  await env.KV.put(name, small ? '' : text, {
    expirationTtl: TOLD_MS / 1000,
    ...(small ? { metadata: changes } : {}),
  })
}

/** What a tenant's isolates must know now, in the order of commit, told or not. */
export async function committedChanges(env: Bindings, tenantId: string, now: number): Promise<Told[]> {
  const rows = await tenantDatabase(env, tenantId)
    .select()
    .from(stateChanges)
    .where(and(eq(stateChanges.tenant_id, tenantId), gt(stateChanges.until, iso(now))))
    .orderBy(asc(stateChanges.seq))
  return rows.map(told)
}

/** Tells again what a crash, or a Meter that was away, left untold; answers with how many that were. */
export async function tellAgain(env: Bindings, now: number): Promise<number> {
  const rows = await directory(env)
    .select()
    .from(stateChanges)
    .where(and(sql`${stateChanges.told} = 0`, gt(stateChanges.until, iso(now))))
    .orderBy(asc(stateChanges.seq))
    .limit(MOST_AT_ONCE)
  const left = byTenant(rows.filter(({ created_at }) => created_at < iso(now - GRACE_MS)))
  await Promise.all([...left].map(([tenantId, changes]) => spread(env, tenantId, changes)))
  return rows.length
}

/** Deletes the changes that nobody needs to know any more, whoever they belong to. */
export async function dropOldChanges(env: Bindings, now: number): Promise<void> {
  await directory(env)
    .delete(stateChanges)
    .where(lt(stateChanges.until, iso(now)))
}

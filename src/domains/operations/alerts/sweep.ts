import { asc, lte, type SQL, sql } from 'drizzle-orm'
import { directory } from '../../../data/database'
import { onClock, onSweep } from '../../../data/sweeping'
import { bareTenant, systemContext } from '../../../data/system'
import type { Bindings } from '../../../env'
import { iso } from '../../../lib/ids'
import { describeError, log } from '../../../lib/log'
import { evaluate } from './evaluate'
import { alertWatches } from './table'

/** Tenants that one sweep looks at, and how many of them at once. */
const MOST_TENANTS = 100
const AT_ONCE = 10
/** Who could not be looked at lets the others go first for so long. */
const STEPS_BACK_MS = 30_000
const MOST_BEHIND = 1_000

/** Tenants that could not be looked at, and until when they step back; a crash may forget that. */
const behind = new Map<string, number>()

/** Tenants with rules who are active; others are looked at once they go on. */
const isOfActive: SQL = sql`exists (
  select 1 from tenants as t where t.id = ${alertWatches.tenant_id} and t.status = 'active')`

onSweep('alerts_not_looked_for', async (env, execution, now) => {
  for (const [tenantId, until] of behind) if (until <= now) behind.delete(tenantId)
  const others = JSON.stringify([...behind.keys()].slice(0, MOST_BEHIND))
  const due = await directory(env)
    .select()
    .from(alertWatches)
    .where(
      sql`${lte(alertWatches.next_at, iso(now))} and ${isOfActive}
        and ${alertWatches.tenant_id} not in (select value from json_each(${others}))`,
    )
    .orderBy(asc(alertWatches.next_at))
    .limit(MOST_TENANTS)
  for (let i = 0; i < due.length; i += AT_ONCE)
    await Promise.all(due.slice(i, i + AT_ONCE).map((watch) => look(env, execution, now, watch)))
  return due.length
})

/** What could not be looked at is due still. */
async function look(
  env: Bindings,
  execution: Pick<ExecutionContext, 'waitUntil'>,
  now: number,
  { tenant_id, next_at }: { tenant_id: string; next_at: string },
): Promise<void> {
  const ctx = systemContext(env, bareTenant(tenant_id), 'alerts', (work) => execution.waitUntil(work))
  try {
    await evaluate({ ...ctx, now }, next_at)
  } catch (error) {
    behind.set(tenant_id, now + STEPS_BACK_MS)
    log.warn('alerts_not_looked_for', { tenant_id, cause: describeError(error) })
  }
}

onClock(async (env) => {
  const [first] = await directory(env)
    .select({ next_at: alertWatches.next_at })
    .from(alertWatches)
    .where(isOfActive)
    .orderBy(asc(alertWatches.next_at))
    .limit(1)
  return first ? Date.parse(first.next_at) : null
})

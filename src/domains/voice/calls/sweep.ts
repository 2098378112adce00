import { asc, isNotNull, lt, min } from 'drizzle-orm'
import { directory } from '../../../data/database'
import { erasedWithTenant } from '../../../data/erasure'
import { objectOf } from '../../../data/objects'
import { onClock, onSweep } from '../../../data/sweeping'
import { iso } from '../../../lib/ids'
import { calls } from './table'
import { wakeCalls } from './wake'

/** What is younger than this is on its ordinary way. */
const GRACE_MS = 5_000
/** Calls that one sweep looks at; those of one tenant have one driver. */
const MOST_AT_ONCE = 500

onSweep('calls_not_driven', async (env, _ctx, now) => {
  const overdue = await directory(env)
    .select({ tenant_id: calls.tenant_id })
    .from(calls)
    .where(lt(calls.next_at, iso(now - GRACE_MS)))
    .orderBy(asc(calls.next_at))
    .limit(MOST_AT_ONCE)
  const tenants = new Set(overdue.map(({ tenant_id }) => tenant_id))
  await Promise.all([...tenants].map((tenantId) => wakeCalls(env, tenantId)))
  return overdue.length
})

onClock(async (env) => {
  const [next] = await directory(env)
    .select({ at: min(calls.next_at) })
    .from(calls)
    .where(isNotNull(calls.next_at))
  return next?.at ? Date.parse(next.at) + GRACE_MS : null
})

erasedWithTenant({
  name: 'call_drivers',
  keys: async ({ tenant }, after) => [tenant.id].filter((key) => key > after),
  erase: async (env, tenantId, key) => (await objectOf(env, env.CALLS, tenantId, key)).erase(),
})

import { hear } from '../../data/changes'
import { watchCounters } from '../../data/metrics'
import { meterOf } from '../../data/objects'
import type { Bindings } from '../../env'
import { series } from '../../lib/metrics'
import { countedAddress, shardOf } from './limits/addresses'
import type { Limiter } from './limits/limiter'
import { Limiters } from './limits/limiters'
import { type LimiterCounts, newCounts } from './limits/ports'

/** What this isolate knows of its Meters. It hangs on its bindings, so that tests can play several isolates. */
type Isolate = { tenants: Limiters; addresses: Limiters; counts: LimiterCounts }

const isolates = new WeakMap<Bindings, Isolate>()

/** This isolate's side of a tenant's Meter. */
export const tenantLimiter = (env: Bindings, tenantId: string): Limiter => isolateOf(env).tenants.of(tenantId)

/** This isolate's side of the Meter that counts for an address (an IPv6 address by its /64). */
export const addressLimiter = (env: Bindings, address: string | null): Limiter =>
  isolateOf(env).addresses.of(countedAddress(address))

/** The same for a source of webhooks, by the name that nobody's address can have. */
export const sourceLimiter = (env: Bindings, source: string): Limiter =>
  isolateOf(env).addresses.of(`source:${source}`)

/** What the limiters of this isolate did. */
export const limiterCounts = (env: Bindings): LimiterCounts => isolateOf(env).counts

function isolateOf(env: Bindings): Isolate {
  let isolate = isolates.get(env)
  if (!isolate) {
    isolate = newIsolate(env)
    isolates.set(env, isolate)
  }
  return isolate
}

function newIsolate(env: Bindings): Isolate {
  const counts = newCounts()
  watchCounters(env, () => ({
    [series('meter_calls_total')]: counts.meter_calls,
    [series('meter_silences_total')]: counts.meter_silences,
    [series('lease_admissions_total', { by: 'lease' })]: counts.admitted - counts.admitted_alone,
    [series('lease_admissions_total', { by: 'silence' })]: counts.admitted_alone,
    [series('lease_refusals_total', { by: 'lease' })]: counts.refused - counts.refused_alone,
    [series('lease_refusals_total', { by: 'silence' })]: counts.refused_alone,
  }))
  const clock = { now: () => Date.now(), sleep: (ms: number) => scheduler.wait(ms), counts }
  return {
    counts,
    tenants: new Limiters((tenantId) => ({
      ...clock,
      ask: async (request) => (await meterOf(env, tenantId)).lease(request),
      learn: (changes) => hear(env, tenantId, changes),
    })),
    addresses: new Limiters((address) => ({
      ...clock,
      ask: (request) => env.ADDRESS_METERS.getByName(shardOf(address)).lease(address, request),
      learn: () => {},
    })),
  }
}

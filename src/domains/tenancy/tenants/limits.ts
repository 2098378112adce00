import { eq } from 'drizzle-orm'
import { onChange } from '../../../data/changes'
import type { Tenant } from '../../../data/context'
import { directory } from '../../../data/database'
import type { Bindings } from '../../../env'
import { Remembered } from '../../../lib/remembered'
import { tenants } from './table'

/** What a tenant's limits follow from. */
export type Terms = Pick<Tenant, 'plan' | 'rate_limits'>

/** Limits hold within ten seconds, also for who is told of no change. */
const FRESH_MS = 5_000
const MAX_MS = 9_000

/** It hangs on the isolate's bindings, so that tests can play several isolates. */
const memories = new WeakMap<Bindings, Remembered<Terms>>()

function memoryOf(env: Bindings): Remembered<Terms> {
  let memory = memories.get(env)
  if (!memory) {
    memory = new Remembered(FRESH_MS, MAX_MS)
    memories.set(env, memory)
  }
  return memory
}

/** The terms of a tenant for work that no request of its own brings along, at most nine seconds old. */
export function termsNow(env: Bindings, tenantId: string): Promise<Terms> {
  return memoryOf(env).get(tenantId, Date.now(), async () => {
    const row = await directory(env)
      .select({ plan: tenants.plan, rate_limits: tenants.rate_limits })
      .from(tenants)
      .where(eq(tenants.id, tenantId))
      .get()
    return row ?? { plan: 'starter', rate_limits: {} }
  })
}

/** Makes the next who asks look again. */
export function forgetTerms(env: Bindings, tenantId: string): void {
  memories.get(env)?.forget(tenantId)
}

onChange('tenant', forgetTerms)

import { onChange } from '../../../data/changes'
import type { Bindings } from '../../../env'

// A partner's rights are read from D1 and remembered with the count of what was told of partners in the tenants they
// are about: after the next telling they are read again. So what is told need not say what changed.

type Memory = { counts: Map<string, number>; others: number }

/** It hangs on the isolate's bindings, so that tests can play several isolates. */
const memories = new WeakMap<Bindings, Memory>()

/** Only tenants that were told of a partner have an entry. */
const MOST = 10_000

let told = 0

onChange('partner', (env, tenantId) => {
  let memory = memories.get(env)
  if (!memory || memory.counts.size >= MOST) {
    // Whoever is forgotten counts as changed.
    memory = { counts: new Map(), others: told }
    memories.set(env, memory)
  }
  told += 1
  memory.counts.set(tenantId, told)
})

/** Moves whenever something was told of partners in the tenant. */
export function partnerChanges(env: Bindings, tenantId: string): number {
  const memory = memories.get(env)
  return memory?.counts.get(tenantId) ?? memory?.others ?? 0
}

/** The change of who may act for a partner, in that tenant or from it, as it is told. */
export const partnerChange = (partnerId: string, tenantId: string) => ({
  ...{ kind: 'partner', id: partnerId, tenant_id: tenantId },
  data: null,
})

import type { Told } from '../domains/metering/meter/ledger'
import type { Bindings } from '../env'

// What was revoked or set otherwise, on its way into the memory of isolates: `commit` brings what this isolate did
// itself, its leases bring what others did.

/** A change to tell everybody, as a verb writes it. The tenant is the context's unless it names another. */
export type NewChange = Pick<Told, 'kind' | 'id' | 'data'> & { tenant_id?: string }

type Listener = (env: Bindings, tenantId: string, change: Told) => void

const listeners = new Map<string, Listener[]>()

/** Has `listen` told of every change of that kind, in any tenant, before the request that waited for it goes on. */
export function onChange(kind: string, listen: Listener): void {
  listeners.set(kind, [...(listeners.get(kind) ?? []), listen])
}

/** Tells this isolate, of which `env` are the bindings. What it knows already changes nothing. */
export function hear(env: Bindings, tenantId: string, changes: readonly Told[]): void {
  for (const change of changes)
    for (const listen of listeners.get(change.kind) ?? []) listen(env, tenantId, change)
}

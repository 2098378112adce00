import type { Bindings } from '../env'
import type { Context } from './context'

// What a tenant keeps outside of D1's tables is known best by those who keep it, and who deletes a tenant does not know
// them: each says here what there is. Tables and files need no word: they are found by their tenant.

/** Durable Objects of a tenant. */
export type Keeping = {
  /** What the report calls them. */
  name: string
  /** Whether they must be gone before any row is: they send. */
  first?: true
  /** At most `limit` of their keys beyond `after`, in order; the same again until they are erased. */
  keys: (ctx: Context, after: string, limit: number) => Promise<string[]>
  /** Deletes all that one keeps; harmless where nothing is kept. */
  erase: (env: Bindings, tenantId: string, key: string) => Promise<unknown>
}

const keepings: Keeping[] = []
const prefixes = new Map<string, (tenantId: string) => string>()

/** Has a tenant's objects erased with the tenant. */
export function erasedWithTenant(keeping: Keeping): void {
  keepings.push(keeping)
}

/** Has a tenant's entries in KV, by how their names begin, removed with the tenant. */
export function inKvOfTenant(name: string, prefixOf: (tenantId: string) => string): void {
  prefixes.set(name, prefixOf)
}

/** All that was declared; what comes first is first. */
export const tenantKeepings = (): readonly Keeping[] =>
  [...keepings].sort((a, b) => Number(b.first ?? false) - Number(a.first ?? false))

/** How the names of a tenant's entries in KV begin. */
export const kvOfTenants = (): ReadonlyMap<string, (tenantId: string) => string> => prefixes

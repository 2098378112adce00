import { onChange } from '../../data/changes'
import type { Tenant } from '../../data/context'
import { type Database, tenantDatabase } from '../../data/database'
import { knowRegion } from '../../data/objects'
import type { Bindings } from '../../env'
import { firstIdAt } from '../../lib/ids'

// What this isolate knows of tenants: how they stood when it first saw a credential of theirs, and what it was told
// since. It hangs on the isolate's bindings, so that tests can play several isolates.

export type TenantState = { tenant: Tenant; is_platform: boolean; version: number }
export type UserState = { role: string; status: 'active' | 'suspended'; version: number }

/** In the place of a user's id: all of the tenant. */
export const EVERYBODY = '*'

/** What ends for ever. */
type Ending = 'session' | 'token' | 'api_key' | 'issuer'

/** Beyond so many entries those that are over are looked for. */
const PRUNE_AT = 1_000

/** What is known of one tenant. */
export class Knowledge {
  /** Counts what was learned: who was judged at this count is still as he was judged. */
  count = 0
  /** Whether it was forgotten: it learns nothing any more, and nobody may go by it. */
  dropped = false
  readonly db: Database
  private state: TenantState | null = null
  private readonly ended = new Map<string, number>()
  private readonly users = new Map<string, UserState & { until: number }>()
  private readonly outdated = new Map<string, { before: number; until: number }>()
  private readonly deadlines = new Map<string, { at: number; until: number }>()
  private pruneAt = PRUNE_AT

  constructor(
    private readonly env: Bindings,
    readonly tenantId: string,
  ) {
    this.db = tenantDatabase(env, tenantId)
  }

  get tenant(): Tenant {
    return this.known.tenant
  }

  get isPlatform(): boolean {
    return this.known.is_platform
  }

  private get known(): TenantState {
    if (!this.state) throw new Error(`nothing is known of tenant ${this.tenantId}`)
    return this.state
  }

  hasEnded(kind: Ending, id: string): boolean {
    return this.ended.has(keyOf(kind, id))
  }

  /** When an API key's time is over (milliseconds since 1970) by what was told; null where nothing was. */
  deadlineOf(keyId: string): number | null {
    return this.deadlines.size === 0 ? null : (this.deadlines.get(keyId)?.at ?? null)
  }

  /** The user as told, or as `read` in D1, whichever is newer. */
  userNow(id: string, read: UserState): UserState {
    const told = this.users.get(id)
    return told && told.version > read.version ? told : read
  }

  /** Takes the tenant as it was read or told, unless a newer one is known. */
  learnTenant(state: TenantState): void {
    const { state: known } = this
    if (known && known.version > state.version) return
    // The same object for the same tenant, for what is remembered by it. One that was changed by hand has no new version.
    if (known?.version === state.version && JSON.stringify(known) === JSON.stringify(state)) return
    this.state = state
    this.count += 1
    knowRegion(this.env, this.tenantId, state.tenant.region)
  }

  /** Whether an access token of the user's, by its `jti`, is older than a change that ended such tokens. */
  isOutdated(id: string, jti: string): boolean {
    // Both are UUIDv7, which sort by time: `iat` knows seconds only.
    return this.outdated.size > 0 && jti < firstIdAt(this.tokensEndedAt(id))
  }

  /** Whether a change ended the access tokens that the user had at that time. */
  hasTokensEnded(id: string, at: number): boolean {
    return at < this.tokensEndedAt(id)
  }

  private tokensEndedAt(id: string): number {
    return Math.max(this.outdated.get(id)?.before ?? 0, this.outdated.get(EVERYBODY)?.before ?? 0)
  }

  /** Whether it was told of something that D1 does not tell who comes anew, and that is not over. */
  remembers(now: number): boolean {
    for (const { until } of this.outdated.values()) if (until > now) return true
    return false
  }

  learnUser(id: string, state: UserState, until: number): void {
    const known = this.users.get(id)
    if (known && known.version >= state.version) return
    this.users.set(id, { ...state, until })
    this.learned()
  }

  /** The user's access tokens that were issued before that time (milliseconds) count no more. */
  learnOutdated(id: string, before: number, until: number): void {
    const known = this.outdated.get(id)
    if (known && known.before >= before) return
    this.outdated.set(id, { before, until })
    this.learned()
  }

  learnEnd(kind: Ending, id: string, until: number): void {
    if (this.hasEnded(kind, id)) return
    this.ended.set(keyOf(kind, id), until)
    this.learned()
  }

  learnDeadline(keyId: string, at: number, until: number): void {
    const known = this.deadlines.get(keyId)
    if (known && known.at <= at) return
    this.deadlines.set(keyId, { at, until })
    this.learned()
  }

  private get size(): number {
    return this.ended.size + this.users.size + this.outdated.size + this.deadlines.size
  }

  private learned(): void {
    this.count += 1
    if (this.size < this.pruneAt) return
    const now = Date.now()
    for (const [key, until] of this.ended) if (until <= now) this.ended.delete(key)
    for (const map of [this.users, this.outdated, this.deadlines])
      for (const [id, { until }] of map) if (until <= now) map.delete(id)
    this.pruneAt = Math.max(PRUNE_AT, 2 * this.size)
  }
}

const keyOf = (kind: Ending, id: string) => `${kind}\n${id}`

/** About 1 kB each. */
const MOST = 10_000

const memories = new WeakMap<Bindings, Map<string, Knowledge>>()

/** What this isolate knows of a tenant. Asked for before D1 is: what is told meanwhile must not be missed. */
export function knowledgeOf(env: Bindings, tenantId: string): Knowledge {
  let memory = memories.get(env)
  if (!memory) {
    memory = new Map()
    memories.set(env, memory)
  }
  let knowledge = memory.get(tenantId)
  if (knowledge) return knowledge
  knowledge = new Knowledge(env, tenantId)
  memory.set(tenantId, knowledge)
  if (memory.size > MOST) forgetOldest(memory)
  return knowledge
}

/** So many are looked at for one who has nothing to be remembered by. */
const MOST_LOOKED_AT = 1_000

/** The Meter tells an isolate a change once: the oldest of whom D1 knows all is forgotten first. */
function forgetOldest(memory: Map<string, Knowledge>): void {
  const now = Date.now()
  let [oldest] = memory
  let looks = 0
  for (const one of memory) {
    if (looks++ === MOST_LOOKED_AT) break
    if (one[1].remembers(now)) continue
    oldest = one
    break
  }
  if (!oldest) return
  oldest[1].dropped = true
  memory.delete(oldest[0])
}

/** The change of a user, as it is told; `issuedBefore` (milliseconds) ends the access tokens that are older. */
export const userChange = (
  id: string,
  { role, status, version }: UserState,
  issuedBefore: number | null = null,
) => ({
  kind: 'user',
  id,
  data: { role, status, version, ...(issuedBefore === null ? {} : { issued_before: issuedBefore }) },
})

/** The end of a session, of one access token (by its `jti`), of an API key or of an issuer's edition, as it is told. */
export const ending = (kind: Ending, id: string) => ({ kind, id, data: null })

/** A time for an API key to end that it did not have, as it is told. */
export const deadline = (keyId: string, at: number) => ({ kind: 'api_key_deadline', id: keyId, data: { at } })

/** The change of a tenant, as it is told: the whole of what its requests carry. */
export const tenantChange = ({ tenant, is_platform, version }: TenantState) => ({
  kind: 'tenant',
  id: tenant.id,
  tenant_id: tenant.id,
  data: { is_platform, version, tenant: JSON.stringify(tenant) },
})

export const untilOf = ({ until }: { until: number | null }) => until ?? Number.POSITIVE_INFINITY

for (const kind of ['session', 'token', 'api_key', 'issuer'] as const)
  onChange(kind, (env, tenantId, change) =>
    knowledgeOf(env, tenantId).learnEnd(kind, change.id, untilOf(change)),
  )

onChange('api_key_deadline', (env, tenantId, change) => {
  // As deadline wrote it.
  const { at } = change.data as { at: number }
  knowledgeOf(env, tenantId).learnDeadline(change.id, at, untilOf(change))
})

onChange('user', (env, tenantId, change) => {
  // As userChange wrote it.
  const { issued_before, ...state } = change.data as UserState & { issued_before?: number }
  const knowledge = knowledgeOf(env, tenantId)
  if (issued_before !== undefined) knowledge.learnOutdated(change.id, issued_before, untilOf(change))
  knowledge.learnUser(change.id, state, untilOf(change))
})

onChange('tenant', (env, tenantId, change) => {
  // As tenantChange wrote it.
  const { tenant, ...state } = change.data as { tenant: string; is_platform: boolean; version: number }
  knowledgeOf(env, tenantId).learnTenant({ ...state, tenant: JSON.parse(tenant) as Tenant })
})

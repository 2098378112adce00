import type { Caller, Refusal } from '../../data/caller'
import type { Principal, Tenant } from '../../data/context'
import type { Bindings } from '../../env'
import { isWithin, type Network, networkFrom } from '../../lib/ip-address'
import { type Problem, type ProblemCode, problem } from '../../lib/problem'
import { scopesOf } from '../tenancy/scopes'
import type { KeyLimits } from './api-keys/limits'
import type { ApiKeyRow } from './api-keys/table'
import type { Knowledge, UserState } from './knowledge'
import { type AccessClaims, hasExpired, tokenExpired } from './tokens/access-token'

/**
 * A key's row is read again after so long, although all that may end the key is told: what was lost on the way, or done
 * by hand, is seen then. It must be well below the time for which changes are told.
 */
export const KEY_FRESH_MS = 30 * 60_000
/** So long a key counts while D1 does not answer. */
const KEY_MAX_MS = 45 * 60_000
/** While one request reads a key's row again, the others go on with what is known. */
const READING_MS = 5_000

const refusal = (final: boolean, make: () => Problem): Refusal => ({ final, problem: make })
const forbidden = (code: ProblemCode, message: string) => refusal(false, () => problem(code, message))

const SESSION_ENDED = refusal(true, () => problem.unauthorized('token_revoked', 'The session has ended'))
const OUTDATED = refusal(false, () =>
  problem.unauthorized(
    'token_revoked',
    'What the token stands for has changed since it was issued: the role, or a membership',
    {},
    'Get a new access token with the refresh token; the session goes on.',
  ),
)
const KEY_REVOKED = refusal(true, () => problem.unauthorized('invalid_api_key', 'The API key is not valid'))
export const USER_SUSPENDED = forbidden('user_suspended', 'The user is suspended')
const MAKER_SUSPENDED = forbidden('user_suspended', 'The key’s maker is suspended')
export const NOT_THE_PLATFORM = forbidden('platform_only', 'The role is the platform’s, the tenant is not')
const TENANT_SUSPENDED = forbidden('tenant_suspended', 'The tenant is suspended')
const TENANT_CANCELLED = forbidden('tenant_cancelled', 'The tenant was cancelled')

/** Why nobody may act in the tenant, or null. */
export function refusalOfTenant({ status }: Pick<Tenant, 'status'>): Refusal | null {
  if (status === 'active') return null
  return status === 'suspended' ? TENANT_SUSPENDED : TENANT_CANCELLED
}

/** A verified credential in memory. It is judged anew only after something was learned. */
export abstract class KnownCaller implements Caller {
  abstract readonly principal: Principal
  private verdict: Refusal | null = null
  private judgedAt = -1

  constructor(readonly knowledge: Knowledge) {}

  get tenantId(): string {
    return this.knowledge.tenantId
  }

  get tenant(): Tenant {
    return this.knowledge.tenant
  }

  get refusal(): Refusal | null {
    const { count } = this.knowledge
    if (this.judgedAt !== count) {
      this.verdict = this.judge()
      this.judgedAt = count
    }
    return this.verdict
  }

  /** Why its time is over, or null. */
  abstract expired(now: number): Problem | null

  /** Whether what was read of it in D1 may be gone by still. */
  abstract isFresh(now: number): boolean

  protected abstract judge(): Refusal | null

  protected judgeTenant(): Refusal | null {
    return refusalOfTenant(this.knowledge.tenant)
  }
}

/** How a session stood when its token was first seen here. */
export type SessionState = { ended: boolean; user: UserState }

/** A user by an access token. */
export class TokenCaller extends KnownCaller {
  readonly principal: Principal

  constructor(
    knowledge: Knowledge,
    private readonly claims: AccessClaims,
    /** Null where there is no such session. */
    private readonly session: SessionState | null,
  ) {
    super(knowledge)
    const { sub, email, role, scopes, sid } = claims
    this.principal = { kind: 'user', id: sub, email, role, scopes: new Set(scopes), session_id: sid }
  }

  expired(now: number): Problem | null {
    return hasExpired(this.claims, now) ? tokenExpired() : null
  }

  isFresh(): boolean {
    // It lives for a quarter of an hour.
    return true
  }

  protected judge(): Refusal | null {
    const { knowledge, session, claims } = this
    if (!session || session.ended) return SESSION_ENDED
    if (knowledge.hasEnded('session', claims.sid) || knowledge.hasEnded('token', claims.jti))
      return SESSION_ENDED
    const user = knowledge.userNow(claims.sub, session.user)
    // A change of role or membership revokes the tokens that were issued before it.
    if (user.role !== claims.role || knowledge.isOutdated(claims.sub, claims.jti)) return OUTDATED
    if (user.status === 'suspended') return USER_SUSPENDED
    // The role means nothing outside the platform's own tenant, however a row came to name it.
    if (claims.role === 'platform_admin' && !knowledge.isPlatform) return NOT_THE_PLATFORM
    return this.judgeTenant()
  }
}

type KeyFields = Pick<
  ApiKeyRow,
  | 'id'
  | 'name'
  | 'created_by'
  | 'scopes'
  | 'limits'
  | 'counted_as'
  | 'allowed_addresses'
  | 'expires_at'
  | 'revoked_at'
>

/** A program by an API key; its scopes are what the key names and its maker's role still allows. */
export class KeyCaller extends KnownCaller {
  private role: string
  private made: Principal
  private readAgainAt: number
  private readonly expiresAt: number
  private readonly limits: KeyLimits | null
  private readonly networks: Network[] | null
  private allowedLast: string | null = null

  constructor(
    knowledge: Knowledge,
    private readonly key: KeyFields,
    /** The maker; null for a key that the platform made, whose role can't change. */
    private readonly maker: UserState | null,
    private readonly readAt: number,
  ) {
    super(knowledge)
    this.role = maker?.role ?? 'admin'
    this.expiresAt = key.expires_at === null ? Number.POSITIVE_INFINITY : Date.parse(key.expires_at)
    this.limits = key.limits && { ...key.limits, ...(key.counted_as ? { counted_as: key.counted_as } : {}) }
    this.networks = key.allowed_addresses?.flatMap((text) => networkFrom(text) ?? []) ?? null
    this.made = this.principalAs(this.role)
    this.readAgainAt = readAt + KEY_FRESH_MS
  }

  get principal(): Principal {
    return this.made
  }

  expired(now: number): Problem | null {
    const told = this.knowledge.deadlineOf(this.key.id)
    if (this.expiresAt > now && (told === null || told > now)) return null
    return problem.unauthorized('invalid_api_key', 'The API key has expired')
  }

  /** Why it may not be used from an address, or null; an address that is not known is none that is allowed. */
  refusalFrom(address: string | null): Problem | null {
    if (this.networks === null || (address !== null && address === this.allowedLast)) return null
    if (address === null || !this.networks.some((network) => isWithin(network, address)))
      return problem('address_refused', 'The API key may not be used from this address')
    this.allowedLast = address
    return null
  }

  isFresh(now: number): boolean {
    return now < this.readAgainAt
  }

  /** Its row is being read again. */
  postpone(now: number): void {
    this.readAgainAt = now + READING_MS
  }

  /** Whether it may be gone by although its row could not be read again. */
  isGoodEnough(now: number): boolean {
    return now < this.readAt + KEY_MAX_MS
  }

  protected judge(): Refusal | null {
    const { knowledge, key, maker } = this
    if (key.revoked_at !== null || knowledge.hasEnded('api_key', key.id)) return KEY_REVOKED
    const user = maker && key.created_by !== null ? knowledge.userNow(key.created_by, maker) : null
    if (user?.status === 'suspended') return MAKER_SUSPENDED
    if (user && user.role !== this.role) {
      this.role = user.role
      this.made = this.principalAs(user.role)
    }
    return this.judgeTenant()
  }

  private principalAs(role: string): Principal {
    const { id, name, created_by, scopes } = this.key
    const allowed = new Set<string>(scopesOf(role))
    const held = new Set(scopes.filter((scope) => allowed.has(scope)))
    return { kind: 'api_key', id, name, user_id: created_by, role, scopes: held, limits: this.limits }
  }
}

/** About 2 kB each, most of it the token. */
const MOST = 10_000

const memories = new WeakMap<Bindings, Map<string, KnownCaller>>()

/** Who a credential stands for, as this isolate remembers it; fresh or not. */
export function recall(env: Bindings, credential: string): KnownCaller | undefined {
  const caller = memories.get(env)?.get(credential)
  return caller?.knowledge.dropped ? undefined : caller
}

/** Remembers a credential that was verified; who came first goes first. */
export function remember(env: Bindings, credential: string, caller: KnownCaller): void {
  let memory = memories.get(env)
  if (!memory) {
    memory = new Map()
    memories.set(env, memory)
  }
  memory.set(credential, caller)
  if (memory.size <= MOST) return
  const [oldest] = memory.keys()
  if (oldest !== undefined) memory.delete(oldest)
}

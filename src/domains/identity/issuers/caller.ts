import type { Principal } from '../../../data/context'
import { type Problem, problem } from '../../../lib/problem'
import { scopesOf } from '../../tenancy/scopes'
import { KnownCaller, NOT_THE_PLATFORM, USER_SUSPENDED } from '../callers'
import type { Knowledge, UserState } from '../knowledge'
import { tokenExpired } from '../tokens/access-token'
import { LEEWAY_SECONDS } from './verify'

/** So long a token is taken as it was verified; then its keys, its issuer and its user are looked at again. */
const FRESH_MS = 5 * 60_000
/** So long it counts while D1 does not answer. */
const MOST_MS = 45 * 60_000
/** While one request looks again, the others go on with what is known. */
const LOOKING_MS = 5_000

const CHANGED = {
  final: false,
  problem: () => problem.unauthorized('invalid_token', 'The issuer was changed or removed'),
}

/** Who a token of another issuer stands for here; its rights are those of the user's role. */
export class IssuedCaller extends KnownCaller {
  private role: string
  private made: Principal
  private lookAgainAt: number

  constructor(
    knowledge: Knowledge,
    /** `edition` of the tenant's issuer; null for one of the operator's, which does not change. */
    private readonly token: { exp: number; edition: string | null },
    private readonly user: UserState & { id: string; email: string },
    private readonly verifiedAt: number,
  ) {
    super(knowledge)
    this.role = user.role
    this.made = this.principalAs(user.role)
    this.lookAgainAt = verifiedAt + FRESH_MS
  }

  get principal(): Principal {
    return this.made
  }

  expired(now: number): Problem | null {
    return this.token.exp + LEEWAY_SECONDS <= now / 1000 ? tokenExpired() : null
  }

  isFresh(now: number): boolean {
    return now < this.lookAgainAt && !this.issuerHasChanged
  }

  /** It is being looked at again. */
  postpone(now: number): void {
    this.lookAgainAt = now + LOOKING_MS
  }

  /** Whether it may be gone by although it could not be looked at again. */
  isGoodEnough(now: number): boolean {
    return now < this.verifiedAt + MOST_MS && !this.issuerHasChanged
  }

  private get issuerHasChanged(): boolean {
    const { edition } = this.token
    return edition !== null && this.knowledge.hasEnded('issuer', edition)
  }

  protected judge() {
    if (this.issuerHasChanged) return CHANGED
    const { role, status } = this.knowledge.userNow(this.user.id, this.user)
    if (status === 'suspended') return USER_SUSPENDED
    // No other issuer speaks for the platform, whoever its user has become.
    if (role === 'platform_admin') return NOT_THE_PLATFORM
    if (role !== this.role) {
      this.role = role
      this.made = this.principalAs(role)
    }
    return this.judgeTenant()
  }

  private principalAs(role: string): Principal {
    const { id, email } = this.user
    const user = { kind: 'user', id, email, role, scopes: new Set(scopesOf(role)), session_id: null } as const
    return this.token.edition === null ? user : { ...user, tenant_only: true }
  }
}

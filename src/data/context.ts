import type { KeyLimits } from '../domains/identity/api-keys/limits'
import type { OwnLimits } from '../domains/tenancy/plans'
import type { Bindings, Settings } from '../env'
import type { Database } from './database'
import type { RequestSession } from './session'

/** Who is calling. Scopes are settled when the credential is verified and never widen afterwards. */
export type Principal =
  | {
      kind: 'user'
      id: string
      email: string
      role: string
      scopes: ReadonlySet<string>
      session_id: string | null
      /** An issuer of the tenant's own vouches for it: what the user may elsewhere, for a partner, is not its to give. */
      tenant_only?: true
    }
  | {
      kind: 'api_key'
      id: string
      user_id: string | null
      name: string
      role: string
      scopes: ReadonlySet<string>
      /** The key's own limits; null where only its tenant's count. */
      limits: KeyLimits | null
    }
  | { kind: 'system'; id: string; scopes: ReadonlySet<string> }
  | { kind: 'anonymous'; id: null; scopes: ReadonlySet<string> }

/** Whose credential it is where someone acts in a tenant that is not their own: platform administrators and partners. */
export type Impersonator = {
  kind: 'user' | 'api_key'
  id: string
  tenant_id: string
  /** What they are at home. */
  role: string
  /** The partner that they act for; null where it is the platform. */
  partner_id: string | null
}

/** The tenant as its credential's look-up knew it; at most ten seconds old. */
export type Tenant = {
  id: string
  plan: string
  status: string
  settings: Record<string, unknown>
  /** Its own numbers, which win over its plan's (tenancy/plans.ts). */
  rate_limits: OwnLimits
  region: string | null
}

/** The answer that a repeat of the request would get, as it is stored beside the change. */
export type StoredAnswer = { status: number; headers: Record<string, string>; body: string; secret: boolean }

/** What an idempotent request carries to `commit`, so that its key is finished in the batch of its change. */
export type IdempotencyClaim = {
  /** The caller's tenant; `public` on routes that need no credential. */
  tenant_id: string
  principal: string
  key: string
  fingerprint: string
  claim: string
  /** Whether a claim row stands already (routes that call something outside make one first). */
  claimed: boolean
  /** Set by `commit`: the key stands with its answer. */
  finished: boolean
  /** Until when, at the latest, the request waits for the job that `commit` stored: what comes of that takes its place. */
  awaited?: number
  /** Prints the answer for a verb's result; set by the route's `returns`. */
  render?: (result: unknown) => StoredAnswer
}

/** What every piece of work knows, before and without a tenant. */
export type RequestContext = {
  env: Bindings
  settings: Settings
  /** Milliseconds since 1970, the same throughout one piece of work. */
  now: number
  requestId: string
  correlationId: string
  /** W3C trace context that goes on to every outgoing call. */
  traceparent: string
  address: string | null
  userAgent: string | null
  /** The row version that `If-Match` names; undefined without the header, -1 where it can match nothing. */
  ifMatch: number | undefined
  idempotency: IdempotencyClaim | null
  /** Through which its statements go to D1; work that no request asked for has none, and asks the primary. */
  session?: RequestSession
  /** Counts the request against a tenant that only the verb finds out; 429. Set on open routes that carry a credential. */
  admit?: (tenant: Pick<Tenant, 'id'>) => void | Promise<void>
  /** Whose request it is, for its usage, where no credential says so: set once what stands for one is proven. */
  usedBy?: { tenant_id: string; caller: 'user' | 'public' } | undefined
  /** Lets `work` finish after the answer; a failure is logged and changes nothing. */
  defer: (work: Promise<unknown>) => void
}

/** What every verb takes first: the caller, the tenant, and a database confined to that tenant. */
export type Context = RequestContext & {
  tenant: Tenant
  principal: Principal
  /** Who stands behind the principal, from another tenant; the audit log shows both. */
  impersonator: Impersonator | null
  db: Database
}

/** The person behind the principal: the user, or the maker of the API key; null for the system. */
export function actingUser(ctx: Pick<Context, 'principal'>): string | null {
  switch (ctx.principal.kind) {
    case 'user':
      return ctx.principal.id
    case 'api_key':
      return ctx.principal.user_id
    case 'system':
    case 'anonymous':
      return null
  }
}

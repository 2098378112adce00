import type { Principal, Tenant } from '../../../data/context'
import type { KeyLimits } from '../../identity/api-keys/limits'
import { type Limits, limitsOf } from '../../tenancy/plans'
import type { Period } from '../meter/window'
import type { Want } from './held-window'

// The table of limits.md as the windows that a request must pass. Lists are made once for each policy: a limiter knows
// them again.

/** What a request of a tenant counts as; a message and an upload are requests too. */
export type Kind = 'request' | 'message' | 'upload' | 'self_help'

/** `files` alone counts what a request that was counted already uploads beside its first. */
export type Policy = Record<Kind | 'files', readonly Want[]>

/** In an outage an isolate lets so much of a limit pass by itself, for there are others. */
const ALONE = 1 / 10
/** Where an outage must open no door, it is part of a small number. */
const STRICTLY_ALONE = 1 / 2

const want = (name: string, period: Period, limit: number): Want => ({
  name,
  period,
  limit,
  alone: Math.ceil(limit * ALONE),
})

const strict = (name: string, limit: number): Want => ({
  ...{ name, period: 'minute', limit, strict: true },
  alone: Math.ceil(limit * STRICTLY_ALONE),
})

/** By address. `public` counts refused credentials too. */
export const ADDRESS_WANTS = {
  login: [strict('login', 5)],
  auth: [strict('auth', 10)],
  public: [want('public', 'minute', 100)],
} satisfies Record<string, readonly Want[]>

/** By address: what it asked for that is not there, on routes that count nothing else. */
export const GUESS_WANTS: readonly Want[] = [want('guesses', 'minute', 100)]

/** What a provider may bring a minute, for all tenants together. */
const OF_PROVIDER = 6_000
/** So many refusals of a source are answered one by one and kept in its log; more only say that they are too many. */
const OF_REFUSALS = 100

/** By source of incoming webhooks. */
export const PROVIDER_WANTS: readonly Want[] = [want('source', 'minute', OF_PROVIDER)]
/** By run, what its agent posts (limits.md: public routes). */
export const RUN_WANTS: readonly Want[] = [want('run', 'minute', 100)]
export const REFUSAL_WANTS: readonly Want[] = [want('refused', 'minute', OF_REFUSALS)]

/** By file: requests by its signed URLs. */
export const FILE_WANTS: readonly Want[] = [want('file', 'minute', 100)]

const bySource = new Map<number, readonly Want[]>()

/** The window of a tenant's source; the same list for the same number, of which there are few. */
export function sourceWants(perMinute: number): readonly Want[] {
  const known = bySource.get(perMinute) ?? [want('source', 'minute', perMinute)]
  if (bySource.size >= MOST_POLICIES) bySource.clear()
  bySource.set(perMinute, known)
  return known
}

/** By tenant, whatever its plan: over its limit it can still revoke a leaked key, and see why. */
export const SELF_HELP_WANTS: readonly Want[] = [want('self_help', 'minute', 60)]

/** More policies than this are of tenants with numbers of their own that come and go. */
const MOST_POLICIES = 1_000

const byTerms = new Map<string, Policy>()
const byTenant = new WeakMap<object, Policy>()

type Terms = Pick<Tenant, 'plan' | 'rate_limits'>

/** The windows of a tenant's requests; the same lists for every tenant of the same terms. */
export function policyOf(tenant: Terms): Policy {
  let policy = byTenant.get(tenant)
  if (!policy) {
    policy = policyByTerms(tenant)
    byTenant.set(tenant, policy)
  }
  return policy
}

function policyByTerms(tenant: Terms): Policy {
  const terms = JSON.stringify([tenant.plan, tenant.rate_limits])
  let policy = byTerms.get(terms)
  if (!policy) {
    if (byTerms.size >= MOST_POLICIES) byTerms.clear()
    policy = newPolicy(limitsOf(tenant))
    byTerms.set(terms, policy)
  }
  return policy
}

function newPolicy(limits: Limits): Policy {
  const request = [
    want('minute', 'minute', limits.requests_per_minute),
    want('hour', 'hour', limits.requests_per_hour),
    want('day', 'day', limits.requests_per_day),
  ]
  const uploads = want('uploads', 'minute', limits.uploads_per_minute)
  return {
    request,
    message: [...request, want('messages', 'minute', limits.messages_per_minute)],
    upload: [...request, uploads],
    files: [uploads],
    self_help: SELF_HELP_WANTS,
  }
}

/** The windows that an API key has of its own. */
export function keyWants(id: string, limits: KeyLimits): Want[] {
  const { per_minute, per_day, total, counted_as = id } = limits
  return [
    ...(per_minute === undefined ? [] : [want(`api_key_minute:${counted_as}`, 'minute', per_minute)]),
    ...(per_day === undefined ? [] : [want(`api_key_day:${counted_as}`, 'day', per_day)]),
    ...(total === undefined ? [] : [want(`api_key_total:${counted_as}`, 'total', total)]),
  ]
}

/** A key's policy by its limits, which are one object as long as the key is remembered. */
const byKey = new WeakMap<KeyLimits, { of: Policy; policy: Policy }>()

/** Who is calling, as far as limits go. */
export type Counted = { kind: Principal['kind']; id: string | null; limits?: KeyLimits | null }

/** The windows that a request must pass: the tenant's, and those of the key, if it has any. */
export function wantsOf(tenant: Terms, caller: Counted, kind: Kind): readonly Want[] {
  const policy = policyOf(tenant)
  const { limits, id } = caller
  if (!limits || id === null) return policy[kind]
  let known = byKey.get(limits)
  if (known?.of !== policy) {
    const own = keyWants(id, limits)
    const { request, message, upload, files, self_help } = policy
    const more = { request: [...request, ...own], message: [...message, ...own], upload: [...upload, ...own] }
    known = { of: policy, policy: { ...more, files, self_help } }
    byKey.set(limits, known)
  }
  return known.policy[kind]
}

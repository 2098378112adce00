import type { Settings } from '../../../env'
import { ISSUED_ROLES, type IssuedRole, type TrustedIssuer } from '../../../lib/issuer'
import type { KeySource } from './fetch-keys'
import type { ClaimNames } from './table'

/** An issuer as its tokens are judged, whoever configured it. */
export type Rule = {
  /** Under which its subjects are known: the id of a tenant's issuer, or `trusted:` and a name. */
  source: string
  /** The version of a tenant's issuer that this is, as its end is told; null for one of the operator's. */
  edition: string | null
  /** The one tenant it speaks for, whatever its claims say; null where a claim names it. */
  tenant_id: string | null
  tenant_claim: string
  iss: string
  aud: string
  algs: readonly string[]
  keys: KeySource | { secret: string }
  typ: 'at+jwt' | 'JWT' | 'optional'
  require: Record<string, string>
  claims: ClaimNames
  roles: Record<string, IssuedRole>
  default_role: IssuedRole
  provision: boolean
  trusts_email: boolean
}

const rulesOf = new WeakMap<Settings, Rule[]>()

/** The operator's rule for a token's issuer and audience. */
export function trustedRule(settings: Settings, iss: string, aud: readonly string[]): Rule | undefined {
  let rules = rulesOf.get(settings)
  if (!rules) {
    rules = settings.trusted_issuers.map(ofTrusted)
    rulesOf.set(settings, rules)
  }
  return ruleFor(rules, iss, aud)
}

/** The rule that a token's issuer and audience name; of several audiences the first that is known. */
export function ruleFor(rules: readonly Rule[], iss: string, aud: readonly string[]): Rule | undefined {
  return aud.flatMap((one) => rules.find((rule) => rule.iss === iss && rule.aud === one) ?? [])[0]
}

function ofTrusted({ jwks_uri, secret, claims, tenant_id, ...issuer }: TrustedIssuer): Rule {
  const source = jwks_uri === null ? { discover: issuer.iss } : { jwks_uri }
  return {
    ...issuer,
    claims,
    tenant_id,
    tenant_claim: claims.tenant,
    keys: secret === null ? source : { secret },
    source: `trusted:${issuer.iss}`,
    edition: null,
  }
}

/** A claim by its name; where no claim has the name and there are dots in it, along them (`realm_access.roles`). */
export function claimAt(claims: Record<string, unknown>, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name]
  let value: unknown = claims
  for (const part of name.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined
    value = (value as Record<string, unknown>)[part]
  }
  return value
}

/** The strongest role that the token's roles stand for here; the default where they stand for none. */
export function roleOf(rule: Rule, claims: Record<string, unknown>): IssuedRole {
  const named = rule.claims.roles === null ? [] : [claimAt(claims, rule.claims.roles) ?? []].flat()
  const mapped = named.flatMap((name) =>
    typeof name === 'string' && Object.hasOwn(rule.roles, name) ? (rule.roles[name] ?? []) : [],
  )
  return ISSUED_ROLES.findLast((role) => mapped.includes(role)) ?? rule.default_role
}

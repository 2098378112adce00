import { and, eq } from 'drizzle-orm'
import type { RequestContext } from '../../../data/context'
import { directory } from '../../../data/database'
import { isUuid } from '../../../lib/ids'
import { describeError, log } from '../../../lib/log'
import { Problem, problem } from '../../../lib/problem'
import { tenants } from '../../tenancy/tenants/table'
import { recall, remember } from '../callers'
import { knowledgeOf } from '../knowledge'
import { tenantState } from '../sessions/standing'
import { users } from '../users/table'
import { IssuedCaller } from './caller'
import { tenantRules } from './known'
import { admit, keepRole, type Subject } from './provision'
import { claimAt, type Rule, ruleFor, trustedRule } from './rules'
import { issuerUsers } from './table'
import { type IssuedClaims, namedIn, verifyIssuedToken } from './verify'

/**
 * Who a token of another issuer stands for: from memory, else verified and its user read from D1; undefined for a token
 * that does not claim to be another issuer's. `header` is the tenant that the request names, without which no issuer of a
 * tenant's own is known. 401 for a token that does not count, 403 for one whose user is not known here.
 */
export function callerByIssuedToken(
  request: RequestContext,
  token: string,
  header: string | null,
): IssuedCaller | Promise<IssuedCaller> | undefined {
  const { env, now, settings } = request
  const named = header ?? (settings.SINGLE_TENANT_ID || null)
  // The same token may speak for a tenant of the operator's choosing, or for the one whose issuer it is.
  const known = recall(env, token) ?? (named === null ? undefined : recall(env, nameIn(named, token)))
  if (known instanceof IssuedCaller)
    return known.isFresh(now) ? inItsTime(known, now) : again(request, token, named, known)
  const said = namedIn(token)
  return said === null || said.iss === settings.PUBLIC_URL
    ? undefined
    : firstSight(request, token, named, said)
}

const nameIn = (tenantId: string, token: string) => `${tenantId}\n${token}`

function inItsTime(caller: IssuedCaller, now: number): IssuedCaller {
  const expired = caller.expired(now)
  if (expired) throw expired
  return caller
}

async function again(request: RequestContext, token: string, named: string | null, known: IssuedCaller) {
  known.postpone(request.now)
  try {
    return await firstSight(request, token, named, namedIn(token))
  } catch (error) {
    const refused = error instanceof Problem && error.status < 500
    if (refused || !known.isGoodEnough(request.now)) throw error
    log.warn('issued_token_unread', { cause: describeError(error) })
    return inItsTime(known, request.now)
  }
}

async function firstSight(
  request: RequestContext,
  token: string,
  named: string | null,
  said: ReturnType<typeof namedIn>,
): Promise<IssuedCaller> {
  const rule = said && (await ruleOf(request, named, said))
  if (!rule) {
    const hint = named === null ? '; where it is that of one tenant, name the tenant in X-Tenant-ID' : ''
    throw problem.unauthorized('invalid_token', `The issuer of the token is not known${hint}`)
  }
  const claims = await verifyIssuedToken(request, rule, token)
  const tenantId = tenantOf(request, rule, claims)
  // Before D1 is asked: what is told meanwhile must not be missed.
  const knowledge = knowledgeOf(request.env, tenantId)
  const user = await subjectUser(request, rule, tenantId, claims)
  const { exp } = claims
  const found = new IssuedCaller(knowledge, { exp, edition: rule.edition }, user, request.now)
  remember(request.env, rule.edition === null ? token : nameIn(tenantId, token), found)
  return found
}

async function ruleOf(
  request: RequestContext,
  named: string | null,
  { iss, aud }: { iss: string; aud: string[] },
) {
  const trusted = trustedRule(request.settings, iss, aud)
  if (trusted || named === null || !isUuid(named)) return trusted
  return ruleFor(await tenantRules(request, named), iss, aud)
}

/** The tenant that a rule speaks for; 403 where this service serves another one. */
function tenantOf(request: RequestContext, rule: Rule, claims: IssuedClaims): string {
  const said = rule.tenant_id ?? claimAt(claims, rule.tenant_claim)
  const tenantId = typeof said === 'string' ? said.toLowerCase() : ''
  if (!isUuid(tenantId)) throw problem.unauthorized('invalid_token', 'The token names no tenant')
  const single = request.settings.SINGLE_TENANT_ID
  if (single && single !== tenantId) throw problem('tenant_mismatch', 'This service serves another tenant')
  return tenantId
}

/** The user behind the subject as he stands in D1, made or linked where the issuer may; learns the tenant. */
async function subjectUser(request: RequestContext, rule: Rule, tenantId: string, claims: IssuedClaims) {
  const row = await directory(request.env)
    .select({ tenant: tenants, user: users, role_at: issuerUsers.role_at })
    .from(tenants)
    .leftJoin(
      issuerUsers,
      and(
        eq(issuerUsers.tenant_id, tenants.id),
        eq(issuerUsers.issuer, rule.source),
        eq(issuerUsers.subject, claims.sub),
      ),
    )
    .leftJoin(users, and(eq(users.tenant_id, issuerUsers.tenant_id), eq(users.id, issuerUsers.user_id)))
    .where(eq(tenants.id, tenantId))
    .get()
  if (!row) throw problem.unauthorized('invalid_token', 'The token names no tenant of this service')
  const { tenant } = row
  if (tenant.is_platform === 1) throw problem('platform_only', 'No other issuer speaks for the platform')
  if (tenant.status === 'suspended') throw problem('tenant_suspended', 'The tenant is suspended')
  if (tenant.status === 'cancelled') throw problem('tenant_cancelled', 'The tenant was cancelled')
  knowledgeOf(request.env, tenantId).learnTenant(tenantState(tenant))
  const subject: Subject = { request, tenant, rule, claims }
  return row.user ? keepRole(subject, row.user, row.role_at ?? 0) : admit(subject)
}

import { and, eq } from 'drizzle-orm'
import type { Change } from '../../../data/commit'
import type { RequestContext } from '../../../data/context'
import { tenantDatabase } from '../../../data/database'
import { iso } from '../../../lib/ids'
import { Problem, problem } from '../../../lib/problem'
import { tenantMeant } from '../../tenancy/tenants/pinned'
import { finishLogin } from '../mfa/gate'
import type { Candidate, Tokens } from '../sessions/open'
import type { Identity } from './identity'
import { joinTenant, linkTo, makePersonalTenant, refuseUnconfirmed, type Vouched } from './link'
import type { Configured } from './provider-of'
import { became, findLogin, startLogin, useLogin } from './state'
import { oauthAccounts } from './table'
import { type Linked, linkedUsers, tenantNamed, usersOf } from './users'

/** Where a provider sends the browser back to; it is registered there. */
export const callbackUrl = (request: RequestContext, provider: string): string =>
  `${request.settings.PUBLIC_URL}/api/v1/auth/oauth/${provider}/callback`

/** Starts a login: where the browser goes, and the cookie by which it is known when it comes back. */
export async function authorize(
  request: RequestContext,
  { name, adapter }: Configured,
  login: { tenant: string | undefined; redirectTo: string },
): Promise<{ url: string; cookie: string; secret: string }> {
  const { cookie, secret, ...started } = await startLogin(request, {
    provider: name,
    tenant: login.tenant ?? null,
    redirect_to: login.redirectTo,
  })
  const redirectUri = callbackUrl(request, name)
  const url = await adapter.authorizationUrl({ ...started, redirectUri, now: request.now })
  return { url, cookie, secret }
}

/** What the browser brings back. */
export type Callback = {
  state: string
  /** Undefined where the provider let nobody in. */
  code: string | undefined
  error: string | undefined
  iss: string | undefined
}

/**
 * Ends a login: who the provider says has logged in gets a session of the user that is linked, or that has confirmed
 * the same address here, or that is made. `leadsTo` hears where the browser wants to go as soon as that is sure.
 */
export async function finishOauth(
  request: RequestContext,
  { name, adapter }: Configured,
  callback: Callback,
  secret: string | undefined,
  leadsTo: (url: string) => void,
): Promise<Tokens> {
  const started = await findLogin(request, name, callback.state, secret)
  leadsTo(started.redirect_to)
  await useLogin(request, started)
  if (callback.code === undefined) throw denied(callback.error)
  const identity = await adapter.identify({
    code: callback.code,
    iss: callback.iss,
    nonce: started.nonce,
    verifier: started.verifier,
    redirectUri: callbackUrl(request, name),
    now: request.now,
  })
  const { candidate, statements } = await userFor(request, name, identity, started.tenant)
  return finishLogin(request, candidate, 'oauth', {
    statements: [...statements, became(request, started.hash, candidate.user)],
    evidence: { provider: name },
  })
}

/** The provider's own words may be anybody's; only a code of RFC 6749 is passed on. */
function denied(error: string | undefined): Problem {
  const code = /^[a-z_]{1,64}$/.test(error ?? '') ? error : 'unknown'
  return problem('oauth_denied', 'The provider let nobody in', { details: { provider_error: code } })
}

type Found = { candidate: Candidate; statements: Change<unknown>['statements'] }

async function userFor(
  request: RequestContext,
  provider: string,
  identity: Identity,
  named: string | null,
): Promise<Found> {
  const tenant = tenantMeant(request, named ?? undefined)
  const known = async (): Promise<Found | null> => {
    const linked = onlyOne(await linkedUsers(request, provider, identity, tenant))
    return linked ? { candidate: linked, statements: [seen(request, linked)] } : null
  }
  const found = await known()
  if (found) return found
  const vouched = vouchedFor(provider, identity)
  try {
    return { candidate: await newcomer(request, vouched, tenant), statements: [] }
  } catch (error) {
    // Another window of the same person may have been faster.
    const meanwhile = error instanceof Problem && error.status === 409 ? await known() : null
    if (meanwhile) return meanwhile
    throw error
  }
}

/** Notes the login on its row. Not async: it goes into a batch. */
function seen(request: RequestContext, { account }: Linked) {
  return tenantDatabase(request.env, account.tenant_id)
    .update(oauthAccounts)
    .set({ last_login_at: iso(request.now) })
    .where(and(eq(oauthAccounts.tenant_id, account.tenant_id), eq(oauthAccounts.id, account.id)))
}

/** 403 where the provider has not made sure of the address: anybody could have written it. */
function vouchedFor(provider: string, identity: Identity): Vouched {
  const { email, email_verified } = identity
  if (email === null || !email_verified)
    throw problem('oauth_email_unverified', 'The provider does not vouch for an email address')
  return { ...identity, email, provider }
}

/** Whose login it is that is linked to nobody yet. */
async function newcomer(
  request: RequestContext,
  vouched: Vouched,
  tenant: string | undefined,
): Promise<Candidate> {
  const found = await usersOf(request, vouched.email, tenant)
  const confirmed = onlyOne(found.filter(({ user }) => user.email_verified_at !== null))
  if (confirmed) return linkTo(request, confirmed, vouched)
  if (tenant === undefined) {
    const unconfirmed = found.find(({ user }) => user.is_personal === 1)
    return makePersonalTenant(request, vouched, unconfirmed)
  }
  const [other] = found
  if (other) return refuseUnconfirmed(request, other, vouched)
  const row = await tenantNamed(request, tenant)
  if (!row) throw problem.notFound('tenant', tenant)
  return joinTenant(request, row, vouched)
}

/** The only one there is; 409 `tenant_required` where there are several. */
function onlyOne<T extends Candidate>(candidates: T[]): T | undefined {
  const [first, ...others] = candidates
  if (others.length === 0) return first
  throw problem('tenant_required', 'The login belongs to several tenants', {
    details: { tenants: candidates.map(({ tenant }) => ({ id: tenant.id, name: tenant.name })) },
  })
}

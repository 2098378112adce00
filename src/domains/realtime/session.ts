import type { Context, RequestContext } from '../../data/context'
import { databaseOf } from '../../data/database'
import { bareTenant } from '../../data/system'
import { problem } from '../../lib/problem'
import { bearerOf, callerByCredential } from '../identity/credentials'
import { knowledgeOf } from '../identity/knowledge'
import { scopesNow } from '../identity/recheck'
import { keepCurrent } from '../metering/changes/current'
import { refuseOtherTenant } from '../tenancy/tenants/pinned'
import { credentialOf } from './listener'
import { FRESH_MS } from './rights'
import { takeTicket } from './tickets'

/** What a socket's first frame may bring, and what came with the request that opened it. */
export type Credentials = {
  token?: string | undefined
  ticket?: string | undefined
  tenant_id?: string | undefined
}

/** What the request that opens a socket brings: a credential, and the tenant that a header of it names. */
export type Carried = { credential: string | null; tenant_id: string | null }

/**
 * Who a socket is for: by a token or key, by a ticket, or by what its request carried. 401 where it is none that counts,
 * 403 where the tenant or the user is suspended, or the tenant is another than is named or SINGLE_TENANT_ID admits.
 */
export async function sessionOf(
  request: RequestContext,
  { ticket, token, tenant_id }: Credentials,
  carried: Carried,
): Promise<Context> {
  const named = [tenant_id?.toLowerCase(), carried.tenant_id].filter((one) => one != null)
  const given = token === undefined ? carried.credential : bearerOf(token)
  const session = await (ticket === undefined
    ? byCredential(request, given, named[0] ?? null)
    : byTicket(request, ticket))
  refuseOtherTenant(request, session.tenant.id)
  if (named.some((id) => id !== session.tenant.id))
    throw problem('tenant_mismatch', 'The tenant that is named is another than the credential’s')
  return session
}

async function byCredential(request: RequestContext, given: string | null, named: string | null) {
  if (given === null) throw problem.unauthorized('credential_required', 'Send a token or a ticket')
  const caller = await callerByCredential(request, given, named)
  // As every request: against what was changed until ten seconds ago.
  await keepCurrent(request, caller.tenantId)
  if (caller.refusal) throw caller.refusal.problem()
  const { principal, tenant } = caller
  return { ...request, principal, tenant, impersonator: null, db: databaseOf(request, tenant.id) }
}

/**
 * The session as it stands now, where it was looked at more than five seconds ago: what a socket asks for later is not
 * given on a right that is gone. 401 where the credential no longer counts.
 */
export async function sessionNow(session: Context): Promise<Context> {
  const now = Date.now()
  if (now - session.now < FRESH_MS) return session
  const credential = credentialOf(session)
  const scopes = (await scopesNow(session.env, session.tenant.id, [credential], now)).get(credential.key)
  if (!scopes) throw problem.unauthorized('token_revoked', 'The credential does not count any more')
  return { ...session, now, principal: { ...session.principal, scopes: new Set(scopes) } }
}

async function byTicket(request: RequestContext, ticket: string): Promise<Context> {
  const { tenant_id, credential, limits, made_at } = await takeTicket(request.env, ticket)
  const { key, kind, id, role, user_id, session_id } = credential
  const scopes = (await scopesNow(request.env, tenant_id, [credential], request.now)).get(key)
  await keepCurrent(request, tenant_id)
  if (!scopes || (kind === 'user' && knowledgeOf(request.env, tenant_id).hasTokensEnded(id, made_at)))
    throw problem.unauthorized('token_revoked', 'The credential of the ticket does not count any more')
  const held = { id, role, scopes: new Set(scopes) }
  const principal =
    kind === 'user'
      ? { ...held, kind, email: '', session_id }
      : { ...held, kind, name: '', user_id, limits: limits ?? null }
  const tenant = bareTenant(tenant_id)
  return {
    ...request,
    ...{ principal, tenant, impersonator: credential.impersonator ?? null },
    db: databaseOf(request, tenant_id),
  }
}

import { sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context, RequestContext } from '../../../data/context'
import { directory } from '../../../data/database'
import { contextFor } from '../../../data/system'
import { iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { mailStatement } from '../../mail/compose'
import { newTenant } from '../../tenancy/tenants/new-tenant'
import { refuseOtherTenant } from '../../tenancy/tenants/pinned'
import { effectiveSettings } from '../../tenancy/tenants/settings'
import { type TenantRow, tenants } from '../../tenancy/tenants/table'
import { invitationFor, useUp } from '../invitations/accept'
import { roomFor } from '../members/room'
import { type Candidate, loginContext, refuseStanding } from '../sessions/open'
import { tenantView } from '../sessions/standing'
import { newUser, userCreated } from '../users/register'
import { raced, replacement } from '../users/replacement'
import { type UserRow, users } from '../users/table'
import type { Identity } from './identity'
import { oauthAccounts } from './table'

/** An identity whose provider has made sure of its address. */
export type Vouched = Identity & { email: string; provider: string }

const beingLinked = () => problem('conflict', 'This login is being linked by another request')
const unique = { 'oauth_accounts.': beingLinked() }

/** The row of a linked login. Not async: it goes into a batch. */
function accountInsert(ctx: Context, user: UserRow, { provider, issuer, subject, email }: Vouched) {
  return ctx.db.insert(oauthAccounts).values({
    tenant_id: user.tenant_id,
    id: newId(ctx.now),
    user_id: user.id,
    ...{ provider, issuer, subject, email },
    created_at: iso(ctx.now),
    last_login_at: iso(ctx.now),
  })
}

const evidence = ({ provider, issuer, subject, email }: Vouched) => ({ provider, issuer, subject, email })

/** Links a login to a user who has confirmed the same address here; a mail tells them. */
export async function linkTo(
  request: RequestContext,
  candidate: Candidate,
  vouched: Vouched,
): Promise<Candidate> {
  refuseStanding(candidate)
  const { user } = candidate
  const ctx = loginContext(request, candidate)
  const confirmed = sql`exists (select 1 from ${users} where tenant_id = ${user.tenant_id} and id = ${user.id}
    and email = ${vouched.email} and email_verified_at is not null and status = 'active')`
  // A second login of the same provider with the same address is somebody who got the address, or its whole domain, later.
  const isFirst = sql`not exists (select 1 from ${oauthAccounts} where tenant_id = ${user.tenant_id}
    and user_id = ${user.id} and provider = ${vouched.provider})`
  await commit(ctx, {
    statements: [
      { holds: confirmed, otherwise: notLinked() },
      { holds: isFirst, otherwise: linkedAlready() },
      accountInsert(ctx, user, vouched),
      mailStatement(ctx, user.email, 'oauth_linked', `${request.settings.PUBLIC_URL}/`),
    ],
    result: undefined,
    audit: { action: 'oauth.link', resource: 'user', resource_id: user.id, after: evidence(vouched) },
    unique,
  })
  return candidate
}

/**
 * Refuses a login whose address somebody registered here without having confirmed it: whoever that is would share the
 * account. It is on record in that tenant.
 */
export async function refuseUnconfirmed(
  request: RequestContext,
  candidate: Candidate,
  vouched: Vouched,
): Promise<never> {
  await commit(contextFor(request, tenantView(candidate.tenant)), {
    statements: [],
    result: undefined,
    audit: {
      action: 'oauth.refuse',
      resource: 'user',
      resource_id: candidate.user.id,
      after: evidence(vouched),
    },
  })
  throw notLinked()
}

const notLinked = () =>
  problem('oauth_not_linked', 'The address belongs to an account here that has not confirmed it')

const linkedAlready = () =>
  problem('oauth_not_linked', 'Another login at this provider is linked to the account')

/** Makes the user of a tenant that takes registrations, or has invited the address. */
export async function joinTenant(
  request: RequestContext,
  tenant: TenantRow,
  vouched: Vouched,
): Promise<Candidate> {
  refuseOtherTenant(request, tenant.id)
  if (tenant.status === 'suspended') throw problem('tenant_suspended', 'The tenant is suspended')
  const settings = effectiveSettings(tenant.plan, tenant.settings)
  const ctx = contextFor(request, tenantView(tenant))
  const invitation = await invitationFor(ctx, vouched.email)
  if (!invitation && !settings.open_registration)
    throw problem('registration_closed', 'The tenant takes no registrations')
  const user = userOf(request, vouched, {
    id: newId(request.now),
    tenant_id: tenant.id,
    role: invitation?.role ?? 'member',
    is_personal: 0,
  })
  await commit(ctx, {
    statements: [
      roomFor(ctx, settings.max_users),
      ...(invitation ? [useUp(ctx, invitation, user.id)] : []),
      ctx.db.insert(users).values(user),
      accountInsert(ctx, user, vouched),
    ],
    ...announcing(user, vouched),
    unique: { 'users.tenant_id, users.email': raced(), ...unique },
  })
  return { user, tenant }
}

/** Makes a user with a tenant of their own; one that was registered with the address and never confirmed it ends. */
export async function makePersonalTenant(
  request: RequestContext,
  vouched: Vouched,
  unconfirmed: Candidate | undefined,
): Promise<Candidate> {
  refuseOtherTenant(request, null)
  const id = newId(request.now)
  const user = userOf(request, vouched, { id, tenant_id: id, role: 'admin', is_personal: 1 })
  const tenant = newTenant(request, { id, name: vouched.name ?? vouched.email, slug: `personal-${id}` })
  const ctx = contextFor(request, tenantView(tenant))
  const end = unconfirmed ? await replacement(request, unconfirmed) : null
  await commit(ctx, {
    statements: [
      ...(end?.statements ?? []),
      directory(request.env).insert(tenants).values(tenant),
      ctx.db.insert(users).values(user),
      accountInsert(ctx, user, vouched),
    ],
    ...announcing(user, vouched),
    unique: { 'users.email': raced(), ...unique },
    ...(end ? { tell: end.tell } : {}),
  })
  return { user, tenant }
}

function userOf(
  request: RequestContext,
  { email, name }: Vouched,
  fields: Pick<UserRow, 'id' | 'tenant_id' | 'role' | 'is_personal'>,
): UserRow {
  const email_verified_at = iso(request.now)
  return newUser(request, { ...fields, email, full_name: name, password_hash: null, email_verified_at })
}

const announcing = (user: UserRow, vouched: Vouched) => ({
  result: undefined,
  audit: {
    action: 'user.register',
    resource: 'user',
    resource_id: user.id,
    after: { role: user.role, ...evidence(vouched) },
  },
  events: [userCreated(user)],
})

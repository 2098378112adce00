import { and, eq } from 'drizzle-orm'
import { type Check, commit } from '../../../data/commit'
import type { Context, RequestContext } from '../../../data/context'
import { directory } from '../../../data/database'
import { bareTenant, contextFor } from '../../../data/system'
import { iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { mailStatement } from '../../mail/compose'
import { newTenant } from '../../tenancy/tenants/new-tenant'
import { refuseOtherTenant, tenantMeant } from '../../tenancy/tenants/pinned'
import { effectiveSettings } from '../../tenancy/tenants/settings'
import { tenants } from '../../tenancy/tenants/table'
import { acceptable } from '../invitations/accept'
import { memberExists, roomFor } from '../members/room'
import { tenantView } from '../sessions/standing'
import { mayMail } from './mail-limit'
import { hashPassword } from './password'
import { raced, replacement } from './replacement'
import type { Register } from './schema'
import { type UserRow, users } from './table'
import { registrationMail } from './verification'

/** Registers a person: into an own tenant, into one that is open, or by invitation. Answers with the user. */
export async function register(request: RequestContext, input: Register): Promise<UserRow> {
  const tenantId = tenantMeant(request, input.tenant_id ?? input.team_id)
  if (input.invitation) return acceptInvitation(request, input, input.invitation)
  if (tenantId) return joinTenant(request, input, tenantId)
  return makePersonalTenant(request, input)
}

/** A user's row as it begins. */
export function newUser(
  request: RequestContext,
  fields: Pick<UserRow, 'id' | 'tenant_id' | 'email' | 'role' | 'password_hash'> & Partial<UserRow>,
): UserRow {
  const now = iso(request.now)
  return {
    full_name: null,
    status: 'active',
    avatar: null,
    preferences: {},
    is_personal: 0,
    email_verified_at: null,
    last_login_at: null,
    version: 1,
    created_at: now,
    updated_at: now,
    ...fields,
  }
}

/** What `user.created` tells. */
export const userCreated = (user: UserRow) => ({
  type: 'user.created',
  data: {
    user_id: user.id,
    tenant_id: user.tenant_id,
    email: user.email,
    role: user.role,
    full_name: user.full_name,
  },
})

/**
 * A tenant of one's own, whose id is the user's: `sub`, user id and network_id are one value. An address that has one
 * gets the same answer and a mail; one that never verified is replaced, so that nobody can hold another's address.
 */
async function makePersonalTenant(request: RequestContext, input: Register): Promise<UserRow> {
  const id = newId(request.now)
  const user = newUser(request, {
    id,
    tenant_id: id,
    email: input.email,
    full_name: input.full_name ?? null,
    role: 'admin',
    password_hash: await hashPassword(input.password),
    is_personal: 1,
  })
  const existing = await directory(request.env)
    .select({ user: users, tenant: tenants })
    .from(users)
    .innerJoin(tenants, eq(tenants.id, users.tenant_id))
    .where(and(eq(users.email, input.email), eq(users.is_personal, 1)))
    .get()
  if (existing?.user.email_verified_at) return tellOwner(request, existing.user, user)

  const tenant = newTenant(request, { id, name: input.full_name ?? input.email, slug: `personal-${id}` })
  const ctx = contextFor(request, tenantView(tenant))
  const mail = await registrationMail(ctx, user, existing !== undefined)
  const everything = directory(request.env)
  const end = existing ? await replacement(request, existing) : null
  return commit(ctx, {
    statements: [
      ...(end?.statements ?? []),
      everything.insert(tenants).values(tenant),
      ctx.db.insert(users).values(user),
      ...mail,
    ],
    result: user,
    audit: {
      action: 'user.register',
      resource: 'user',
      resource_id: id,
      after: { email: user.email, role: user.role },
    },
    events: [userCreated(user)],
    unique: { 'users.email': raced() },
    ...(end ? { tell: end.tell } : {}),
  })
}

/** The same answer as a registration gets; the owner of the address learns of it by mail. */
async function tellOwner(
  request: RequestContext,
  owner: UserRow,
  answer: UserRow,
  ...conditions: Check[]
): Promise<UserRow> {
  const ctx = contextFor(request, bareTenant(owner.tenant_id))
  const mail = (await mayMail(request, owner.email, 'registration_mails'))
    ? [mailStatement(ctx, owner.email, 'already_registered', `${request.settings.PUBLIC_URL}/`)]
    : []
  return commit(ctx, { statements: [...conditions, ...mail], result: answer })
}

async function joinTenant(request: RequestContext, input: Register, tenantId: string): Promise<UserRow> {
  refuseOtherTenant(request, tenantId)
  const tenant = await directory(request.env).select().from(tenants).where(eq(tenants.id, tenantId)).get()
  if (!tenant || tenant.status === 'cancelled')
    throw problem('not_found', 'Team not found', { details: { resource: 'tenant', id: tenantId } })
  if (tenant.status === 'suspended') throw problem('tenant_suspended', 'The tenant is suspended')
  const settings = effectiveSettings(tenant.plan, tenant.settings)
  if (!settings.open_registration) throw problem('registration_closed', 'The tenant takes no registrations')
  const ctx = contextFor(request, tenantView(tenant))
  const user = newUser(request, {
    id: newId(request.now),
    tenant_id: tenant.id,
    email: input.email,
    full_name: input.full_name ?? null,
    role: 'member',
    password_hash: await hashPassword(input.password),
  })
  const taken = await ctx.db
    .select()
    .from(users)
    .where(and(eq(users.tenant_id, tenant.id), eq(users.email, input.email)))
    .get()
  // A full tenant is full for a known address as well, or its refusal would tell the two apart.
  if (taken) return tellOwner(request, taken, user, roomFor(ctx, settings.max_users))
  return addUser(ctx, user, settings.max_users, await registrationMail(ctx, user, false))
}

async function acceptInvitation(request: RequestContext, input: Register, token: string): Promise<UserRow> {
  const { ctx, tenant, invitation, use } = await acceptable(request, token, input.email)
  const user = newUser(request, {
    id: newId(request.now),
    tenant_id: tenant.id,
    email: input.email,
    full_name: input.full_name ?? null,
    role: invitation.role,
    password_hash: await hashPassword(input.password),
    // The token came by mail to this very address.
    email_verified_at: iso(request.now),
  })
  const { max_users } = effectiveSettings(tenant.plan, tenant.settings)
  return addUser(ctx, user, max_users, [use(user.id)], { invitation_id: invitation.id })
}

/** Adds a user within the tenant's number of users, counted in the batch that adds. */
function addUser(
  ctx: Context,
  user: UserRow,
  maxUsers: number,
  more: Parameters<typeof commit>[1]['statements'],
  evidence: Record<string, unknown> = {},
): Promise<UserRow> {
  return commit(ctx, {
    statements: [roomFor(ctx, maxUsers), ...more, ctx.db.insert(users).values(user)],
    result: user,
    audit: {
      action: 'user.register',
      resource: 'user',
      resource_id: user.id,
      after: { email: user.email, role: user.role, ...evidence },
    },
    events: [userCreated(user)],
    unique: { 'users.tenant_id, users.email': memberExists() },
  })
}

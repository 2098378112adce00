import { and, eq, lt, ne } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context, RequestContext } from '../../../data/context'
import { contextFor } from '../../../data/system'
import { iso, newId } from '../../../lib/ids'
import { type Problem, problem } from '../../../lib/problem'
import { effectiveSettings } from '../../tenancy/tenants/settings'
import type { TenantRow } from '../../tenancy/tenants/table'
import { userChange } from '../knowledge'
import { anotherAdmin } from '../members/admins'
import { roomFor } from '../members/room'
import { tenantView } from '../sessions/standing'
import { newUser, userCreated } from '../users/register'
import { Email, FullName } from '../users/schema'
import { type UserRow, users } from '../users/table'
import { claimAt, type Rule, roleOf } from './rules'
import { issuerUsers } from './table'
import type { IssuedClaims } from './verify'

/** Whose token it is: a subject of an issuer, in the tenant that the issuer speaks for. */
export type Subject = { request: RequestContext; tenant: TenantRow; rule: Rule; claims: IssuedClaims }

const unknown = (why: string) => problem('user_unknown', `The issuer’s user is not known here: ${why}`)

const contextOf = ({ request, tenant, rule }: Subject): Context =>
  contextFor(request, tenantView(tenant), { kind: 'system', id: `issuer:${rule.source}`, scopes: new Set() })

const issuedAt = ({ iat }: IssuedClaims): number => (typeof iat === 'number' ? Math.floor(iat) : 0)

/**
 * The user of a subject that is seen for the first time: the one who has its address, where the address is verified by
 * the issuer and here; a new one where the issuer may make users; else 403 `user_unknown`.
 */
export async function admit(subject: Subject): Promise<UserRow> {
  const email = verifiedEmail(subject)
  const ctx = contextOf(subject)
  const existing = await userWith(ctx, email)
  const race = unknown('it was being added; send the request again')
  try {
    return await (existing ? link(ctx, subject, existing, race) : provision(ctx, subject, email, race))
  } catch (error) {
    if (error !== race) throw error
    // Another request with a token of the same person was faster.
    const now = await userOf(ctx, subject)
    if (now) return now
    throw error
  }
}

/** An address that somebody only claims to have must neither find a user nor keep its owner from becoming one. */
function verifiedEmail({ rule, claims }: Subject): string {
  const { data } = Email.safeParse(claimAt(claims, rule.claims.email))
  if (data === undefined) throw unknown(`the token has no address as ${rule.claims.email}`)
  if (!rule.trusts_email && claimAt(claims, rule.claims.email_verified) !== true)
    throw unknown('its address is not verified by the issuer')
  return data
}

const userWith = (ctx: Context, email: string) =>
  ctx.db
    .select()
    .from(users)
    .where(and(eq(users.tenant_id, ctx.tenant.id), eq(users.email, email)))
    .get()

const subjectIs = (ctx: Context, { rule, claims }: Subject) =>
  and(
    eq(issuerUsers.tenant_id, ctx.tenant.id),
    eq(issuerUsers.issuer, rule.source),
    eq(issuerUsers.subject, claims.sub),
  )

async function userOf(ctx: Context, subject: Subject): Promise<UserRow | undefined> {
  const row = await ctx.db
    .select({ user: users })
    .from(issuerUsers)
    .innerJoin(users, and(eq(users.tenant_id, issuerUsers.tenant_id), eq(users.id, issuerUsers.user_id)))
    .where(subjectIs(ctx, subject))
    .get()
  return row?.user
}

const subjectRow = (ctx: Context, { rule, claims }: Subject, userId: string) =>
  ctx.db.insert(issuerUsers).values({
    tenant_id: ctx.tenant.id,
    issuer: rule.source,
    subject: claims.sub,
    user_id: userId,
    // A user that was here before has the role that was given here, until a token of the issuer says another.
    role_at: 0,
    created_at: iso(ctx.now),
  })

async function link(ctx: Context, subject: Subject, user: UserRow, race: Problem): Promise<UserRow> {
  // Whoever signed up with an address that he never verified would else get its owner's logins, and the owner his.
  // Nobody signed up without a password: who has none is an issuer's own.
  if (!user.email_verified_at && user.password_hash !== null)
    throw unknown('its address belongs to a user who has not verified it here')
  if (user.role === 'platform_admin') throw unknown('no other issuer speaks for the platform')
  await commit(ctx, {
    statements: [subjectRow(ctx, subject, user.id)],
    result: undefined,
    audit: {
      action: 'user.link_issuer',
      resource: 'user',
      resource_id: user.id,
      after: { iss: subject.rule.iss, subject: subject.claims.sub },
    },
    unique: { 'issuer_users.': race },
  })
  return keepRole(subject, user, 0)
}

async function provision(ctx: Context, subject: Subject, email: string, race: Problem): Promise<UserRow> {
  const { rule, claims, tenant } = subject
  if (!rule.provision) throw unknown('the issuer may not add users')
  const { data: name } = FullName.safeParse(claimAt(claims, rule.claims.name))
  const user = newUser(ctx, {
    id: newId(ctx.now),
    tenant_id: tenant.id,
    email,
    full_name: name ?? null,
    role: roleOf(rule, claims),
    password_hash: null,
    // A tenant's word for an address counts in what it says of itself, not of whose the address is elsewhere.
    email_verified_at: rule.edition === null ? iso(ctx.now) : null,
  })
  const { max_users } = effectiveSettings(tenant.plan, tenant.settings)
  await commit(ctx, {
    statements: [
      roomFor(ctx, max_users),
      ctx.db.insert(users).values(user),
      subjectRow(ctx, subject, user.id),
    ],
    result: undefined,
    audit: {
      action: 'user.provision',
      resource: 'user',
      resource_id: user.id,
      after: { email, role: user.role, iss: rule.iss, subject: claims.sub },
    },
    events: [userCreated(user)],
    unique: { 'issuer_users.': race, 'users.tenant_id, users.email': race },
  })
  return keepRole(subject, user, 0)
}

/**
 * The user with the role that the issuer's newest token gives, where the issuer gives roles. An older token changes
 * nothing any more, and the tenant's last admin stays one.
 */
export async function keepRole(subject: Subject, user: UserRow, roleAt: number): Promise<UserRow> {
  const { rule, claims } = subject
  const at = issuedAt(claims)
  if (rule.claims.roles === null || at <= roleAt || user.role === 'platform_admin') return user
  const ctx = contextOf(subject)
  const stale = problem('conflict', 'A newer token of the user was seen')
  const newest = {
    statement: ctx.db
      .update(issuerUsers)
      .set({ role_at: at })
      .where(and(subjectIs(ctx, subject), lt(issuerUsers.role_at, at))),
    otherwise: stale,
  }
  const role = roleOf(rule, claims)
  try {
    if (role === user.role) return await commit(ctx, { statements: [newest], result: user })
    const next = { ...user, role, version: user.version + 1, updated_at: iso(ctx.now) }
    return await commit(ctx, {
      statements: [newest, { statement: update(ctx, user, next), otherwise: stale }],
      result: next,
      audit: {
        action: 'user.update',
        resource: 'user',
        resource_id: user.id,
        before: { role: user.role },
        after: { role, iss: rule.iss },
      },
      tell: [userChange(user.id, next, ctx.now)],
    })
  } catch (error) {
    if (error !== stale) throw error
    return (await userOf(ctx, subject)) ?? user
  }
}

function update(ctx: Context, user: UserRow, { role, version, updated_at }: UserRow) {
  return ctx.db
    .update(users)
    .set({ role, version, updated_at })
    .where(
      and(
        eq(users.tenant_id, ctx.tenant.id),
        eq(users.id, user.id),
        eq(users.version, user.version),
        ne(users.role, 'platform_admin'),
        user.role === 'admin' ? anotherAdmin(ctx, user.id) : undefined,
      ),
    )
}

import { and, eq, isNull, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { departing } from '../../../data/departures'
import { find, type Revision, removal, revise } from '../../../data/revise'
import { defined } from '../../../lib/defined'
import { iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { apiKeys } from '../api-keys/table'
import { withdrawal } from '../invitations/service'
import { nameForMail } from '../invitations/words'
import { userChange } from '../knowledge'
import { sessions } from '../sessions/table'
import { countInvited } from '../users/mail-limit'
import { linkMail } from '../users/mail-tokens'
import { hashPassword } from '../users/password'
import { newUser, userCreated } from '../users/register'
import { mailTokens, type UserRow, users } from '../users/table'
import { isActiveAdmin, isNotLast, mayLeave, refuseBeyond, refusePlatform } from './admins'
import { memberExists, roomFor, roomOf } from './room'
import type { CreateUser, UpdateUser } from './schema'
import { memberCounts } from './table'

/** The version of a user after whom nothing comes: whatever was written while they were being removed is older. */
const NO_LATER = Number.MAX_SAFE_INTEGER

const WEEK_MS = 7 * 24 * 3600_000

/**
 * Adds a user to the tenant. Who gets no password here chooses one by the link of a mail; the address counts as
 * confirmed once its reader has used a link. 409 `already_exists`, `user_limit_reached`.
 */
export async function createUser(ctx: Context, input: CreateUser): Promise<UserRow> {
  refuseBeyond(ctx, input.role)
  await countInvited(ctx, input.email)
  const user = newUser(ctx, {
    id: newId(ctx.now),
    tenant_id: ctx.tenant.id,
    email: input.email,
    full_name: input.full_name ?? null,
    role: input.role,
    password_hash: input.password === undefined ? null : await hashPassword(input.password),
  })
  const mail =
    input.password === undefined
      ? await linkMail(ctx, user, 'reset_password', 'account_made', {
          life: WEEK_MS,
          tenant: await nameForMail(ctx),
        })
      : await linkMail(ctx, user, 'verify_email')
  return commit(ctx, {
    statements: [
      roomFor(ctx, roomOf(ctx)),
      ctx.db.insert(users).values(user),
      withdrawal(ctx, user.email),
      ...mail,
    ],
    result: user,
    audit: { action: 'user.create', resource: 'user', resource_id: user.id, after: told(user) },
    events: [userCreated(user)],
    unique: { 'users.tenant_id, users.email': memberExists() },
  })
}

const told = ({ email, full_name, role, status }: UserRow) => ({ email, full_name, role, status })

/** How many users the tenant has, without counting them. */
export async function countUsers(ctx: Context): Promise<{ total: number; suspended: number }> {
  const row = await ctx.db
    .select({ total: memberCounts.users, suspended: memberCounts.suspended })
    .from(memberCounts)
    .where(eq(memberCounts.tenant_id, ctx.tenant.id))
    .get()
  return row ?? { total: 0, suspended: 0 }
}

/** One user of the tenant; 404. */
export async function getUser(ctx: Context, id: string): Promise<UserRow> {
  const row = await find(ctx, users, id)
  if (!row) throw problem.notFound('user', id)
  return row
}

/**
 * Changes a user's role, status or name: a change of role ends the access tokens issued before it, a suspension the
 * sessions, and open streams end with either, all within ten seconds. 404, 412, 409 `last_admin`.
 */
export async function updateUser(ctx: Context, id: string, input: UpdateUser): Promise<UserRow> {
  let before: UserRow | null = null
  const next = await revise(ctx, users, 'user', id, (row) => {
    refusePlatform(row)
    if (input.role !== undefined && input.role !== row.role) refuseBeyond(ctx, input.role)
    before = row
    return changeOf(ctx, row, defined(input))
  })
  if (before) recheckConnections(ctx, before, next)
  return next
}

/** Where nothing is said nobody would notice: whatever the user is connected to looks at their rights now. */
function recheckConnections(ctx: Context, { id, role, status }: UserRow, next: UserRow): void {
  if (role === next.role && status === next.status) return
  ctx.defer(departing(ctx, { kind: 'rights', id, role }).then((along) => along.afterwards()))
}

function changeOf(ctx: Context, row: UserRow, set: Partial<UserRow>): Revision<UserRow> {
  const next = { ...row, ...set, version: row.version + 1 }
  const hasOther = next.role !== row.role
  const ends = next.status === 'suspended' && row.status === 'active'
  const open = openSessions(ctx, row.id)
  const changed = Object.keys(set) as (keyof UserRow)[]
  const of = (user: UserRow) => Object.fromEntries(changed.map((name) => [name, user[name]]))
  return {
    set,
    statements: [
      ...(ends ? [endSessions(ctx, row.id)] : []),
      ...(isActiveAdmin(row) && !isActiveAdmin(next) ? [isNotLast(ctx, row.id)] : []),
    ],
    tell: [
      ...(ends ? [{ kind: 'session', from: sql`${sessions} where ${open}` }] : []),
      ...(hasOther || next.status !== row.status ? [userChange(row.id, next, ctx.now)] : []),
    ],
    audit: {
      action: actionOf(row, next),
      resource: 'user',
      resource_id: row.id,
      before: of(row),
      after: of(next),
    },
  }
}

function actionOf(row: UserRow, next: UserRow): string {
  if (row.status === next.status) return 'user.update'
  return next.status === 'suspended' ? 'user.suspend' : 'user.resume'
}

const openSessions = (ctx: Context, userId: string) =>
  and(eq(sessions.tenant_id, ctx.tenant.id), eq(sessions.user_id, userId), isNull(sessions.ended_at))

const endSessions = (ctx: Context, userId: string) =>
  ctx.db
    .update(sessions)
    .set({ ended_at: iso(ctx.now) })
    .where(openSessions(ctx, userId))

/**
 * Removes a user with all their ways in, sessions and API keys; what they made stays the tenant's. Everywhere within ten
 * seconds. 404, 412, 409 `last_admin`.
 */
export async function deleteUser(ctx: Context, id: string): Promise<undefined> {
  const row = await getUser(ctx, id)
  refusePlatform(row)
  const { tenant_id, email, role, full_name } = row
  const keys = and(
    eq(apiKeys.tenant_id, ctx.tenant.id),
    eq(apiKeys.created_by, id),
    isNull(apiKeys.revoked_at),
  )
  const links = and(eq(mailTokens.tenant_id, ctx.tenant.id), eq(mailTokens.user_id, id))
  const along = await departing(ctx, { kind: 'user', id, role })
  await commit(ctx, {
    statements: [
      mayLeave(ctx, id),
      ctx.db.delete(mailTokens).where(links),
      withdrawal(ctx, email),
      // Sessions, keys and the other ways in go with the row, by their foreign keys.
      removal(ctx, users, 'user', id),
      ...along.statements,
    ],
    result: undefined,
    audit: { action: 'user.delete', resource: 'user', resource_id: id, before: told(row) },
    events: [{ type: 'user.deleted', data: { user_id: id, tenant_id, email, role, full_name }, subject: id }],
    tell: [
      { kind: 'session', from: sql`${sessions} where ${openSessions(ctx, id)}` },
      { kind: 'api_key', from: sql`${apiKeys} where ${keys}` },
      // For who came by another issuer, without a session.
      userChange(id, { ...row, status: 'suspended', version: NO_LATER }, ctx.now),
    ],
  })
  ctx.defer(along.afterwards())
}

import { and, eq, lte, type SQL, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { find, revise } from '../../../data/revise'
import { randomBytes, sha256 } from '../../../lib/crypto'
import { base64url } from '../../../lib/encoding'
import { iso, newId } from '../../../lib/ids'
import { type Problem, problem } from '../../../lib/problem'
import { mailStatement } from '../../mail/compose'
import { refuseBeyond } from '../members/admins'
import { memberExists, roomFor, roomOf } from '../members/room'
import { countInvited } from '../users/mail-limit'
import { users } from '../users/table'
import type { CreateInvitation } from './schema'
import { type InvitationRow, invitations } from './table'
import { inviterOf, nameForMail } from './words'

/** An invitation is open for a week. */
const OPEN_MS = 7 * 24 * 3600_000

export type InvitationView = Omit<InvitationRow, 'version' | 'sent_at'> & {
  status: 'pending' | 'accepted' | 'revoked' | 'expired'
  sent_at: string
  version: string
}

/** An invitation as it is shown, with how it stands now. */
export const view = (ctx: Pick<Context, 'now'>, row: InvitationRow): InvitationView => {
  const status = statusOf(ctx, row)
  // It expires without a change of the row, which changes the ETag all the same.
  const version = `${row.version}${status === 'expired' ? '.1' : ''}`
  return { ...row, status, version, sent_at: row.sent_at ?? row.created_at }
}

function statusOf({ now }: Pick<Context, 'now'>, row: InvitationRow): InvitationView['status'] {
  if (row.accepted_at !== null) return 'accepted'
  if (row.revoked_at !== null) return 'revoked'
  return row.expires_at <= iso(now) ? 'expired' : 'pending'
}

/** Why an invitation can't be used (any more); null where it can. */
export function refusalOf(ctx: Pick<Context, 'now'>, row: InvitationRow): Problem | null {
  switch (statusOf(ctx, row)) {
    case 'accepted':
      return problem('invitation_used', 'The invitation was accepted')
    case 'revoked':
      return problem('invitation_revoked', 'The invitation was taken back')
    case 'expired':
      return problem('invitation_expired', 'The invitation has expired')
    case 'pending':
      return null
  }
}

/** A token to be mailed, of which the SHA-256 is kept, and the fields of the invitation that go with it. */
async function newToken({ now }: Pick<Context, 'now'>) {
  const token = base64url(randomBytes(32))
  return { token, fields: { hash: await sha256(token), sent_at: iso(now), expires_at: iso(now + OPEN_MS) } }
}

// After the #: what a browser never sends on, and no log keeps.
const mailOf = (ctx: Context, email: string, token: string, tenant: string) =>
  mailStatement(
    ctx,
    email,
    'invitation',
    `${ctx.settings.PUBLIC_URL}/accept-invitation#token=${token}`,
    tenant,
  )

/**
 * A new invitation with the statements that write it and mail it; `tenant` is the name that the mail shows, `by` the user
 * of the tenant who invites.
 */
export async function invitationTo(
  ctx: Context,
  { email, role }: CreateInvitation,
  tenant: string,
  by: string | null,
) {
  const { token, fields } = await newToken(ctx)
  const row: InvitationRow = {
    tenant_id: ctx.tenant.id,
    id: newId(ctx.now),
    email,
    role,
    ...fields,
    created_at: iso(ctx.now),
    accepted_at: null,
    revoked_at: null,
    invited_by: by,
    user_id: null,
    state: 'open',
    version: 1,
  }
  const { state: _, ...columns } = row
  return { row, statements: [ctx.db.insert(invitations).values(columns), mailOf(ctx, email, token, tenant)] }
}

/**
 * Invites an address to join with a role. 409 where it has a user or an open invitation, `user_limit_reached` where the
 * tenant is full; 429 where the address or the tenant had its share of mails.
 */
export async function invite(ctx: Context, input: CreateInvitation): Promise<InvitationView> {
  refuseBeyond(ctx, input.role)
  await countInvited(ctx, input.email)
  const { row, statements } = await invitationTo(ctx, input, await nameForMail(ctx), inviterOf(ctx))
  return commit(ctx, {
    statements: [
      { holds: isNobody(ctx, input.email), otherwise: memberExists() },
      roomFor(ctx, roomOf(ctx)),
      // One that has expired makes room for the new one.
      withdrawal(ctx, input.email, lte(invitations.expires_at, iso(ctx.now))),
      ...statements,
    ],
    result: view(ctx, row),
    audit: {
      action: 'invitation.create',
      resource: 'invitation',
      resource_id: row.id,
      after: { email: row.email, role: row.role, expires_at: row.expires_at },
    },
    unique: {
      'invitations.tenant_id, invitations.email': problem(
        'already_exists',
        'The address has an open invitation, which can be sent again or revoked',
      ),
    },
  })
}

/**
 * The statement that takes back the open invitation of an address, if there is one (and it is `such`). Of one who is a user
 * already it would be a way back in after the user is removed.
 */
export const withdrawal = (ctx: Context, email: string, such?: SQL) =>
  ctx.db
    .update(invitations)
    .set({ revoked_at: iso(ctx.now), version: sql`version + 1` })
    .where(
      and(
        eq(invitations.tenant_id, ctx.tenant.id),
        eq(invitations.email, email),
        sql`accepted_at is null and revoked_at is null`,
        such,
      ),
    )

const isNobody = (ctx: Context, email: string) =>
  sql`not exists (select 1 from ${users} where ${and(eq(users.tenant_id, ctx.tenant.id), eq(users.email, email))})`

/** One invitation; 404. */
export async function getInvitation(ctx: Context, id: string): Promise<InvitationView> {
  const row = await find(ctx, invitations, id)
  if (!row) throw problem.notFound('invitation', id)
  return view(ctx, row)
}

/** Refuses what was accepted or revoked; one that has expired is open to be sent again. */
function refuseSettled(ctx: Context, row: InvitationRow): void {
  const refusal = refusalOf(ctx, row)
  if (refusal && refusal.code !== 'invitation_expired') throw refusal
}

/** Mails a new link, good for another week; the one before is void. 404, 412, 409 where it was used or revoked. */
export async function resendInvitation(ctx: Context, id: string): Promise<InvitationView> {
  const before = await find(ctx, invitations, id)
  if (!before) throw problem.notFound('invitation', id)
  refuseSettled(ctx, before)
  refuseBeyond(ctx, before.role)
  await countInvited(ctx, before.email)
  const { token, fields } = await newToken(ctx)
  const tenant = await nameForMail(ctx)
  const decide = (row: InvitationRow) => {
    refuseSettled(ctx, row)
    return {
      set: fields,
      statements: [mailOf(ctx, row.email, token, tenant)],
      audit: {
        action: 'invitation.resend',
        resource: 'invitation',
        resource_id: id,
        before: { expires_at: row.expires_at },
        after: { expires_at: fields.expires_at },
      },
    }
  }
  const show = (row: InvitationRow) => view(ctx, row)
  return show(await revise(ctx, invitations, 'invitation', id, decide, show))
}

/** Takes an invitation back; it stays on record. 404, 412, 409 where it was used or revoked. */
export async function revokeInvitation(ctx: Context, id: string): Promise<undefined> {
  const decide = (row: InvitationRow) => {
    refuseSettled(ctx, row)
    return {
      set: { revoked_at: iso(ctx.now) },
      audit: {
        action: 'invitation.revoke',
        resource: 'invitation',
        resource_id: id,
        before: { email: row.email, role: row.role },
      },
    }
  }
  await revise(ctx, invitations, 'invitation', id, decide, () => undefined)
}

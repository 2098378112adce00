import { and, eq, gt, isNull, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context, RequestContext } from '../../../data/context'
import { directory } from '../../../data/database'
import { contextFor } from '../../../data/system'
import { sha256 } from '../../../lib/crypto'
import { iso } from '../../../lib/ids'
import { type Problem, problem } from '../../../lib/problem'
import { refuseOtherTenant } from '../../tenancy/tenants/pinned'
import { type TenantRow, tenants } from '../../tenancy/tenants/table'
import { tenantView } from '../sessions/standing'
import { refusalOf } from './service'
import { type InvitationRow, invitations } from './table'

const badToken = () => problem.invalid({ invitation: 'is not the token of an invitation' })

/** An invitation that can be accepted, and the statement that uses it up; made of the user that it becomes. */
export type Acceptance = {
  ctx: Context
  tenant: TenantRow
  invitation: InvitationRow
  use: (userId: string) => ReturnType<typeof useUp>
}

/**
 * The invitation that a token stands for. 422 for a token that is none, 403 `invitation_mismatch` for another address, 409
 * `invitation_used`, `…_revoked`, `…_expired`: whoever holds the token is told why, and the tenant has it on record.
 */
export async function acceptable(request: RequestContext, token: string, email: string): Promise<Acceptance> {
  const hash = await sha256(token)
  const found = await directory(request.env)
    .select({ invitation: invitations, tenant: tenants })
    .from(invitations)
    .innerJoin(tenants, eq(tenants.id, invitations.tenant_id))
    .where(eq(invitations.hash, hash))
    .get()
  if (!found || found.tenant.status === 'cancelled') throw badToken()
  const { invitation, tenant } = found
  refuseOtherTenant(request, tenant.id)
  if (tenant.status === 'suspended') throw problem('tenant_suspended', 'The tenant is suspended')
  const ctx = contextFor(request, tenantView(tenant))
  const refusal = invitation.email === email ? refusalOf(request, invitation) : otherAddress()
  if (refusal) throw await onRecord(ctx, invitation, refusal)
  return { ctx, tenant, invitation, use: (userId) => useUp(ctx, invitation, userId) }
}

/** The open invitation of an address that somebody else vouches for, such as a login's provider; null where there is none. */
export async function invitationFor(ctx: Context, email: string): Promise<InvitationRow | null> {
  const open = and(
    eq(invitations.tenant_id, ctx.tenant.id),
    eq(invitations.email, email),
    isNull(invitations.accepted_at),
    isNull(invitations.revoked_at),
    gt(invitations.expires_at, iso(ctx.now)),
  )
  return (await ctx.db.select().from(invitations).where(open).get()) ?? null
}

const otherAddress = () => problem('invitation_mismatch', 'The invitation is for another address')

async function onRecord(ctx: Context, { id }: InvitationRow, refusal: Problem): Promise<Problem> {
  await commit(
    { ...ctx, idempotency: null },
    {
      statements: [],
      result: undefined,
      audit: {
        action: 'invitation.refuse',
        resource: 'invitation',
        resource_id: id,
        after: { reason: refusal.code },
      },
    },
  )
  return refusal
}

/** The statement that uses an invitation up. Not async: it goes into a batch, which fails where another was faster. */
export function useUp(ctx: Context, { id, hash }: InvitationRow, userId: string) {
  const now = iso(ctx.now)
  const open = and(
    eq(invitations.tenant_id, ctx.tenant.id),
    eq(invitations.id, id),
    // Not one that was sent again meanwhile.
    eq(invitations.hash, hash),
    isNull(invitations.accepted_at),
    isNull(invitations.revoked_at),
    gt(invitations.expires_at, now),
  )
  return {
    statement: ctx.db
      .update(invitations)
      .set({ accepted_at: now, user_id: userId, version: sql`version + 1` })
      .where(open),
    otherwise: problem('invitation_used', 'The invitation was accepted, or changed, just now'),
  }
}

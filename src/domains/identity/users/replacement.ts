import { and, eq, isNull, not, sql } from 'drizzle-orm'
import type { Change } from '../../../data/commit'
import type { RequestContext } from '../../../data/context'
import { directory } from '../../../data/database'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { scheduled } from '../../tenancy/deletions/schedule'
import { type TenantRow, tenants } from '../../tenancy/tenants/table'
import { tenantChange } from '../knowledge'
import { memberCounts } from '../members/table'
import { tenantState } from '../sessions/standing'
import { sessions } from '../sessions/table'
import { type UserRow, users } from './table'

export const raced = () => problem('conflict', 'The address is being registered by another request')

/**
 * What ends an unverified registration: the address is free, the tenant is cancelled, its sessions end. A tenant that
 * others have joined is theirs too and goes on, or whoever knows its admin's address could have it deleted.
 */
export async function replacement(
  request: RequestContext,
  { user, tenant }: { user: UserRow; tenant: TenantRow },
): Promise<Pick<Change<unknown>, 'statements'> & { tell: NonNullable<Change<unknown>['tell']> }> {
  const db = directory(request.env)
  const others = sql`exists (select 1 from ${memberCounts} where tenant_id = ${tenant.id} and users > 1)`
  const shared = await db
    .select({ id: tenants.id })
    .from(tenants)
    .where(and(eq(tenants.id, tenant.id), others))
  const now = iso(request.now)
  const set = {
    status: 'cancelled' as const,
    cancelled_at: now,
    updated_at: now,
    version: tenant.version + 1,
  }
  const unverified = and(
    eq(users.tenant_id, user.tenant_id),
    eq(users.id, user.id),
    isNull(users.email_verified_at),
  )
  const unchanged = and(eq(tenants.id, tenant.id), eq(tenants.version, tenant.version), not(others))
  const open = and(
    eq(sessions.tenant_id, user.tenant_id),
    eq(sessions.user_id, user.id),
    isNull(sessions.ended_at),
  )
  // Verified since it was read: the owner has it, and nothing is taken away.
  const freed = { statement: db.update(users).set({ is_personal: 0 }).where(unverified), otherwise: raced() }
  if (shared.length > 0) return { statements: [freed], tell: [] }
  return {
    statements: [
      freed,
      { statement: db.update(tenants).set(set).where(unchanged), otherwise: raced() },
      scheduled(request, tenant.id, null),
      db.update(sessions).set({ ended_at: now }).where(open),
    ],
    tell: [
      { kind: 'session', from: sql`${sessions} where ${open}`, tenant_id: tenant.id },
      tenantChange(tenantState({ ...tenant, ...set })),
    ],
  }
}

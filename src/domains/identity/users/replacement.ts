import { and, eq, isNull, sql } from 'drizzle-orm'
import type { RequestContext } from '../../../data/context'
import { directory } from '../../../data/database'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { scheduled } from '../../tenancy/deletions/schedule'
import { type TenantRow, tenants } from '../../tenancy/tenants/table'
import { tenantChange } from '../knowledge'
import { tenantState } from '../sessions/standing'
import { sessions } from '../sessions/table'
import { type UserRow, users } from './table'

export const raced = () => problem('conflict', 'The address is being registered by another request')

/** What ends an unverified registration: the tenant is cancelled, its sessions end, the address is free. */
export function replacement(request: RequestContext, { user, tenant }: { user: UserRow; tenant: TenantRow }) {
  const db = directory(request.env)
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
  const unchanged = and(eq(tenants.id, tenant.id), eq(tenants.version, tenant.version))
  const open = and(
    eq(sessions.tenant_id, user.tenant_id),
    eq(sessions.user_id, user.id),
    isNull(sessions.ended_at),
  )
  return {
    statements: [
      // Verified since it was read: the owner has it, and nothing is taken away.
      { statement: db.update(users).set({ is_personal: 0 }).where(unverified), otherwise: raced() },
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

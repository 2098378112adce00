import { sql } from 'drizzle-orm'
import { directory } from '../../../data/database'
import type { Bindings } from '../../../env'
import { memberCounts } from '../../identity/members/table'
import { deletions } from '../deletions/table'
import { PLAN_NAMES, type PlanName } from '../plans'
import { type TenantRow, tenants } from '../tenants/table'

type Status = TenantRow['status']

/** How many there are, over all tenants. */
export type Counts = {
  tenants: { total: number; by_status: Record<Status, number>; by_plan: Record<PlanName, number> }
  users: { total: number; suspended: number }
  deletions: { scheduled: number; running: number }
}

/** Counts tenants, users (each tenant knows its number) and deletions that are not done. */
export async function countAll(env: Bindings): Promise<Counts> {
  const db = directory(env)
  const n = sql<number>`count(*)`.as('n')
  const [groups, users, open] = await Promise.all([
    db
      .select({ status: tenants.status, plan: tenants.plan, n })
      .from(tenants)
      .groupBy(tenants.status, tenants.plan),
    db
      .select({
        total: sql<number>`coalesce(sum(${memberCounts.users}), 0)`.as('total'),
        suspended: sql<number>`coalesce(sum(${memberCounts.suspended}), 0)`.as('suspended'),
      })
      .from(memberCounts),
    db
      .select({
        scheduled: sql<number>`coalesce(sum(${deletions.started_at} is null), 0)`.as('scheduled'),
        running: sql<number>`coalesce(sum(${deletions.started_at} is not null), 0)`.as('running'),
      })
      .from(deletions)
      .where(sql`${deletions.finished_at} is null`),
  ])
  const sum = (of: (row: (typeof groups)[number]) => boolean) =>
    groups.filter(of).reduce((total, row) => total + row.n, 0)
  const byPlan = PLAN_NAMES.map((plan) => [plan, sum((row) => row.plan === plan)])
  return {
    tenants: {
      total: sum(() => true),
      by_status: {
        active: sum(({ status }) => status === 'active'),
        suspended: sum(({ status }) => status === 'suspended'),
        cancelled: sum(({ status }) => status === 'cancelled'),
      },
      by_plan: Object.fromEntries(byPlan) as Record<PlanName, number>,
    },
    users: users[0] ?? { total: 0, suspended: 0 },
    deletions: open[0] ?? { scheduled: 0, running: 0 },
  }
}

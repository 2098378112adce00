import { and, eq, sql } from 'drizzle-orm'
import type { Change } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { directory } from '../../../data/database'
import { iso } from '../../../lib/ids'
import type { Problem } from '../../../lib/problem'
import { tenantChange } from '../../identity/knowledge'
import { tenantState } from '../../identity/sessions/standing'
import type { PlanName } from '../plans'
import { tenants } from './table'

type GivenPlan = Required<Pick<Change<unknown>, 'statements' | 'tell'>> & Pick<Change<unknown>, 'audit'>

/**
 * What gives the context’s tenant another plan, for the batch that says why; `stale` where the tenant changes meanwhile.
 * Nothing where it has that plan, or where it has none of `from`: the platform gave it another one.
 */
export async function planGiven(
  ctx: Context,
  plan: PlanName,
  stale: Problem,
  from?: PlanName,
): Promise<GivenPlan> {
  const row = await directory(ctx.env).select().from(tenants).where(eq(tenants.id, ctx.tenant.id)).get()
  if (!row || row.plan === plan || (from !== undefined && row.plan !== from))
    return { statements: [], tell: [] }
  const statement = directory(ctx.env)
    .update(tenants)
    .set({ plan, updated_at: iso(ctx.now), version: sql`version + 1` })
    .where(and(eq(tenants.id, row.id), eq(tenants.version, row.version)))
  return {
    statements: [{ statement, otherwise: stale }],
    tell: [tenantChange(tenantState({ ...row, plan, version: row.version + 1 }))],
    audit: {
      ...{ action: 'tenant.change_plan', resource: 'tenant', resource_id: row.id },
      ...{ before: { plan: row.plan }, after: { plan } },
    },
  }
}

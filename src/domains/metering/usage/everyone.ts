import { and, eq, gte, sql } from 'drizzle-orm'
import { directory } from '../../../data/database'
import type { Bindings } from '../../../env'
import { iso } from '../../../lib/ids'
import { usageLogs } from './table'

/** What all tenants asked since a day began, as far as their Meters have written it: some minutes after each hour. */
export async function usageOfAll(env: Bindings, from: number): Promise<{ requests: number; errors: number }> {
  const row = await directory(env)
    .select({
      requests: sql<number>`coalesce(sum(${usageLogs.requests}), 0)`,
      errors: sql<number>`coalesce(sum(${usageLogs.errors}), 0)`,
    })
    // From tenant to tenant by the key: `cross` keeps this order, in which no other day of theirs is read.
    .from(sql`tenants as t cross join ${usageLogs}`)
    .where(
      and(
        sql`${usageLogs.tenant_id} = t.id`,
        eq(usageLogs.grain, 'day'),
        eq(usageLogs.part, 'total'),
        gte(usageLogs.started_at, iso(from)),
      ),
    )
    .get()
  return row ?? { requests: 0, errors: 0 }
}

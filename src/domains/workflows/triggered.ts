import { and, eq, sql } from 'drizzle-orm'
import type { Context } from '../../data/context'
import { workflowTriggers } from './table'

// Most tenants have no workflow that events start: that is remembered a while, so that their events ask D1 nothing. What is
// missed meanwhile, the sweep finds.

const REMEMBERED_MS = 10_000
const MOST_REMEMBERED = 10_000

/** Until when tenants are taken to have none. */
const without = new Map<string, number>()

/** Has this isolate ask anew. */
export const forgetWhetherTriggered = ({ tenant }: Pick<Context, 'tenant'>) => without.delete(tenant.id)

/** The workflows of a tenant that events wait to start. */
export async function awaitedBy(ctx: Context): Promise<string[]> {
  const now = Date.now()
  if ((without.get(ctx.tenant.id) ?? 0) > now) return []
  const waits = sql<number>`exists (select 1 from workflow_events as e
    where e.tenant_id = ${ctx.tenant.id} and e.workflow_id = workflow_triggers.workflow_id)`
  const rows = await ctx.db
    .select({ id: workflowTriggers.workflow_id, waits: waits.as('waits') })
    .from(workflowTriggers)
    .where(
      and(eq(workflowTriggers.tenant_id, ctx.tenant.id), sql`${workflowTriggers.event_type} is not null`),
    )
  if (rows.length === 0) {
    if (without.size >= MOST_REMEMBERED) without.clear()
    without.set(ctx.tenant.id, now + REMEMBERED_MS)
  }
  return [...new Set(rows.flatMap(({ id, waits }) => (waits ? id : [])))]
}

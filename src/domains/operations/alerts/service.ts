import { and, desc, eq, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { type Page, pageOf } from '../../../data/page'
import { find, revise } from '../../../data/revise'
import { madeBetween } from '../../../data/span'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { sayAlerts } from './channel'
import type { AlertFilters } from './schema'
import { type AlertRow, alerts } from './table'

/** The tenant’s alerts, newest first. */
export function listAlerts(ctx: Context, { limit, cursor, ...by }: AlertFilters): Promise<Page<AlertRow>> {
  const { status, rule_id } = by
  // Of a rule one alert lasts at most, and of a tenant one for each rule: the index of the fewer leads, `+` keeps SQLite
  // from the other.
  const byStatus = status !== undefined && (rule_id === undefined || status !== 'resolved')
  return pageOf(`alerts:${ctx.tenant.id}:${JSON.stringify(by)}`, { limit, cursor }, (after, most) =>
    ctx.db
      .select()
      .from(alerts)
      .where(
        and(
          eq(alerts.tenant_id, ctx.tenant.id),
          is(alerts.status, status, byStatus),
          is(alerts.rule_id, rule_id, !byStatus),
          madeBetween(alerts.id, by, after?.id),
        ),
      )
      .orderBy(desc(alerts.id))
      .limit(most),
  )
}

const is = (
  column: typeof alerts.status | typeof alerts.rule_id,
  value: string | undefined,
  leads: boolean,
) => (value === undefined ? undefined : leads ? sql`${column} = ${value}` : sql`+${column} = ${value}`)

/** One alert; 404. */
export async function getAlert(ctx: Context, id: string): Promise<AlertRow> {
  const row = await find(ctx, alerts, id)
  if (!row) throw problem.notFound('alert', id)
  return row
}

/** Notes who sees to an alert; the first who says so. It still ends by itself. 404, 409 where it is over. */
export async function acknowledgeAlert(ctx: Context, id: string): Promise<AlertRow> {
  const row = await revise(ctx, alerts, 'alert', id, (before) => {
    if (before.status === 'resolved')
      throw problem('conflict', 'The alert is over; there is nothing to see to')
    const isNew = before.status === 'open'
    const by = {
      status: 'acknowledged' as const,
      acknowledged_at: iso(ctx.now),
      acknowledged_by: ctx.principal.id,
    }
    const shown = ({ name, status, value }: AlertRow) => ({ name, status, value })
    const audit = { action: 'alert.acknowledge', resource: 'alert', resource_id: id }
    return {
      set: isNew ? by : {},
      audit: { ...audit, before: shown(before), after: shown({ ...before, ...(isNew ? by : {}) }) },
    }
  })
  ctx.defer(sayAlerts(ctx, [row]))
  return row
}

import { and, eq, isNull, sql } from 'drizzle-orm'
import type { Change, NewEvent } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { eventOf } from '../../events/catalogue'
import { type AlertRow, alerts } from './table'

// How alerts begin and end: the row and its event in one batch, so that neither is without the other, nor there twice.

type Resolution = NonNullable<AlertRow['resolution']>

const told = ({ id, rule_id, created_at, ...row }: AlertRow) => {
  const { name, metric, comparison, threshold, window_minutes, value } = row
  const terms = { name, metric, comparison, threshold, window_minutes }
  return { alert_id: id, rule_id, ...terms, value, raised_at: created_at }
}

export const raised = (row: AlertRow): NewEvent => eventOf('alert.raised', told(row))

/** An alert as it is once it is over. */
export const over = (
  ctx: Context,
  row: AlertRow,
  resolution: Resolution,
  resolved_value: number | null,
): AlertRow => ({
  ...row,
  ...{ status: 'resolved', resolution, resolved_value, resolved_at: iso(ctx.now) },
  ...{ updated_at: iso(ctx.now), version: row.version + 1 },
})

/** It ended, or began, as this was to be written. */
export const ENDED = problem(
  'conflict',
  'An alert of the rule began or ended just now; send the request again',
)

/** What ends an alert that stands as it was read; `over` makes of it what is given here. */
export function ending(
  ctx: Context,
  row: AlertRow,
): Pick<Change<unknown>, 'statements'> & { events: NewEvent[] } {
  const { status, resolution, resolved_at, resolved_value, updated_at } = row
  const mine = and(eq(alerts.tenant_id, ctx.tenant.id), eq(alerts.id, row.id), isNull(alerts.resolved_at))
  const set = { status, resolution, resolved_at, resolved_value, updated_at, version: sql`version + 1` }
  const statement = ctx.db.update(alerts).set(set).where(mine)
  const end = {
    resolved_at: resolved_at ?? iso(ctx.now),
    resolved_value,
    resolution: resolution ?? 'recovered',
  }
  return {
    statements: [{ statement, otherwise: ENDED }],
    events: [eventOf('alert.resolved', { ...told(row), ...end })],
  }
}

/** The alert of a rule that lasts, if one does, and what ends it with the rule's change. */
export async function endingOf(ctx: Context, ruleId: string, resolution: Resolution) {
  const lasting = and(
    eq(alerts.tenant_id, ctx.tenant.id),
    eq(alerts.rule_id, ruleId),
    isNull(alerts.resolved_at),
  )
  const [row] = await ctx.db.select().from(alerts).where(lasting).limit(1)
  const none = sql`not exists (select 1 from ${alerts} where ${lasting})`
  if (!row) return { ended: [], statements: [{ holds: none, otherwise: ENDED }], events: [] }
  const ended = over(ctx, row, resolution, null)
  return { ended: [ended], ...ending(ctx, ended) }
}

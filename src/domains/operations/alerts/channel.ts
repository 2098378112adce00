import { and, eq, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { describeError, log } from '../../../lib/log'
import { problem } from '../../../lib/problem'
import { channelKind, publish, type Said } from '../../realtime/channels'
import { Alert } from './schema'
import { type AlertRow, alerts } from './table'

// `alerts:{tenant_id}` says which alerts last: to who comes, and whenever one is raised, acknowledged or over.

/** A tenant has no more rules than this, and a rule one alert. */
const MOST_LASTING = 100

const said = (rows: readonly AlertRow[]): Said => ({
  type: 'alert',
  data: { alerts: rows.map((row) => Alert.parse(row)) },
})

channelKind({
  name: 'alerts',
  scope: 'alerts:read',
  greet: async (ctx, id) => {
    if (id !== ctx.tenant.id) throw problem.notFound('channel', `alerts:${id}`)
    const rows = await ctx.db
      .select()
      .from(alerts)
      // Spelled out, so that SQLite sees that the partial index serves.
      .where(and(eq(alerts.tenant_id, ctx.tenant.id), sql`${alerts.resolved_at} is null`))
      .limit(MOST_LASTING)
    return said(rows.sort((one, other) => (one.id < other.id ? -1 : 1)))
  },
})

/** Says how alerts stand now to who listens; never fails. */
export async function sayAlerts({ env, tenant }: Context, rows: readonly AlertRow[]): Promise<void> {
  try {
    await publish(env, tenant.id, `alerts:${tenant.id}`, [said(rows)])
  } catch (error) {
    log.warn('alerts_not_told', { tenant_id: tenant.id, cause: describeError(error) })
  }
}

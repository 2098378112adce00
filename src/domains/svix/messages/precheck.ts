import { sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import type { ApplicationRow } from '../../webhooks/applications/table'
import { takes } from '../../webhooks/deliveries/fan-out'
import type { PrecheckIn } from './schema'

/** Whether an endpoint of the application that is not disabled takes such messages, but for its filter. */
export async function isAwaited(
  ctx: Context,
  { id }: Pick<ApplicationRow, 'id'>,
  { eventType, channels }: PrecheckIn,
): Promise<boolean> {
  const rows = await ctx.db.all<{ one: number }>(sql`
    select 1 as one
    from endpoints as w
    join (
      select ${id} as application_id, ${eventType} as type, ${JSON.stringify(channels ?? [])} as channels, '{}' as data
    ) as e
    where w.tenant_id = ${ctx.tenant.id} and w.application_id = ${id}
      and w.status in ('active', 'degraded') and ${takes('e')}
    limit 1`)
  return rows.length > 0
}

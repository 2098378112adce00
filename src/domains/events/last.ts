import { and, desc, eq } from 'drizzle-orm'
import type { Context } from '../../data/context'
import { dataText } from './payload'
import { events } from './table'

/** An event with the text of its data, wherever that is kept; null where it no longer is. */
export type Happened = {
  id: string
  type: string
  timestamp: string
  channels: string[]
  application_id: string | null
  data: string | null
}

/** The tenant's last events, newest first: of a type, else of an application, where one is given. */
export async function lastEvents(
  ctx: Context,
  of: { type?: string | undefined; application_id?: string | null; limit: number },
): Promise<Happened[]> {
  const { id, type, timestamp, channels, application_id, data, data_key } = events
  const ofOne = of.application_id ? eq(application_id, of.application_id) : undefined
  const only = of.type === undefined ? ofOne : eq(type, of.type)
  const rows = await ctx.db
    .select({ id, type, timestamp, channels, application_id, data, data_key })
    .from(events)
    .where(and(eq(events.tenant_id, ctx.tenant.id), only))
    .orderBy(desc(id))
    .limit(of.limit)
  return Promise.all(
    rows.map(async ({ data_key: key, ...row }) => ({
      ...row,
      data: await dataText(ctx.env, { data: row.data, data_key: key }),
    })),
  )
}

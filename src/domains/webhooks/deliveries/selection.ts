import { and, eq, type SQL, sql } from 'drizzle-orm'
import type { SQLiteColumn } from 'drizzle-orm/sqlite-core'
import type { Context } from '../../../data/context'
import { endpoints } from '../endpoints/table'
import type { Delivery } from './schema'
import { BEHIND_ANOTHER, type DeliveryRow, deliveries } from './table'

/**
 * The table through an index by its name: between two ids SQLite would rather walk all of a tenant's deliveries, which is
 * what the span of a page has of everybody's.
 */
export const through = (index: string | null): SQL =>
  index === null ? sql`${deliveries}` : sql`${deliveries} indexed by ${sql.raw(index)}`

/** Deliveries `from` where they are found beside what their endpoint says of when they may go out. */
export function selection(ctx: Context, from = through(null), id: SQL<string> = sql`${deliveries.id}`) {
  return ctx.db
    .select({
      id: id.as('id'),
      event_id: shown<string>(deliveries.event_id),
      event_type: shown<string>(deliveries.event_type),
      endpoint_id: shown<string>(deliveries.endpoint_id),
      status: shown<DeliveryRow['status']>(deliveries.status),
      attempt_count: shown<number>(deliveries.attempt_count),
      next_attempt_at: shown<string | null>(deliveries.next_attempt_at),
      created_at: shown<string>(deliveries.created_at),
      delivered_at: shown<string | null>(deliveries.delivered_at),
      version: shown<number>(deliveries.version),
      endpoint_status: sql<string | null>`${endpoints.status}`.as('endpoint_status'),
      not_before: shown<string | null>(endpoints.not_before),
    })
    .from(from)
    .leftJoin(
      endpoints,
      and(eq(endpoints.tenant_id, deliveries.tenant_id), eq(endpoints.id, deliveries.endpoint_id)),
    )
    .$dynamic()
}

/** A column of a table that is named with its index, in which Drizzle knows no columns. */
const shown = <T>(column: SQLiteColumn) => sql<T>`${column}`.as(column.name)

/** A delivery as it was selected. */
export type Selected = Awaited<ReturnType<typeof selection>>[number]

/** A delivery as it is shown. */
export function view({ not_before, ...row }: Selected): Delivery & { version: number } {
  const { endpoint_status: _, ...delivery } = row
  // What waits for another has no time of its own, nor has what is held.
  const open = delivery.status === 'held' || delivery.next_attempt_at === BEHIND_ANOTHER
  const at = open ? null : delivery.next_attempt_at
  const waits = at !== null && not_before !== null && not_before > at
  return { ...delivery, next_attempt_at: waits ? not_before : at }
}

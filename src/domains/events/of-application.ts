import { and, asc, desc, eq, inArray, sql } from 'drizzle-orm'
import { type Check, commit, type eventRow } from '../../data/commit'
import type { Context } from '../../data/context'
import { lookAmong } from '../../data/page'
import { above, below } from '../../data/span'
import { firstIdAt, iso, newId } from '../../lib/ids'
import { problem } from '../../lib/problem'
import { type EventRow, events } from './table'
import { heldAgainstTypes } from './types/held'

// Events of an application: a group of endpoints and events inside a tenant, with types of its own.

export type ApplicationEvent = {
  type: string
  data: Record<string, unknown>
  channels: string[]
  /** The caller's own id for it; it comes once to the application. */
  uid: string | null
  tags: string[]
}

/** An event of an application as it was taken. */
export type Sent = Pick<EventRow, 'id' | 'type' | 'channels' | 'timestamp' | 'origin' | 'tags'> & {
  data: Record<string, unknown>
}

/**
 * Takes an event of an application, which `stands` says to be there; 413 where its payload is over 256 KB, 409 where the
 * application has one of that uid, 422 where its type does not let it in.
 */
export async function sendTo(
  ctx: Context,
  applicationId: string,
  stands: Check,
  { type, data, channels, uid, tags }: ApplicationEvent,
): Promise<Sent> {
  const id = `msg_${newId(ctx.now)}`
  const timestamp = iso(ctx.now)
  const event = { id, type, data, channels, tags, application_id: applicationId }
  const origin = uid === null ? null : originOf(applicationId, uid)
  const isNew = {
    holds: sql`not exists (select 1 from ${events} where ${and(
      eq(events.tenant_id, ctx.tenant.id),
      eq(events.origin, origin ?? ''),
    )})`,
    otherwise: problem('already_exists', `The application has an event with the id "${uid}"`),
  }
  return heldAgainstTypes(ctx, [{ type, data }], ({ schemaErrors, stands: unchanged }) =>
    commit(ctx, {
      statements: [unchanged, stands, ...(origin === null ? [] : [isNew])],
      events: [
        {
          ...event,
          ...(origin === null ? {} : { origin }),
          ...(schemaErrors[0] == null ? {} : { schema_error: schemaErrors[0] }),
        },
      ],
      result: { id, type, data, channels, tags, timestamp, origin },
    }),
  )
}

/** An event whose deliveries come with it in the same batch: none is made besides. Not async, as it goes into a batch. */
export const insertDispatched = (ctx: Context, row: Awaited<ReturnType<typeof eventRow>>) =>
  ctx.db.insert(events).values({ ...row, dispatched: 1 })

/** Under what name an event comes to an application once. */
const originOf = (applicationId: string, uid: string) => `${applicationId}/${uid}`

/** The caller's own id for an event of an application. */
export const uidOf = ({ origin }: Pick<EventRow, 'origin'>): string | null =>
  origin === null ? null : origin.slice(origin.indexOf('/') + 1)

/** An event of the application, by its id or the caller's own; 404 where it has none. */
export async function eventOfApplication(
  ctx: Context,
  applicationId: string,
  ref: { id: string } | { uid: string },
): Promise<EventRow> {
  const is = 'id' in ref ? eq(events.id, ref.id) : eq(events.origin, originOf(applicationId, ref.uid))
  const rows = await ctx.db
    .select()
    .from(events)
    .where(and(eq(events.tenant_id, ctx.tenant.id), is, sql`+${events.application_id} = ${applicationId}`))
    .limit(1)
  const row = rows[0]
  if (!row) throw problem.notFound('message', 'id' in ref ? ref.id : ref.uid)
  return row
}

export type EventFilters = {
  channel?: string | undefined
  tag?: string | undefined
  types?: readonly string[] | undefined
  before?: string | undefined
  after?: string | undefined
}

export type EventSpan = { limit: number; ascending: boolean; from: string | null }

/**
 * The application's events in one direction. Where no index leads to those that are wanted it looks at so many, and
 * `end` is the last of them where others follow.
 */
export async function eventsOfApplication(
  ctx: Context,
  applicationId: string,
  { limit, ascending, from }: EventSpan,
  { channel, tag, types, before, after }: EventFilters,
): Promise<{ rows: EventRow[]; end: string | null }> {
  const { id, type, channels, tags } = events
  // Their payloads may be large: of those that are passed over they are not read.
  const read = (last: string | null, most: number) =>
    ctx.db
      .select({ id, type, channels, tags })
      .from(events)
      .where(
        and(
          eq(events.tenant_id, ctx.tenant.id),
          eq(events.application_id, applicationId),
          // The id carries the time of acceptance.
          above(id, ascending ? last : null, after && `msg_${firstIdAt(Date.parse(after))}`),
          below(id, ascending ? null : last, before && `msg_${firstIdAt(Date.parse(before))}`),
        ),
      )
      .orderBy((ascending ? asc : desc)(id))
      .limit(most)
  const looked = await lookAmong(
    limit,
    from,
    read,
    (row) =>
      (channel === undefined || row.channels.includes(channel)) &&
      (tag === undefined || (row.tags?.includes(tag) ?? false)) &&
      (types === undefined || types.includes(row.type)),
  )
  const ids = looked.rows.map((row) => row.id)
  const whole = new Map((await eventsByIds(ctx, ids)).map((row) => [row.id, row]))
  return { rows: ids.flatMap((one) => whole.get(one) ?? []), end: looked.end }
}

/** Events by their ids, whoever's they are in the tenant. */
export function eventsByIds(ctx: Context, ids: readonly string[]): Promise<EventRow[]> {
  return ctx.db
    .select()
    .from(events)
    .where(
      and(
        eq(events.tenant_id, ctx.tenant.id),
        inArray(events.id, sql`(select value from json_each(${JSON.stringify(ids)}))`),
      ),
    )
}

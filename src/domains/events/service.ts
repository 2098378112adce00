import { and, eq } from 'drizzle-orm'
import { commit, MAX_PAYLOAD } from '../../data/commit'
import type { Context } from '../../data/context'
import { iso, newId } from '../../lib/ids'
import { problem } from '../../lib/problem'
import { isBuiltIn } from './catalogue'
import { dataText } from './payload'
import type { Event, SendEvent, SendEvents, SentEvents } from './schema'
import { type EventRow, events } from './table'
import { heldAgainstTypes } from './types/held'

/** Takes an event of the tenant's own; 413 where its payload is over 256 KB, 422 where its type does not let it in. */
export function sendEvent(ctx: Context, input: SendEvent): Promise<Event> {
  const place = () => ''
  return takeEvents(ctx, [input], place, (taken) => taken[0] as Event)
}

/** Takes up to a hundred events, all of them or none; the fields of a refusal say which they are of. */
export function sendEvents(ctx: Context, input: SendEvents): Promise<SentEvents> {
  const place = (index: number) => `events.${index}.`
  return takeEvents(ctx, input.events, place, (taken) => ({
    events: taken.map(({ data: _, tenant_id: __, ...receipt }) => receipt),
  }))
}

async function takeEvents<T>(
  ctx: Context,
  sent: readonly SendEvent[],
  placeOf: (index: number) => string,
  show: (taken: Event[]) => T,
): Promise<T> {
  refuseBuiltIn(sent, placeOf)
  sent.forEach(({ data }, i) => {
    refuseTooLarge(data, `${placeOf(i)}data`)
  })
  const now = iso(ctx.now)
  const made = sent.map((one) => ({ ...one, id: `msg_${newId(ctx.now)}`, timestamp: one.occurred_at ?? now }))
  return heldAgainstTypes(
    ctx,
    sent,
    ({ schemaErrors, stands }) =>
      commit(ctx, {
        statements: [stands],
        shared: sent.length === 1,
        events: made.map(({ id, type, data, channels, subject, timestamp }, i) => ({
          ...{ id, type, data, channels, occurred_at: timestamp },
          ...(subject === undefined ? {} : { subject }),
          ...(schemaErrors[i] == null ? {} : { schema_error: schemaErrors[i] }),
        })),
        result: show(
          made.map(({ id, type, timestamp, data, channels, subject = null }, i) => ({
            ...{ id, type, tenant_id: ctx.tenant.id, timestamp, data, channels, subject },
            application_id: null,
            schema_error: schemaErrors[i] ?? null,
          })),
        ),
      }),
    placeOf,
  )
}

function refuseBuiltIn(sent: readonly SendEvent[], placeOf: (index: number) => string): void {
  const refused = sent.flatMap(({ type }, i) => (isBuiltIn(type) ? [`${placeOf(i)}type`] : []))
  const message = 'is one of the service’s own types; send it under a name of yours'
  if (refused.length > 0) throw problem.invalid(Object.fromEntries(refused.map((field) => [field, message])))
}

/** Before anything of its batch is put away. */
function refuseTooLarge(data: unknown, field: string): void {
  const size = new TextEncoder().encode(JSON.stringify(data)).byteLength
  if (size <= MAX_PAYLOAD) return
  const details = { field, limit_bytes: MAX_PAYLOAD, size_bytes: size }
  throw problem('payload_too_large', `The payload in ${field} is over its limit`, { details })
}

/** One event with its data, wherever that is kept. */
export async function getEvent(ctx: Context, id: string): Promise<Event> {
  const row = await existingEvent(ctx, id)
  return view(row, await dataText(ctx.env, row))
}

/** The event's row; 404 where this tenant has none of that id. */
export async function existingEvent(ctx: Context, id: string): Promise<EventRow> {
  const row = await rowOf(ctx, id)
  if (!row) throw problem.notFound('event', id)
  return row
}

/** The JSON text of an event's data as it was printed at acceptance; null where that, or the event, is kept no more. */
export async function eventData(ctx: Context, id: string): Promise<string | null> {
  const row = await rowOf(ctx, id)
  return row ? dataText(ctx.env, row) : null
}

async function rowOf(ctx: Context, id: string): Promise<EventRow | undefined> {
  const [row] = await ctx.db
    .select()
    .from(events)
    .where(and(eq(events.tenant_id, ctx.tenant.id), eq(events.id, id)))
    .limit(1)
  return row
}

/** As it is shown, with the text of its data. */
export const view = (row: EventRow, data: string | null): Event => ({
  id: row.id,
  type: row.type,
  tenant_id: row.tenant_id,
  timestamp: row.timestamp,
  data: data === null ? null : JSON.parse(data),
  channels: row.channels,
  subject: row.subject,
  application_id: row.application_id,
  schema_error: row.schema_error,
})

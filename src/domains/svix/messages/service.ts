import type { Context } from '../../../data/context'
import { Problem, problem } from '../../../lib/problem'
import { eventOfApplication, eventsOfApplication, sendTo, uidOf } from '../../events/of-application'
import { dataText } from '../../events/payload'
import type { EventRow } from '../../events/table'
import { findApplication, getApplication, type Ref, stands } from '../../webhooks/applications/service'
import type { ApplicationRow } from '../../webhooks/applications/table'
import { makeApplication } from '../applications/service'
import { showing } from '../showing'
import { type Listing, listing, prefixed, spanOf, unprefixed, windowOf } from '../wire'
import type { ListMessages, MessageIn } from './schema'

type Row = Pick<EventRow, 'id' | 'type' | 'channels' | 'tags' | 'timestamp' | 'origin'>

/** A message as Svix's clients see it. */
export const messageOut = (row: Row, payload: Record<string, unknown>) => ({
  ...{ id: row.id, eventId: uidOf(row), eventType: row.type, payload, timestamp: row.timestamp },
  channels: row.channels.length > 0 ? row.channels : null,
  tags: row.tags && row.tags.length > 0 ? row.tags : null,
})

export type Shown = ReturnType<typeof messageOut>

/** The payload as it is shown. */
export async function payloadOf(
  ctx: Context,
  row: Pick<EventRow, 'data' | 'data_key'>,
  withContent: boolean,
): Promise<Record<string, unknown>> {
  if (!withContent) return {}
  const text = await dataText(ctx.env, row)
  return text === null ? { expired: true } : (JSON.parse(text) as Record<string, unknown>)
}

/** Takes a message for the application's endpoints; makes the application first, where that is asked for. */
export async function sendMessage(
  ctx: Context,
  ref: Ref,
  input: MessageIn,
  withContent: boolean,
): Promise<Shown> {
  refuseShorter(ctx, input)
  const { id } = (await findApplication(ctx, ref)) ?? (await madeFor(ctx, ref, input))
  const { eventType: type, payload: data, channels, tags, eventId } = input
  type Sent = Awaited<ReturnType<typeof sendTo>>
  const show = (sent: Sent) => messageOut(sent, withContent ? sent.data : {})
  const words = { channels: [...new Set(channels ?? [])], tags: [...new Set(tags ?? [])] }
  const event = { type, data, ...words, uid: eventId ?? null }
  const sent = sendTo(showing(ctx, show), id, stands(ctx, id), event)
  return show(await sent.catch(inTheirWords))
}

/** 422 for who wants a payload gone sooner than it goes: it would be kept longer than was asked for. */
function refuseShorter(
  { tenant }: Context,
  { payloadRetentionPeriod: days, payloadRetentionHours: hours }: MessageIn,
): void {
  const kept = Number(tenant.settings.payload_retention_days)
  const why = `must be at least the tenant’s payload_retention_days, ${kept}: lower that, or expunge the content later`
  const wrong = {
    ...(days != null && days < kept && { payloadRetentionPeriod: why }),
    ...(hours != null && hours < kept * 24 && { payloadRetentionHours: why }),
  }
  if (Object.keys(wrong).length > 0) throw problem.invalid(wrong)
}

/** A type that refuses the payload names fields as events have them. */
function inTheirWords(error: unknown): never {
  const { fields } = (error instanceof Problem ? error.details : {}) as { fields?: Record<string, string> }
  if (!fields) throw error
  const theirs = Object.entries(fields).map(([path, why]) => [
    path.replace(/^data\b/, 'payload').replace(/^type$/, 'eventType'),
    why,
  ])
  throw problem.invalid(Object.fromEntries(theirs))
}

/** The application that a message brings along, under the uid that its path names. */
async function madeFor(ctx: Context, ref: Ref, { application }: MessageIn): Promise<{ id: string }> {
  const named = 'uid' in ref ? ref.uid : null
  if (!application) throw problem.notFound('application', named ?? ('id' in ref ? ref.id : ''))
  if (!application.uid || application.uid !== named)
    throw problem.invalid({ 'application.uid': 'must be the uid that the path names' })
  // The message's own batch finishes the idempotency key.
  await makeApplication({ ...ctx, idempotency: null }, application, true)
  return getApplication(ctx, ref)
}

/** The application's messages, newest first. */
export async function listMessages(
  ctx: Context,
  { id }: ApplicationRow,
  query: ListMessages,
): Promise<Listing<Shown>> {
  const { channel, tag, event_types: types, before, after } = query
  const window = fromTheEnd(
    windowOf(query, 'descending', (text) => unprefixed('msg', text) && text.toLowerCase()),
    query,
  )
  const { rows, end } = await eventsOfApplication(ctx, id, spanOf(window), {
    ...{ channel, tag, types, before, after },
  })
  const payloads = await Promise.all(rows.map((row) => payloadOf(ctx, row, query.with_content)))
  const shown = rows.map((row, i) => messageOut(row, payloads[i] ?? {}))
  return listing(
    shown,
    window,
    (one) => one,
    (one) => one.id,
    end,
  )
}

/** What came after a time is paged from there on, as Svix does it. */
export function fromTheEnd<W extends { ascending: boolean; backwards: boolean }>(
  window: W,
  query: { iterator?: string | undefined; before?: string | undefined; after?: string | undefined },
): W {
  const isFirst = query.iterator === undefined && query.before === undefined && query.after !== undefined
  return isFirst ? { ...window, ascending: true, backwards: true } : window
}

/** The event that a path names: its id has its prefix wherever it is kept. */
export function messageAt(ctx: Context, applicationId: string, ref: Ref): Promise<EventRow> {
  return eventOfApplication(ctx, applicationId, 'id' in ref ? { id: prefixed('msg', ref.id) } : ref)
}

/** A message of the application, by its id or the caller's own. */
export async function getMessage(
  ctx: Context,
  { id }: ApplicationRow,
  ref: Ref,
  withContent: boolean,
): Promise<Shown> {
  const row = await messageAt(ctx, id, ref)
  return messageOut(row, await payloadOf(ctx, row, withContent))
}

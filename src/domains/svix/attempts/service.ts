import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { problem } from '../../../lib/problem'
import { eventsByIds } from '../../events/of-application'
import type { EventRow } from '../../events/table'
import type { Ref } from '../../webhooks/applications/service'
import type { ListedAttempt } from '../../webhooks/deliveries/attempt-pages'
import { deliveriesOfEvent } from '../../webhooks/deliveries/list'
import { deliveriesOfEndpoint, deliveryIdOf, eventIdOf } from '../../webhooks/deliveries/of-endpoint'
import type { Delivery } from '../../webhooks/deliveries/schema'
import { retryDelivery } from '../../webhooks/deliveries/service'
import { senderOf } from '../../webhooks/deliveries/wake'
import { endpointOf, endpointsByIds } from '../../webhooks/endpoints/of-application'
import type { EndpointRow } from '../../webhooks/endpoints/table'
import { endpointOut } from '../endpoints/service'
import { fromTheEnd, messageOut, payloadOf } from '../messages/service'
import { showing } from '../showing'
import { listing, prefixed, spanOf, unprefixed, type Window, windowOf } from '../wire'
import type { ListMessagesOf } from './schema'
import { FAIL, type ListByEndpoint, type ListByMessage, type ListDestinations, SUCCESS } from './schema'
import { attemptId, attemptOut, placeIn, STATES, standingOf } from './shapes'

const unreadable = (cause: unknown) => {
  throw problem('service_unavailable', 'The attempts can’t be read just now', { cause })
}

const failed = (status: number | undefined) => (status === undefined ? undefined : status === FAIL)

/** What has ended has either worked or failed. */
const isOpen = (status: number | undefined) => status !== undefined && status !== SUCCESS && status !== FAIL

const at = (text: string) => (placeIn(text) ? text.toLowerCase() : null)

/** The attempts of an endpoint, those of the newest message first. */
export async function attemptsByEndpoint(ctx: Context, endpoint: EndpointRow, query: ListByEndpoint) {
  const window = fromTheEnd(windowOf(query, 'descending', at), query)
  const { limit, ascending, from } = spanOf(window)
  const sender = await senderOf(ctx.env, { tenant_id: ctx.tenant.id, endpoint_id: endpoint.id })
  const { event_types, after, before, with_content: content } = query
  const page = isOpen(query.status)
    ? { rows: [], end: null }
    : await sender
        .listAttempts({
          ...{ limit, ascending, from: from === null ? null : placeIn(from), content },
          ...{ failed: failed(query.status), hundred: query.status_code_class },
          ...{ event_types, after, before },
        })
        .catch(unreadable)
  const messages = await messagesOf(ctx, page.rows, query.with_msg || isChosen(query))
  const { rows, end } = sifted(page, limit - 1, (row) => isOf(messages.get(row.event_id), query))
  const show = (row: ListedAttempt) => {
    const event = messages.get(row.event_id)
    return {
      ...attemptOut(row, endpoint, content),
      ...(event && query.with_msg ? { msg: messageOut(event, {}) } : {}),
    }
  }
  return listing(rows, window, show, attemptId, end && attemptId(end))
}

type Chosen = { channel?: string | undefined; tag?: string | undefined }

const isChosen = ({ channel, tag }: Chosen) => channel !== undefined || tag !== undefined

/** Whether a message has the channel and the tag that are asked for; one that is no longer kept has none. */
function isOf(event: Pick<EventRow, 'channels' | 'tags'> | undefined, { channel, tag }: Chosen): boolean {
  if (channel !== undefined && !event?.channels.includes(channel)) return false
  return tag === undefined || (event?.tags?.includes(tag) ?? false)
}

/** What passes of one page; where some are left out, the list goes on after the last that was looked at. */
function sifted<R extends E, E>(
  { rows, end }: { rows: readonly R[]; end: E | null },
  limit: number,
  passes: (row: R) => boolean,
): { rows: readonly R[]; end: E | null } {
  const kept = rows.filter(passes)
  if (kept.length === rows.length) return { rows, end }
  const looked = rows.slice(0, limit)
  return { rows: looked.filter(passes), end: rows.length > limit ? (looked.at(-1) ?? null) : end }
}

async function messagesOf(ctx: Context, rows: readonly { event_id: string }[], wanted = true) {
  const ids = [...new Set(rows.map(({ event_id }) => event_id))]
  const events = wanted && ids.length > 0 ? await eventsByIds(ctx, ids) : []
  return new Map(events.map((event) => [event.id, event]))
}

/** The attempts of a message at all of its endpoints, the latest first. */
export async function attemptsByMessage(
  ctx: Context,
  applicationId: string,
  event: EventRow,
  query: ListByMessage,
) {
  const { event_types, after, before, status, status_code_class: hundred, with_content } = query
  const has = isOf(event, query)
  const only = query.endpoint_id && (await endpointOf(ctx, applicationId, query.endpoint_id))
  const deliveries = (await deliveriesOfEvent(ctx, event.id)).filter(
    ({ endpoint_id }) => !only || endpoint_id === only.id,
  )
  const isWanted = (one: ListedAttempt) =>
    has &&
    !isOpen(status) &&
    (status === undefined || (one.error !== null) === failed(status)) &&
    (hundred === undefined || Math.floor((one.response_status ?? 0) / 100) * 100 === hundred) &&
    (!event_types || event_types.includes(one.event_type)) &&
    (after === undefined || one.attempted_at > after) &&
    (before === undefined || one.attempted_at < before)
  const all = (await Promise.all(deliveries.map((one) => attemptsAt(ctx, one, with_content)))).flat()
  const sorted = all
    .filter(({ attempt }) => isWanted(attempt))
    .sort((a, b) => (keyOf(a.attempt) < keyOf(b.attempt) ? 1 : -1))
  const urls = await urlsOf(ctx, deliveries)
  const window = windowOf(query, 'descending', at)
  return cut(
    sorted,
    window,
    ({ attempt }) => attemptId(attempt),
    ({ attempt, endpoint_id: id }) => attemptOut(attempt, { id, url: urls.get(id) ?? '' }, with_content),
  )
}

const keyOf = (one: ListedAttempt) => `${one.attempted_at} ${attemptId(one)}`

async function attemptsAt(ctx: Context, { id, endpoint_id }: Delivery, content: boolean) {
  const sender = await senderOf(ctx.env, { tenant_id: ctx.tenant.id, endpoint_id })
  const { rows } = await sender.listAttempts({ delivery_id: id, content }).catch(unreadable)
  return rows.map((attempt) => ({ attempt, endpoint_id }))
}

async function urlsOf(ctx: Context, deliveries: readonly Delivery[]) {
  const rows = await endpointsByIds(
    ctx,
    deliveries.map(({ endpoint_id }) => endpoint_id),
  )
  return new Map(rows.map(({ id, url }) => [id, url]))
}

/** A page of a list that is held whole, in its order; the iterator of a row that is gone is that of none. */
function cut<R, T>(rows: readonly R[], window: Window, idOf: (row: R) => string, show: (row: R) => T) {
  const { limit, from, backwards } = window
  const found = from === null ? -1 : rows.findIndex((row) => idOf(row) === from)
  if (from !== null && found < 0)
    throw problem.invalid({ iterator: 'must be the iterator or the prevIterator of this list' })
  const span = backwards ? rows.slice(0, found < 0 ? undefined : found).reverse() : rows.slice(found + 1)
  return listing(span.slice(0, limit + 1), window, show, idOf)
}

/** The messages of an endpoint with how they stand, newest first. */
export async function messagesOfEndpoint(ctx: Context, endpoint: EndpointRow, query: ListMessagesOf) {
  const { status, event_types, after, before, with_content } = query
  const idOf = (text: string) => (unprefixed('msg', text) ? deliveryIdOf(text.toLowerCase(), endpoint) : null)
  const window = fromTheEnd(windowOf(query, 'descending', idOf), query)
  const page = await deliveriesOfEndpoint(ctx, endpoint.id, spanOf(window), {
    ...{ event_types, after, before },
    ...(status === undefined ? {} : STATES[status]),
  })
  const events = await messagesOf(ctx, page.rows)
  const span = { rows: page.rows, end: page.end === null ? null : { id: page.end } }
  const { rows, end } = sifted(span, window.limit, (row) => isOf(events.get(row.event_id), query))
  const shown = await Promise.all(
    rows.map(async (row) => {
      const event = events.get(row.event_id) ?? goneEvent(row)
      return { ...messageOut(event, await payloadOf(ctx, event, with_content)), ...standingOf(row) }
    }),
  )
  return listing(
    shown,
    window,
    (one) => one,
    ({ id }) => id,
    end && eventIdOf(end.id),
  )
}

/** What a delivery still tells of an event that is no longer kept. */
const goneEvent = (row: Pick<Delivery, 'event_id' | 'event_type' | 'created_at'>) => ({
  ...{ id: row.event_id, type: row.event_type, channels: [], timestamp: row.created_at },
  ...{ origin: null, data: null, data_key: null, tags: null },
})

/** The endpoints of a message with how it stands there, by their ids. */
export async function endpointsOfMessage(ctx: Context, event: EventRow, query: ListDestinations) {
  const deliveries = await deliveriesOfEvent(ctx, event.id)
  const rows = await endpointsByIds(
    ctx,
    deliveries.map(({ endpoint_id }) => endpoint_id),
  )
  const found = deliveries
    .flatMap((delivery) => {
      const row = rows.find(({ id }) => id === delivery.endpoint_id)
      return row ? [{ row, delivery }] : []
    })
    .sort((a, b) => (a.row.id < b.row.id ? -1 : 1))
  const window = windowOf(query, 'ascending', (text) => unprefixed('ep', text) && text.toLowerCase())
  return cut(
    found,
    window,
    ({ row }) => prefixed('ep', row.id),
    ({ row, delivery }) => ({ ...endpointOut(row), ...standingOf(delivery) }),
  )
}

/** The delivery and the attempt that an attempt's id names; 404 where the message has none. */
async function placeOf(ctx: Context, event: EventRow, text: string) {
  const place = placeIn(text)
  const deliveries = place ? await deliveriesOfEvent(ctx, event.id) : []
  const delivery = deliveries.find(({ id }) => id === place?.delivery_id)
  const attempts = delivery ? await attemptsAt(ctx, delivery, true) : []
  const found = attempts.find(({ attempt }) => attempt.number === place?.number)
  if (!delivery || !found) throw problem.notFound('attempt', text)
  return { delivery, found }
}

/** Erases what an attempt of a message was answered; that it was made, and with which status, stays. */
export async function expungeAttempt(ctx: Context, event: EventRow, text: string): Promise<undefined> {
  const { delivery, found } = await placeOf(ctx, event, text)
  const { number } = found.attempt
  await commit(ctx, {
    statements: [],
    audit: {
      ...{ action: 'attempt.erase', resource: 'delivery', resource_id: delivery.id, after: { number } },
    },
    result: undefined,
  })
  const sender = await senderOf(ctx.env, { tenant_id: ctx.tenant.id, endpoint_id: delivery.endpoint_id })
  await sender.forgetAnswer({ delivery_id: delivery.id, number }).catch(unreadable)
}

/** One attempt of a message. */
export async function attemptOfMessage(ctx: Context, event: EventRow, text: string) {
  const { delivery, found } = await placeOf(ctx, event, text)
  const url = (await urlsOf(ctx, [delivery])).get(delivery.endpoint_id) ?? ''
  return attemptOut(found.attempt, { id: delivery.endpoint_id, url }, true)
}

/** Sends a message to one of its endpoints again. */
export async function resend(ctx: Context, applicationId: string, event: EventRow, ref: Ref) {
  const endpoint = await endpointOf(ctx, applicationId, ref)
  const answer = {}
  await retryDelivery(
    showing(ctx, () => answer),
    deliveryIdOf(event.id, endpoint),
  )
  return answer
}

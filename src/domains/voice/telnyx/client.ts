import * as z from 'zod'
import { problem } from '../../../lib/problem'
import type { Provider } from '../../../lib/provider-fetch'
import { type Asking, answerIfAny, answerOf, answerTo } from '../answer'

// Telnyx’s API v2, so far as calls are placed by it (developers.telnyx.com/api-reference). Nothing here knows a call of ours
// but by the id that goes along as `client_state` and `command_id`.

const Status = z.object({
  call_control_id: z.string(),
  call_leg_id: z.string(),
  is_alive: z.boolean(),
  start_time: z.string().nullish(),
  end_time: z.string().nullish(),
})
/** A call as Telnyx has it. */
export type CarriedCall = z.output<typeof Status>

const Called = z.object({ data: z.object({ call_control_id: z.string(), call_leg_id: z.string() }) })
const Known = z.object({ data: Status })
const page = <T extends z.ZodType>(item: T) =>
  z.object({ data: z.array(item), meta: z.object({ total_pages: z.number() }).optional() })
const Active = page(z.object({ call_control_id: z.string(), client_state: z.string().nullish() }))
const Numbers = page(z.object({ phone_number: z.string(), status: z.string().optional() }))
const Events = page(
  z.object({
    name: z.string(),
    type: z.string().optional(),
    event_timestamp: z.string(),
    metadata: z.unknown().optional(),
  }),
)
/** Something that became of a call, as the webhook told that was sent of it. */
export type CallEvent = z.output<typeof Events>['data'][number]

/** The largest page that Telnyx has. */
const PAGE = 250
/** So many pages are looked through for one call: an account has fewer calls at once. */
const MOST_PAGES = 20

export type Dialled = {
  /** The id of the call here, under which Telnyx dials but once. */
  id: string
  to: string
  from: string
  /** Where its sound goes to and comes from. */
  stream_url: string
  ring_seconds: number
  max_seconds: number
  webhook_url?: string | undefined
}

/** `client_state` of a call: its id in base64, which every webhook of it brings back. */
export const stateOf = (callId: string): string => btoa(callId)

/** Has a number dialled. The same call twice is dialled once (`command_id`). */
export async function dial(telnyx: Asking, call: Dialled) {
  const json = {
    ...{ connection_id: connectionOf(telnyx.account), to: call.to, from: call.from },
    ...{ stream_url: call.stream_url, stream_track: 'inbound_track' },
    // As Ultravox speaks and hears: 16 kHz both ways (docs.ultravox.ai/telephony/outbound-calls).
    ...{ stream_codec: 'L16', stream_bidirectional_mode: 'rtp', stream_bidirectional_codec: 'L16' },
    ...{ stream_bidirectional_sampling_rate: 16_000, stream_bidirectional_target_legs: 'self' },
    send_silence_when_idle: true,
    ...{ client_state: stateOf(call.id), command_id: call.id },
    ...{ timeout_secs: call.ring_seconds, time_limit_secs: call.max_seconds },
    ...(call.webhook_url === undefined ? {} : { webhook_url: call.webhook_url }),
  }
  const { data } = await answerOf(telnyx, post(telnyx, '/v2/calls', json), Called)
  return data
}

/** How a call stands; null where it is not known (any more). */
export async function statusOf(telnyx: Asking, id: string): Promise<CarriedCall | null> {
  const path = `/v2/calls/${encodeURIComponent(id)}`
  return (await answerIfAny(telnyx, get(telnyx, path), Known))?.data ?? null
}

/** Hangs up, which is harmless where the call has ended; false where it is not known. */
export async function hangUp(telnyx: Asking, id: string): Promise<boolean> {
  const path = `/v2/calls/${encodeURIComponent(id)}/actions/hangup`
  const { status } = await answerTo(telnyx, { ...post(telnyx, path, {}), meant: [404, 422] })
  // 422 says that it has ended, and other things besides.
  if (status !== 422 || !(await statusOf(telnyx, id))?.is_alive) return status !== 404
  throw problem('provider_failed', 'Telnyx refused to hang up a call that goes on', {
    details: { provider: telnyx.account.name, status, said: null },
  })
}

/** What a call that goes on is called by Telnyx, found by its id here; null where none does. */
export async function activeCall(telnyx: Asking, callId: string): Promise<string | null> {
  const path = `/v2/connections/${encodeURIComponent(connectionOf(telnyx.account))}/active_calls`
  const state = stateOf(callId)
  for (let number = 1; number <= MOST_PAGES; number++) {
    const { data, meta } = await answerOf(telnyx, get(telnyx, `${path}?${paged(number)}`), Active)
    const found = data.find(({ client_state }) => client_state === state)
    if (found) return found.call_control_id
    if (number >= (meta?.total_pages ?? 1)) return null
  }
  return null
}

/** What became of calls to a number since then, by what Telnyx told of them. */
export async function eventsTo(telnyx: Asking, to: string, since: string): Promise<CallEvent[]> {
  const filter = { 'filter[to]': to, 'filter[occurred_at][gte]': since, 'filter[type]': 'webhook' }
  return (await answerOf(telnyx, get(telnyx, `/v2/call_events?${paged(1, filter)}`), Events)).data
}

/** What became of a call, by what Telnyx told of it. */
export async function eventsOf(telnyx: Asking, legId: string): Promise<CallEvent[]> {
  const filter = { 'filter[leg_id]': legId, 'filter[type]': 'webhook' }
  return (await answerOf(telnyx, get(telnyx, `/v2/call_events?${paged(1, filter)}`), Events)).data
}

/** The account’s numbers that can call; of them those that have these digits in them, where they are given. */
export async function activeNumbers(telnyx: Asking, digits?: string): Promise<string[]> {
  const filter = { 'filter[status]': 'active', ...(digits ? { 'filter[phone_number]': digits } : {}) }
  const { data } = await answerOf(telnyx, get(telnyx, `/v2/phone_numbers?${paged(1, filter)}`), Numbers)
  return data.map(({ phone_number }) => phone_number)
}

const paged = (number: number, filter: Record<string, string> = {}) =>
  new URLSearchParams({ ...filter, 'page[number]': `${number}`, 'page[size]': `${PAGE}` })

const get = ({ account }: Asking, path: string) => ({
  path,
  headers: { Authorization: `Bearer ${account.api_key}` },
})
const post = (telnyx: Asking, path: string, json: unknown) => ({
  ...get(telnyx, path),
  method: 'POST' as const,
  json,
})

/** The Call Control application through which an account calls. */
function connectionOf({ options }: Provider): string {
  const id = options.connection_id
  if (id !== undefined && id !== '') return id
  throw problem(
    'provider_not_configured',
    'The Telnyx account has no connection_id: the id of its Call Control application',
    { details: { kind: 'telnyx', option: 'connection_id' } },
  )
}

import { Buffer } from 'node:buffer'
import { randomUUID } from 'node:crypto'
import { type Answer, type Asked, answer, scripted } from './scripted'

// Telnyx's API v2 as its documentation tells it (developers.telnyx.com/api-reference), so far as calls are placed by it:
// /telnyx/{name}/v2/…. Its own client, pointed here, is the independent word on that (test/voice/telnyx). A call rings until
// PUT /telnyx/{name}/control/calls/{call_control_id} says `{"event": "call.answered" | "call.hangup", …}`, which answers with
// the webhook that Telnyx would send. Keys other than those that begin with KEY are refused.

type Call = {
  call_control_id: string
  call_leg_id: string
  call_session_id: string
  client_state?: string
  connection_id: string
  from: string
  to: string
  stream_url?: string
  start_time: string
  answered_at?: string
  end_time?: string
  events: {
    name: string
    event_timestamp: string
    type: 'command' | 'webhook'
    metadata: Record<string, unknown>
  }[]
}

type State = {
  calls: Call[]
  commands: Map<string, unknown>
  numbers: { phone_number: string; connection_id: string; status: string }[]
}

/** What the dial command takes (api-reference/call-commands/dial); other fields are refused, as Telnyx does. */
const DIAL = new Set(
  `to from connection_id stream_url stream_track stream_codec stream_bidirectional_mode stream_bidirectional_codec
   stream_bidirectional_sampling_rate stream_bidirectional_target_legs client_state command_id timeout_secs
   time_limit_secs webhook_url webhook_url_method answering_machine_detection retry_on_timeout send_silence_when_idle`.split(
    /\s+/,
  ),
)
const E164 = /^\+[1-9]\d{6,14}$/
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/
/** Those of the operator's other applications, and of what was bought for none. */
const PAGE = 250

const refused = (status: number, code: string, title: string, detail: string, pointer?: string): Answer =>
  answer(status, { errors: [{ code, title, detail, ...(pointer ? { source: { pointer } } : {}) }] })

export const telnyx = scripted<State>(
  () => ({ calls: [], commands: new Map(), numbers: [] }),
  (state, asked) => {
    if (!/^Bearer KEY[\w-]+$/.test(asked.headers.authorization ?? ''))
      return refused(
        401,
        '10009',
        'Authentication failed',
        'Could not find any usable credentials in the request.',
      )
    const route = `${asked.method} ${asked.path}`
    if (route === 'POST /v2/calls') return dialled(state, asked)
    if (route === 'GET /v2/phone_numbers') return listed(numbersOf(state, asked), asked)
    if (route === 'GET /v2/call_events') return listed(eventsOf(state, asked), asked)
    const active = /^GET \/v2\/connections\/([^/]+)\/active_calls$/.exec(route)?.[1]
    if (active) return listed(activeCalls(state, active), asked)
    const [, action] = /^(GET|POST) \/v2\/calls\/[^/]+(?:\/actions\/hangup)?$/.exec(route) ?? []
    const call = state.calls.find(
      ({ call_control_id }) => call_control_id === decodeURIComponent(asked.path.split('/')[3] ?? ''),
    )
    if (!action || !call)
      return refused(404, '10005', 'Resource not found', 'The requested resource or URL could not be found.')
    return action === 'GET' ? answer(200, { data: statusOf(call) }) : hungUp(state, call, asked)
  },
  (state, path, body) => {
    if (path === '/numbers') return void state.numbers.push(...(body as State['numbers']))
    if (path === '/calls') return state.calls
    const call = state.calls.find((one) => path === `/calls/${encodeURIComponent(one.call_control_id)}`)
    return call && happened(call, body as { event: string } & Record<string, unknown>)
  },
)

function dialled(state: State, { body }: Asked): Answer {
  const given = (body ?? {}) as Record<string, unknown>
  const wrong = wrongIn(given)
  if (wrong)
    return refused(
      422,
      '10015',
      'Bad Request',
      `The parameter ${wrong} is invalid. Consult the documentation.`,
      `/${wrong}`,
    )
  const command = given.command_id as string | undefined
  const known = command === undefined ? undefined : state.commands.get(command)
  if (known) return answer(200, known)
  const call: Call = {
    call_control_id: `v3:${randomUUID().replaceAll('-', '')}`,
    ...{ call_leg_id: randomUUID(), call_session_id: randomUUID() },
    ...(given as Pick<Call, 'client_state' | 'connection_id' | 'from' | 'to' | 'stream_url'>),
    ...{ start_time: new Date().toISOString(), events: [] },
  }
  state.calls.push(call)
  happened(call, { event: 'call.initiated', state: 'bridging', direction: 'outgoing' })
  const made = { data: { ...statusOf(call), is_alive: false } }
  if (command !== undefined) state.commands.set(command, made)
  return answer(200, made)
}

function wrongIn(given: Record<string, unknown>): string | undefined {
  const unknown = Object.keys(given).find((name) => !DIAL.has(name))
  if (unknown) return unknown
  const number = (name: string, from: number, to: number) =>
    given[name] === undefined ||
    (Number.isInteger(given[name]) && Number(given[name]) >= from && Number(given[name]) <= to)
  const checks: [string, boolean][] = [
    ['to', E164.test(String(given.to))],
    ['from', E164.test(String(given.from))],
    ['connection_id', typeof given.connection_id === 'string' && /^\d+$/.test(given.connection_id)],
    ['client_state', given.client_state === undefined || BASE64.test(String(given.client_state))],
    ['stream_url', given.stream_url === undefined || /^wss?:\/\//.test(String(given.stream_url))],
    [
      'stream_track',
      [undefined, 'inbound_track', 'outbound_track', 'both_tracks'].includes(given.stream_track as string),
    ],
    [
      'stream_bidirectional_mode',
      [undefined, 'mp3', 'rtp'].includes(given.stream_bidirectional_mode as string),
    ],
    [
      'stream_bidirectional_sampling_rate',
      [undefined, 8000, 16000, 22050, 24000, 48000].includes(
        given.stream_bidirectional_sampling_rate as number,
      ),
    ],
    ['timeout_secs', number('timeout_secs', 5, 600)],
    ['time_limit_secs', number('time_limit_secs', 30, 14400)],
  ]
  return checks.find(([, isRight]) => !isRight)?.[0]
}

function statusOf(call: Call) {
  const { call_control_id, call_leg_id, call_session_id, client_state, start_time, end_time } = call
  const duration = call.answered_at
    ? (Date.parse(end_time ?? new Date().toISOString()) - Date.parse(call.answered_at)) / 1000
    : 0
  return {
    ...{ record_type: 'call', call_control_id, call_leg_id, call_session_id, client_state, start_time },
    ...{ is_alive: end_time === undefined, call_duration: Math.round(duration) },
    ...(end_time ? { end_time } : {}),
  }
}

function hungUp(state: State, call: Call, { body }: Asked): Answer {
  const command = (body as { command_id?: string } | undefined)?.command_id
  const known = command === undefined ? undefined : state.commands.get(`${call.call_control_id} ${command}`)
  if (known) return answer(200, known)
  if (call.end_time)
    return refused(
      422,
      '90018',
      'Call has already ended',
      'This call is no longer active and can’t receive commands.',
    )
  happened(call, {
    event: 'call.hangup',
    hangup_cause: call.answered_at ? 'normal_clearing' : 'originator_cancel',
    hangup_source: 'caller',
  })
  const done = { data: { result: 'ok' } }
  if (command !== undefined) state.commands.set(`${call.call_control_id} ${command}`, done)
  return answer(200, done)
}

/** Something becomes of a call: answers with the webhook that tells of it (“Receiving webhooks”). */
function happened(
  call: Call,
  {
    event,
    occurred_at = new Date().toISOString(),
    ...said
  }: { event: string; occurred_at?: string } & Record<string, unknown>,
) {
  if (event === 'call.answered') call.answered_at ??= occurred_at
  if (event === 'call.hangup') call.end_time ??= occurred_at
  const { call_control_id, call_leg_id, call_session_id, client_state, connection_id, from, to, start_time } =
    call
  const state = event === 'call.answered' ? 'answered' : event === 'call.hangup' ? 'hangup' : undefined
  const payload = {
    ...{
      call_control_id,
      call_leg_id,
      call_session_id,
      client_state: client_state ?? null,
      connection_id,
      from,
      to,
      start_time,
    },
    ...(state ? { state } : {}),
    ...said,
  }
  const data = { record_type: 'event', event_type: event, id: randomUUID(), occurred_at, payload }
  call.events.push({ name: event, event_timestamp: occurred_at, type: 'webhook', metadata: { ...data } })
  return { data, meta: { attempt: 1, delivered_to: 'https://example.com/webhooks/telnyx' } }
}

function eventsOf(state: State, { query }: Asked) {
  const leg = query['filter[leg_id]']
  const to = query['filter[to]']
  const name = query['filter[name]']
  const since = query['filter[occurred_at][gte]']
  return state.calls
    .filter((call) => (leg === undefined || call.call_leg_id === leg) && (to === undefined || call.to === to))
    .flatMap(({ call_leg_id, call_session_id, events }) =>
      events.map((event) => ({ record_type: 'call_event', call_leg_id, call_session_id, ...event })),
    )
    .filter(
      (event) =>
        (name === undefined || event.name === name) &&
        (since === undefined || event.event_timestamp >= since),
    )
}

const activeCalls = (state: State, connection: string) =>
  state.calls
    .filter(({ connection_id, end_time }) => connection_id === connection && end_time === undefined)
    .map((call) => {
      const { record_type, call_control_id, call_leg_id, call_session_id, client_state, call_duration } =
        statusOf(call)
      return { record_type, call_control_id, call_leg_id, call_session_id, client_state, call_duration }
    })

function numbersOf(state: State, { query }: Asked) {
  const digits = query['filter[phone_number]']?.replace(/\D/g, '')
  return state.numbers
    .filter(
      ({ phone_number, status }) =>
        phone_number.includes(digits ?? '') && status === (query['filter[status]'] ?? status),
    )
    .map((number) => ({
      record_type: 'phone_number',
      id: Buffer.from(number.phone_number).toString('hex'),
      ...number,
    }))
}

function listed(all: unknown[], { query }: Asked): Answer {
  const number = Number(query['page[number]'] ?? 1)
  const size = Number(query['page[size]'] ?? 20)
  if (size > PAGE) return refused(400, '10015', 'Invalid page', `page[size] must be at most ${PAGE}`)
  const data = all.slice((number - 1) * size, number * size)
  const meta = {
    page_number: number,
    page_size: size,
    total_pages: Math.max(1, Math.ceil(all.length / size)),
    total_results: all.length,
  }
  return answer(200, { data, meta })
}

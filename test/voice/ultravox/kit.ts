import { env } from 'cloudflare:workers'
import type { Fault } from '../../receiver/scripted'
import { ofTelnyx, ofUltravox, outcome, post } from '../../webhooks/incoming/kit'
import { eventually } from '../../webhooks/receiver'
import { callJson, makeWorld, type World } from '../../world'
import { credit, drive, rowOf } from '../calls/kit'

// A tenant with accounts of its own at servers of both protocols (test/receiver), which are this test’s alone.

export type Asked = {
  method: string
  path: string
  query: Record<string, string>
  headers: Record<string, string>
  body: Record<string, unknown>
}
export type Json = Record<string, unknown>

export type Voice = { world: World; name: string; agent: string }

export const FROM = '+15550100001'
export const TO = '+4915112345678'

const at = (server: 'telnyx' | 'ultravox', name: string) => `${env.RECEIVER_URL}/${server}/${name}`

async function put<T>(server: 'telnyx' | 'ultravox', name: string, path: string, body: unknown): Promise<T> {
  const response = await fetch(`${at(server, name)}${path}`, { method: 'PUT', body: JSON.stringify(body) })
  return response.json<T>()
}

/** How a server fails next. */
export const failing = ({ name }: Pick<Voice, 'name'>, server: 'telnyx' | 'ultravox', ...faults: Fault[]) =>
  put(server, name, '/faults', faults)

/** What a server was asked, in order; those whose method and path begin like this. */
export async function askedOf({ name }: Pick<Voice, 'name'>, server: 'telnyx' | 'ultravox', like = '') {
  const all = await (await fetch(`${at(server, name)}/asked`)).json<Asked[]>()
  return all.filter(({ method, path }) => `${method} ${path}`.startsWith(like))
}

/** A tenant with credit, both accounts, a number, and an agent that Ultravox has. */
export async function makeVoice(agent: Json = {}, numbers = [FROM]): Promise<Voice> {
  const world = await makeWorld()
  const name = world.tenant.id
  await credit(world, 10_000)
  const account = (kind: string, api_key: string, options = {}) =>
    callJson('PATCH', `/api/v1/auth/providers/${kind}`, {
      token: world.admin.token,
      body: { api_key, base_url: at(kind as 'telnyx', name), options },
    })
  for (const made of [
    await account('ultravox', 'uv_of_the_tests'),
    await account('telnyx', 'KEY_of_the_tests', { connection_id: '1494404757140276705' }),
  ])
    if (made.status !== 200) throw new Error(`provider: ${made.status} ${made.error?.message}`)
  await put(
    'telnyx',
    name,
    '/control/numbers',
    numbers.map((phone_number) => ({ phone_number, connection_id: '1', status: 'active' })),
  )
  const id = await makeUltravoxAgent(world, agent)
  return { world, name, agent: id }
}

export async function makeUltravoxAgent(world: World, fields: Json = {}): Promise<string> {
  const made = await callJson<{ id: string }>('POST', '/api/v1/agents', {
    token: world.admin.token,
    body: { name: 'Caller', kind: 'ultravox', system_prompt: 'You are kind.', greeting: 'Hello!', ...fields },
  })
  if (made.status !== 201) throw new Error(`agent: ${made.status} ${JSON.stringify(made.error)}`)
  await eventually(async () => {
    const { data } = await readAgent(world, made.data.id)
    return data.sync_status === 'pending' && data.sync_error === null ? null : data
  })
  return made.data.id
}

export const readAgent = (world: World, id: string) =>
  callJson<{ sync_status: string; sync_error: string | null; provider_agent_id: string | null }>(
    'GET',
    `/api/v1/agents/${id}`,
    {
      token: world.admin.token,
    },
  )

export const callOut = ({ world, agent }: Voice, body: Json = {}) =>
  callJson<{ id: string; status: string; from: string; provider: string }>('POST', '/api/v1/calls', {
    token: world.admin.token,
    body: { agent_id: agent, to: TO, ...body },
  })

/** Has a call placed, and waits until its provider has it. */
export async function placedCall(voice: Voice, body: Json = {}) {
  const made = await callOut(voice, body)
  if (made.status !== 201) throw new Error(`call: ${made.status} ${JSON.stringify(made.error)}`)
  const row = await eventually(async () => {
    const row = await rowOf(made.data.id)
    return row?.carrier_call_id ? row : null
  })
  // Nothing becomes of a call before it was asked for: what these tests tell of it was some minutes ago.
  const earlier = new Date(Date.now() - 600_000).toISOString()
  await env.DB.prepare('update calls set created_at = ? where id = ?').bind(earlier, row.id).run()
  return { ...row, created_at: earlier }
}

export type Row = NonNullable<Awaited<ReturnType<typeof rowOf>>>

/** Something becomes of a call at Telnyx, which answers with the webhook that tells of it. */
export const atTelnyx = ({ name }: Voice, call: Pick<Row, 'carrier_call_id'>, event: Json) =>
  put<{ data: Json }>(
    'telnyx',
    name,
    `/control/calls/${encodeURIComponent(call.carrier_call_id ?? '')}`,
    event,
  )

/** The same at Ultravox, which answers with the call. */
export const atUltravox = ({ name }: Voice, call: Pick<Row, 'provider_call_id'>, fields: Json) =>
  put<Json>('ultravox', name, `/control/calls/${call.provider_call_id}`, fields)

export const telnyxTells = (webhook: unknown) => outcome(post('telnyx', ofTelnyx(webhook)))
export const ultravoxTells = (event: string, call: Json) =>
  outcome(post('ultravox', ofUltravox({ event, call })))

/** Looks at what is due as if so much time passed before each look, until the call is as it should. */
export async function until(
  voice: Voice,
  id: string,
  isSo: (row: Row) => boolean,
  step = 31_000,
): Promise<Row> {
  let ahead = 0
  return eventually(async () => {
    ahead += step
    await drive(voice.world, Date.now() + ahead)
    const row = await rowOf(id)
    return row && isSo(row) ? row : null
  })
}

/** Waits for what the service does by itself. */
export const becomes = (id: string, isSo: (row: Row) => boolean): Promise<Row> =>
  eventually(async () => {
    const row = await rowOf(id)
    return row && isSo(row) ? row : null
  })

export const message = (role: string, text: string, start: number, end: number): Json => ({
  ...{ role: `MESSAGE_ROLE_${role}`, text, medium: 'MESSAGE_MEDIUM_VOICE' },
  ...{
    timespan: { start: `${start}s`, end: `${end}s` },
    wallClockTimespan: { start: `${start}s`, end: `${end}s` },
  },
})

import { env } from 'cloudflare:workers'
import { expect } from 'vitest'
import { PROBLEMS, type ProblemCode } from '../../../src/lib/problem'
import { eventually } from '../../webhooks/receiver'
import { callJson, makeWorld, type World } from '../../world'
import { credit, makeAgent } from '../calls/kit'

export type Counts = Record<'total' | 'pending' | 'calling' | 'completed' | 'no_answer' | 'failed', number>
export type Seen = {
  id: string
  name: string
  agent_id: string
  from: string | null
  status: string
  paused_reason: string | null
  schedule: Record<string, unknown> | null
  job_id: string | null
  contacts: Counts
  started_at: string | null
  completed_at: string | null
  updated_at: string
}
export type Contact = {
  id: string
  phone: string
  name: string | null
  timezone: string | null
  metadata: Record<string, unknown>
  status: string
  attempts: number
  call_id: string | null
  ended_reason: string | null
  next_at: string | null
}
export type Imported = {
  lines: number
  created: number
  merged: number
  failed: number
  errors: { line: number; phone: string | null; fields: Record<string, string> }[]
}

/** That an answer is the refusal of that code; answers with its error. */
export function expectRefused(
  { status, error }: Pick<Awaited<ReturnType<typeof callJson>>, 'status' | 'error'>,
  code: ProblemCode,
) {
  expect([status, error?.code]).toEqual([PROBLEMS[code].status, code])
  return error
}

/** A tenant with credit and an agent. */
export async function makeCaller(credits = 100_000): Promise<{ world: World; agent: string }> {
  const world = await makeWorld()
  if (credits > 0) await credit(world, credits)
  return { world, agent: await makeAgent(world, { greeting: 'Hello {{name}}' }) }
}

export const post = <T = Seen>(world: World, path: string, body?: unknown, headers = {}) =>
  callJson<T>('POST', `/api/v1/campaigns${path}`, { token: world.developer.token, body, headers })

export async function makeCampaign(world: World, agent_id: string, more = {}): Promise<string> {
  const made = await post(world, '', { name: 'Renewals', agent_id, ...more })
  if (made.status !== 201) throw new Error(`campaign: ${made.status} ${JSON.stringify(made.error)}`)
  return made.data.id
}

export const sendCsv = (world: World, id: string, text: string | Uint8Array<ArrayBuffer>, headers = {}) =>
  callJson<Imported>('POST', `/api/v1/campaigns/${id}/contacts`, {
    token: world.developer.token,
    raw: text,
    headers: { 'Content-Type': 'text/csv', ...headers },
  })

export const read = async (world: World, id: string): Promise<Seen> =>
  (await callJson<Seen>('GET', `/api/v1/campaigns/${id}`, { token: world.viewer.token })).data

export async function contactsOf(world: World, id: string, query = ''): Promise<Contact[]> {
  const path = `/api/v1/campaigns/${id}/contacts?limit=100${query}`
  const page = await callJson<Contact[]>('GET', path, { token: world.viewer.token })
  if (page.status !== 200) throw new Error(JSON.stringify(page.error))
  return page.data
}

export const ALWAYS = { from: '00:00', to: '24:00' }

/** A schedule that starts at once, at whatever hour. */
export const atOnce = (more = {}) => ({
  ...{ start_at: new Date().toISOString(), timezone: 'UTC', calling_hours: ALWAYS, calls_per_minute: 6_000 },
  ...more,
})

/** The campaign once it is as `is` wants it. */
export const until = (world: World, id: string, is: (seen: Seen) => boolean, patience = 20_000) =>
  eventually(async () => {
    const seen = await read(world, id)
    return is(seen) ? seen : null
  }, patience)

export async function callsOf(world: World, id: string) {
  const { results } = await env.DB.prepare(
    'select id, "to", contact_id, status, metadata, created_at from calls where tenant_id = ? and campaign_id = ? order by id',
  )
    .bind(world.tenant.id, id)
    .all<{
      id: string
      to: string
      contact_id: string
      status: string
      metadata: string
      created_at: string
    }>()
  return results
}

export const number = (i: number) => `+1415555${String(i).padStart(4, '0')}`
export const csv = (numbers: string[]) => `phone\n${numbers.join('\n')}`

/** A campaign that has begun to call these numbers. */
export async function started(
  numbers: string[],
  { schedule = {}, credits = 100_000 }: { schedule?: object; credits?: number } = {},
) {
  const { world, agent } = await makeCaller(credits)
  const id = await makeCampaign(world, agent)
  await sendCsv(world, id, csv(numbers))
  const { status, data, error } = await post(world, `/${id}/schedule`, atOnce(schedule))
  expect([status, error]).toEqual([200, undefined])
  return { world, agent, id, job: data.job_id ?? '', from: Date.parse(data.updated_at) }
}

/** The events of its campaigns, in their order. */
export async function eventsOf(tenantId: string) {
  const { results } = await env.DB.prepare(
    "select type, data from events where tenant_id = ? and type like 'campaign.%' order by seq",
  )
    .bind(tenantId)
    .all<{ type: string; data: string }>()
  return results.map(({ type, data }) => ({ type, ...JSON.parse(data) }))
}

export const completed = (seen: { status: string }) => seen.status === 'completed'

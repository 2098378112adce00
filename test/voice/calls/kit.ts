import { env } from 'cloudflare:workers'
import { commit } from '../../../src/data/commit'
import type { Context } from '../../../src/data/context'
import { bareTenant, systemContext } from '../../../src/data/system'
import { booked } from '../../../src/domains/billing/ledger'
import { driveCalls } from '../../../src/domains/voice/calls/drive'
import { type NewCall, placedCalls } from '../../../src/domains/voice/calls/place'
import { type CallProvider, callProvider } from '../../../src/domains/voice/calls/port'
import { simulated } from '../../../src/domains/voice/calls/simulated'
import type { CallRow } from '../../../src/domains/voice/calls/table'
import type { Bindings } from '../../../src/env'
import { callJson, type World } from '../../world'

const bindings = env as unknown as Bindings

/** A context of the tenant as the driver has it, at `now`; what it defers is awaited by `settled`. */
export function drivenAt(world: World, now: number, settings: Partial<Context['settings']> = {}): Context {
  const ctx = systemContext(
    bindings,
    bareTenant(world.tenant.id),
    'calls',
    (work) => void deferred.push(work),
  )
  return { ...ctx, now, settings: { ...ctx.settings, ...settings } }
}

const deferred: Promise<unknown>[] = []

/** Gives the tenant credit. */
export const credit = (world: World, amount: number) =>
  commit(world.ctx, { statements: booked(world.ctx, { kind: 'grant', amount }), result: undefined })

export async function makeAgent(world: World, fields: object = {}): Promise<string> {
  const made = await callJson<{ id: string }>('POST', '/api/v1/agents', {
    ...{ token: world.admin.token, body: { name: 'Caller', kind: 'echo', ...fields } },
  })
  if (made.status !== 201) throw new Error(`agent: ${made.status} ${made.error?.message}`)
  return made.data.id
}

/** Places calls that nobody drives but the test. */
export async function place(
  world: World,
  asked: (Pick<NewCall, 'agent_id'> & Partial<NewCall>)[],
  {
    provider = simulated,
    ctx = drivenAt(world, Date.now()),
  }: { provider?: CallProvider; ctx?: Context } = {},
): Promise<CallRow[]> {
  const all = asked.map((one) => ({ to: '+14155550123', from: '+15550100000', ...one }))
  const { rows, statements, events } = placedCalls(ctx, provider, all)
  await commit(ctx, { statements, events, result: undefined })
  return rows
}

/** Does what is due at `now`, as the driver would. */
export async function drive(world: World, now: number, settings: Partial<Context['settings']> = {}) {
  const next = await driveCalls(drivenAt(world, now, settings))
  await Promise.all(deferred.splice(0))
  return next
}

/** Drives by a clock of its own until nothing is due; answers with when that was. */
export async function driveToEnd(world: World, from: number): Promise<number> {
  let now = from
  for (let looks = 0; looks < 200; looks++) {
    const next = await drive(world, now)
    if (next === null) return now
    now = Math.max(next, now)
  }
  throw new Error('the calls go on for ever')
}

export const rowOf = (id: string) =>
  env.DB.prepare('select * from calls where id = ?').bind(id).first<CallRow & { metadata: string }>()

export async function ledgerOf(world: World) {
  const { results } = await env.DB.prepare(
    'select kind, amount, balance_after, reference from credit_transactions where tenant_id = ? order by seq',
  )
    .bind(world.tenant.id)
    .all<{ kind: string; amount: number; balance_after: number; reference: string | null }>()
  return results
}

export async function eventsOf(world: World, like = 'call.%') {
  const { results } = await env.DB.prepare(
    'select type, data from events where tenant_id = ? and type like ? order by seq',
  )
    .bind(world.tenant.id, like)
    .all<{ type: string; data: string }>()
  return results.map(({ type, data }) => ({ type, data: JSON.parse(data) as Record<string, unknown> }))
}

/** A provider of the test's own. */
export function providerOf(name: string, own: Partial<CallProvider>): CallProvider {
  const provider: CallProvider = {
    ...{ name, serves: async () => null, callerNumber: async () => '+15550100000' },
    start: async (_, call) => ({ provider_call_id: `${name}-${call.id}`, references: [] }),
    find: async () => null,
    look: async () => ({}),
    end: async () => {},
    recording: async () => 'none',
    ...own,
  }
  callProvider(provider)
  return provider
}

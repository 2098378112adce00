import { env } from 'cloudflare:workers'
import { and, eq, sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { commit } from '../../../src/data/commit'
import { find } from '../../../src/data/revise'
import { applied } from '../../../src/domains/voice/calls/change'
import type { CallReport } from '../../../src/domains/voice/calls/port'
import { calls } from '../../../src/domains/voice/calls/table'
import { type Heard, OVERTAKEN, onIncoming } from '../../../src/domains/webhooks/incoming/heard'
import { referenceStatement } from '../../../src/domains/webhooks/incoming/references'
import { ofTelnyx, outcome, post, recordsOf } from '../../webhooks/incoming/kit'
import { makeWorld, type World } from '../../world'
import { credit, drive, eventsOf, ledgerOf, makeAgent, place, providerOf, rowOf } from './kit'

// What a provider's webhook means is written with its record: here by a handler of the test's own, that hears of calls.

type Told = { report?: CallReport; fails?: boolean; overtaken?: number }

const told = new Map<string, Told>()
let asked = 0

const idIn = ({ value }: Heard) =>
  (value as { data?: { payload?: { call_control_id?: string } } }).data?.payload?.call_control_id ?? ''

onIncoming('telnyx', async (ctx, heard) => {
  const said = told.get(heard.key)
  const call = said && (await find(ctx, calls, idIn(heard)))
  if (!said || !call) return null
  asked += 1
  const change = said.report ? await applied(ctx, call, said.report) : {}
  const never = ctx.db
    .update(calls)
    .set({ turns: 0 })
    .where(and(eq(calls.tenant_id, ctx.tenant.id), eq(calls.id, call.id), sql`false`))
  if (said.overtaken && said.overtaken >= asked)
    return { statements: [{ statement: never, otherwise: OVERTAKEN }] }
  if (said.fails) return { statements: [ctx.db.insert(calls).values(call)] }
  return change
})

describe('a provider’s webhook about a call', () => {
  let world: World
  let agent: string
  beforeAll(async () => {
    world = await makeWorld()
    await credit(world, 10_000)
    agent = await makeAgent(world)
  })

  const iso = (ms: number) => new Date(ms).toISOString()
  const provider = () => providerOf(`heard-${world.tenant.id}`, {})

  async function one() {
    const [call] = await place(world, [{ agent_id: agent }], { provider: provider() })
    const id = call?.id ?? ''
    const placed = Date.parse(call?.created_at ?? '')
    await drive(world, placed)
    const statements = [referenceStatement(world.ctx, 'telnyx', id)]
    await commit(world.ctx, { statements, result: undefined })
    return { id, placed }
  }

  function tell(id: string, said: Told, key: string = crypto.randomUUID()) {
    told.set(key, said)
    asked = 0
    const data = { id: key, event_type: 'call.told', payload: { call_control_id: id } }
    return outcome(post('telnyx', ofTelnyx({ data })))
  }

  it('moves it on in the batch that takes it in, once, however often it comes', async () => {
    const { id, placed } = await one()
    const key = crypto.randomUUID()
    const report: CallReport = { status: 'in_progress', started_at: iso(placed) }
    for (const duplicate of [false, true, true])
      expect((await tell(id, { report }, key)).data).toMatchObject({ duplicate })
    expect(await rowOf(id)).toMatchObject({ status: 'in_progress', started_at: iso(placed) })
    expect((await eventsOf(world, 'call.started')).filter(({ data }) => data.call_id === id)).toHaveLength(1)
    // Another webhook says the same.
    await tell(id, { report })
    expect((await eventsOf(world, 'call.started')).filter(({ data }) => data.call_id === id)).toHaveLength(1)
  })

  it('is taken in as a whole or not at all', async () => {
    const { id } = await one()
    const key = crypto.randomUUID()
    const failed = await tell(id, { fails: true }, key)
    expect(failed.status).toBeGreaterThanOrEqual(400)
    expect(await recordsOf(world.tenant.id, 'telnyx', key)).toEqual([])
    // So its sender's next try is the first.
    expect((await tell(id, { report: { status: 'no_answer' } }, key)).data).toMatchObject({
      duplicate: false,
    })
    expect(await rowOf(id)).toMatchObject({ status: 'no_answer' })
  })

  it('is decided anew where what it is about changed meanwhile, and given up after some tries', async () => {
    const { id } = await one()
    expect((await tell(id, { overtaken: 2, report: { status: 'no_answer' } })).status).toBe(200)
    expect(asked).toBe(3)
    expect(await rowOf(id)).toMatchObject({ status: 'no_answer' })
    const key = crypto.randomUUID()
    const never = await tell(id, { overtaken: 100 }, key)
    expect([never.status, asked]).toEqual([409, 5])
    expect(await recordsOf(world.tenant.id, 'telnyx', key)).toEqual([])
  })

  it('twelve at once and the driver end it once, in one order or another', async () => {
    const { id, placed } = await one()
    await tell(id, { report: { status: 'in_progress', started_at: iso(placed) } })
    const ended_at = iso(placed + 1_000)
    const said = Array.from({ length: 12 }, (_, n) =>
      tell(id, { report: { status: n % 2 === 0 ? 'completed' : 'failed', ended_at } }),
    )
    await Promise.all([...said, drive(world, placed + 31_000), drive(world, placed + 31_000)])
    const row = await rowOf(id)
    expect(['completed', 'failed']).toContain(row?.status)
    expect((await eventsOf(world, 'call.ended')).filter(({ data }) => data.call_id === id)).toHaveLength(1)
    const rows = (await ledgerOf(world)).filter(({ reference }) => reference === `call:${id}`)
    expect(rows.map(({ kind }) => kind)).toEqual(['reserve', 'release', 'spend'])
    expect(row).toMatchObject({ reserved: 0 })
  })

  it('of another tenant’s call is nothing to this one', async () => {
    const { id } = await one()
    const other = await makeWorld()
    const reference = crypto.randomUUID()
    await commit(other.ctx, {
      statements: [referenceStatement(other.ctx, 'telnyx', reference)],
      result: undefined,
    })
    const key = crypto.randomUUID()
    told.set(key, { report: { status: 'completed' } })
    // It names this tenant's call, and is that tenant's by the id that was stored.
    const payload = { call_control_id: id, call_session_id: reference }
    await env.DB.prepare('delete from provider_references where reference = ?').bind(id).run()
    const data = { id: key, event_type: 'call.told', payload }
    expect((await outcome(post('telnyx', ofTelnyx({ data })))).status).toBe(200)
    expect(await rowOf(id)).toMatchObject({ status: 'ringing' })
  })
})

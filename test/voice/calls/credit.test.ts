import { beforeEach, describe, expect, it } from 'vitest'
import { commit } from '../../../src/data/commit'
import { booked } from '../../../src/domains/billing/ledger'
import { holdOfEach } from '../../../src/domains/voice/calls/place'
import type { CallReport } from '../../../src/domains/voice/calls/port'
import { callJson, makeWorld, type World } from '../../world'
import { credit, drive, drivenAt, driveToEnd, ledgerOf, makeAgent, place, providerOf, rowOf } from './kit'

// What calls cost: ten credits a minute in tests, by the second.

describe('the credit of a call', () => {
  let world: World
  let agent: string
  let report: CallReport
  beforeEach(async () => {
    world = await makeWorld()
    agent = await makeAgent(world)
    report = {}
  })

  const iso = (ms: number) => new Date(ms).toISOString()
  const provider = () => providerOf(`credit-${world.tenant.id}`, { look: async () => report })
  /** One that was answered a second after it was placed. */
  async function talking(fields: object = {}) {
    const [call] = await place(world, [{ agent_id: agent, ...fields }], { provider: provider() })
    const placed = Date.parse(call?.created_at ?? '')
    await drive(world, placed)
    report = { status: 'in_progress', started_at: iso(placed + 1_000) }
    await drive(world, placed + 30_000)
    return { id: call?.id ?? '', started: placed + 1_000 }
  }
  const booking = async () => (await ledgerOf(world)).map(({ kind, amount }) => `${kind} ${amount}`)
  const balance = async () => (await ledgerOf(world)).at(-1)?.balance_after

  it('is held when it is placed, given back when it ends, and spent for what it lasted', async () => {
    await credit(world, 100)
    const { id, started } = await talking()
    report = { status: 'completed', ended_at: iso(started + 31_000) }
    await driveToEnd(world, started + 40_000)
    expect(await booking()).toEqual(['grant 100', 'reserve -10', 'release 10', 'spend -6'])
    expect(await balance()).toBe(94)
    expect(await rowOf(id)).toMatchObject({ cost: 6, reserved: 0, duration_seconds: 31 })
    for (const { reference, kind } of await ledgerOf(world))
      expect(reference).toBe(kind === 'grant' ? null : `call:${id}`)
  })

  it('refuses calls that there is none for, all of a batch or none', async () => {
    await credit(world, 29)
    const three = [{ agent_id: agent }, { agent_id: agent }, { agent_id: agent }]
    await expect(place(world, three)).rejects.toMatchObject({ code: 'insufficient_credit' })
    expect(await booking()).toEqual(['grant 29'])
    await place(world, three.slice(1))
    expect(await booking()).toEqual(['grant 29', 'reserve -10', 'reserve -10'])
    expect(holdOfEach(drivenAt(world, Date.now()))).toBe(10)
    const refused = await callJson('POST', '/api/v1/calls', {
      ...{ token: world.admin.token, body: { agent_id: agent, to: '+14155550123' } },
    })
    expect([refused.status, refused.error?.code]).toEqual([409, 'insufficient_credit'])
  })

  it('is held for longer while it lasts, by minutes, and never for more than it may last', async () => {
    await credit(world, 1000)
    const { id, started } = await talking({ max_duration_seconds: 480 })
    expect(await rowOf(id)).toMatchObject({ reserved: 10 })
    await drive(world, started + 45_000)
    expect(await rowOf(id)).toMatchObject({ reserved: 60, extensions: 1 })
    await drive(world, started + 345_000)
    expect(await rowOf(id)).toMatchObject({ reserved: 80, extensions: 2 })
    await driveToEnd(world, started + 480_000)
    expect(await rowOf(id)).toMatchObject({ ended_reason: 'max_duration', cost: 80, duration_seconds: 480 })
    expect(await booking()).toEqual([
      ...['grant 1000', 'reserve -10', 'reserve -50', 'reserve -20', 'release 80', 'spend -80'],
    ])
  })

  it('that runs out in the middle ends it when all of it is used, and not before', async () => {
    await credit(world, 25)
    const { id, started } = await talking()
    await drive(world, started + 45_000)
    // Too little for five minutes more, enough for one.
    expect(await rowOf(id)).toMatchObject({ reserved: 20, status: 'in_progress' })
    // And then for half of one.
    await drive(world, started + 105_000)
    expect(await rowOf(id)).toMatchObject({ reserved: 25, extensions: 2, status: 'in_progress' })
    expect(await drive(world, started + 135_000)).toBe(started + 150_000)
    expect(await rowOf(id)).toMatchObject({ status: 'in_progress', extensions: 2 })
    await drive(world, started + 150_000)
    expect(await rowOf(id)).toMatchObject({
      status: 'completed',
      ended_reason: 'insufficient_credit',
      cost: 25,
    })
    expect(await rowOf(id)).toMatchObject({ hang_up: 1, ended_at: iso(started + 150_000) })
    expect(await balance()).toBe(0)
  })

  it('that is bought meanwhile has it go on', async () => {
    await credit(world, 10)
    const { id, started } = await talking()
    await drive(world, started + 45_000)
    expect(await rowOf(id)).toMatchObject({ reserved: 10, extensions: 0 })
    await credit(world, 500)
    await drive(world, started + 60_000)
    expect(await rowOf(id)).toMatchObject({ status: 'in_progress', reserved: 60 })
  })

  it('is charged up to what there is, where it lasted longer than was held, and not beyond', async () => {
    await credit(world, 14)
    const { id, started } = await talking()
    // Its provider tells of its end three minutes late; nobody looked meanwhile.
    report = { status: 'completed', ended_at: iso(started + 200_000) }
    const { applied } = await import('../../../src/domains/voice/calls/change')
    const { find } = await import('../../../src/data/revise')
    const { calls } = await import('../../../src/domains/voice/calls/table')
    const ctx = drivenAt(world, started + 220_000)
    const row = await find(ctx, calls, id)
    const change = row && (await applied(ctx, row, report))
    await commit(ctx, {
      statements: change?.statements ?? [],
      events: change?.events ?? [],
      result: undefined,
    })
    // 34 credits for 200 seconds; 14 were there.
    expect(await rowOf(id)).toMatchObject({ duration_seconds: 200, cost: 14, reserved: 0 })
    expect(await booking()).toEqual(['grant 14', 'reserve -10', 'release 10', 'spend -14'])
    expect(await balance()).toBe(0)
  })

  it('costs nothing where calls cost nothing', async () => {
    const free = { CALL_CREDITS_PER_MINUTE: 0 }
    const ctx = drivenAt(world, Date.now(), free)
    const [call] = await place(world, [{ agent_id: agent }], { ctx, provider: provider() })
    const placed = Date.parse(call?.created_at ?? '')
    await drive(world, placed, free)
    report = { status: 'completed', started_at: iso(placed + 1_000), ended_at: iso(placed + 20_000) }
    await driveToEnd(world, placed + 30_000)
    expect(await rowOf(call?.id ?? '')).toMatchObject({ status: 'completed', cost: 0 })
    expect(await booking()).toEqual([])
  })

  it('keeps the price at which it was placed', async () => {
    await credit(world, 100)
    const { id, started } = await talking()
    report = { status: 'completed', ended_at: iso(started + 60_000) }
    await drive(world, started + 61_000, { CALL_CREDITS_PER_MINUTE: 1000 })
    expect(await rowOf(id)).toMatchObject({ cost: 10 })
  })

  it('is never below zero, whoever places calls, ends them and spends at once', async () => {
    await credit(world, 200)
    const some = Array.from({ length: 40 }, () =>
      place(world, [{ agent_id: agent, metadata: { simulated_speed: 1000 } }]).then(
        () => true,
        () => false,
      ),
    )
    const spent = Array.from({ length: 20 }, (_, i) =>
      commit(world.ctx, {
        statements: booked(world.ctx, { kind: 'spend', amount: -7, reference: `other:${i}` }),
        result: undefined,
      }).catch(() => undefined),
    )
    const [placed] = await Promise.all([Promise.all(some), ...spent])
    expect(placed.filter(Boolean).length).toBeLessThanOrEqual(20)
    await driveToEnd(world, Date.now() + 120_000)
    const rows = await ledgerOf(world)
    expect(Math.min(...rows.map(({ balance_after }) => balance_after))).toBeGreaterThanOrEqual(0)
    let sum = 0
    for (const { amount, balance_after } of rows) {
      sum += amount
      expect(balance_after).toBe(sum)
    }
    // All that was held was given back.
    const of = (kind: string) =>
      rows.filter((row) => row.kind === kind).reduce((all, { amount }) => all + amount, 0)
    expect(of('reserve') + of('release')).toBe(0)
  })
})

import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { commit } from '../../../src/data/commit'
import { placedCalls } from '../../../src/domains/voice/calls/place'
import { simulated } from '../../../src/domains/voice/calls/simulated'
import { eventually } from '../../webhooks/receiver'
import { callJson, makeWorld } from '../../world'
import { credit, drive, drivenAt, eventsOf, ledgerOf, makeAgent, place } from './kit'

const countOf = (tenantId: string, where: string) =>
  env.DB.prepare(`select count(*) as n from calls where tenant_id = ? and ${where}`)
    .bind(tenantId)
    .first<number>('n')

describe('many calls at once', { timeout: 120_000 }, () => {
  it('go on together: a stage of two hundred is one batch of few statements', async () => {
    const world = await makeWorld()
    await credit(world, 100_000)
    const agent = await makeAgent(world)
    const some = Array.from({ length: 200 }, () => ({ agent_id: agent, metadata: { simulated_speed: 1000 } }))
    const ctx = drivenAt(world, Date.now())
    const rows = await place(world, some, { ctx })
    const placed = Date.parse(rows[0]?.created_at ?? '')
    await drive(world, placed)
    expect(await countOf(world.tenant.id, "status = 'ringing'")).toBe(200)
    // Their whole life, seen late.
    await drive(world, placed + 60_000)
    expect(await countOf(world.tenant.id, "status = 'completed' and cost is not null")).toBe(200)
    const rowsOfLedger = await ledgerOf(world)
    expect(rowsOfLedger.filter(({ kind }) => kind === 'spend')).toHaveLength(200)
    expect(rowsOfLedger.map((_, i) => i + 1)).toHaveLength(rowsOfLedger.length)
    expect(await eventsOf(world)).toHaveLength(400)
  })

  it('are all driven by what drives them, without anybody who looks', async () => {
    const world = await makeWorld()
    await credit(world, 100_000)
    const agent = await makeAgent(world)
    const all = Array.from({ length: 300 }, (_, i) => ({
      ...{ agent_id: agent, from: '+15550100000', metadata: { simulated_speed: 1000 } },
      to: i % 10 === 0 ? '+14155550001' : '+14155550123',
    }))
    const ctx = drivenAt(world, Date.now())
    const { statements, events, after } = placedCalls(ctx, simulated, all)
    await commit(ctx, { statements, events, result: undefined })
    await after()
    const open = await eventually(
      async () => ((await countOf(world.tenant.id, 'next_at is not null')) === 0 ? { none: true } : null),
      100_000,
    )
    expect(open).toEqual({ none: true })
    expect(await countOf(world.tenant.id, "status = 'completed' and recording = 'kept'")).toBe(270)
    expect(await countOf(world.tenant.id, "status = 'no_answer'")).toBe(30)
    const ended = (await eventsOf(world)).filter(({ type }) => type === 'call.ended')
    expect(new Set(ended.map(({ data }) => data.call_id)).size).toBe(300)
    expect(ended).toHaveLength(300)
    const rows = await ledgerOf(world)
    expect(rows.filter(({ kind }) => kind === 'release')).toHaveLength(300)
    expect(rows.at(-1)?.balance_after).toBe(
      100_000 + rows.filter(({ kind }) => kind === 'spend').reduce((sum, { amount }) => sum + amount, 0),
    )
  })

  it('that nobody was woken for are found by the sweep', async () => {
    const world = await makeWorld()
    await credit(world, 100)
    const agent = await makeAgent(world)
    // Placed, and the process ended before the driver was told.
    const ctx = drivenAt(world, Date.now() - 60_000)
    const [call] = await place(world, [{ agent_id: agent, metadata: { simulated_speed: 1000 } }], { ctx })
    const { allSweeps } = await import('../../../src/data/sweeping')
    const sweep = allSweeps().get('calls_not_driven')
    const deferring = { waitUntil: () => {} }
    expect(await sweep?.(ctx.env, deferring, Date.now())).toBeGreaterThan(0)
    const ended = await eventually(async () => {
      const { data } = await callJson<{ status: string; ended_at: string | null }>(
        ...(['GET', `/api/v1/calls/${call?.id}`, { token: world.admin.token }] as const),
      )
      return data.ended_at === null ? null : data
    }, 30_000)
    expect(ended?.status).toBe('completed')
  })
})

import { describe, expect, it } from 'vitest'
import { readJob } from '../../jobs/kit'
import { eventually } from '../../webhooks/receiver'
import { callJson, makePlatformAdmin } from '../../world'
import { credit, ledgerOf } from '../calls/kit'
import { atOnce, callsOf, completed, eventsOf, expectRefused, number, post, started, until } from './kit'

// What ends a campaign, or has it wait, in the middle. Numbers: see run.test.ts.

describe('a campaign in the middle', () => {
  it('is paused and goes on where it was, without a burst', { timeout: 60_000 }, async () => {
    const numbers = Array.from({ length: 6 }, (_, i) => number(100 + i))
    const { world, id } = await started(numbers, { schedule: { calls_per_minute: 60 } })
    await until(world, id, ({ contacts }) => contacts.pending <= 4)
    const paused = await post(world, `/${id}/pause`)
    expect(paused.data).toMatchObject({ status: 'paused', paused_reason: 'requested' })
    const { pending } = (await until(world, id, ({ contacts }) => contacts.calling === 0)).contacts
    const before = await callsOf(world, id)
    await scheduler.wait(2_500)
    expect(await callsOf(world, id)).toHaveLength(before.length)
    const resumed = await post(world, `/${id}/resume`)
    expect(resumed.data.status).toBe('running')
    await until(world, id, completed)
    const after = (await callsOf(world, id)).slice(before.length)
    expect(after).toHaveLength(pending)
    const from = Date.parse(resumed.data.updated_at)
    for (const [i, { created_at }] of after.entries())
      expect(Date.parse(created_at) - from).toBeGreaterThanOrEqual(i * 1_000)
  })

  it('that is scheduled anew goes by the new times, and has begun once', { timeout: 60_000 }, async () => {
    const { world, id } = await started(
      Array.from({ length: 6 }, (_, i) => number(100 + i)),
      { schedule: { calls_per_minute: 60 } },
    )
    const { started_at } = await until(world, id, ({ contacts }) => contacts.pending <= 4)
    await post(world, `/${id}/pause`)
    expect((await post(world, `/${id}/schedule`, atOnce())).data.status).toBe('scheduled')
    const end = await until(world, id, completed)
    expect(end).toMatchObject({ started_at, contacts: { completed: 6 } })
    const events = await eventsOf(world.tenant.id)
    expect(events.map(({ type }) => type.slice(9))).toEqual(['started', 'paused', 'completed'])
  })

  it('stops when credit is out, says so, and goes on with more', { timeout: 60_000 }, async () => {
    // Ten credits are held for each call.
    const { world, id, job } = await started(
      Array.from({ length: 12 }, (_, i) => number(100 + i)),
      { credits: 5 },
    )
    const paused = await until(world, id, ({ status }) => status === 'paused')
    expect(paused).toMatchObject({ paused_reason: 'insufficient_credit', contacts: { pending: 12 } })
    expect(await callsOf(world, id)).toEqual([])
    expect((await eventsOf(world.tenant.id)).at(-1)).toMatchObject({
      ...{ type: 'campaign.paused', reason: 'insufficient_credit' },
      message: expect.stringContaining('resume'),
    })
    expect((await readJob(world, job)).result).toMatchObject({ paused_reason: 'insufficient_credit' })
    await credit(world, 30)
    expect((await post(world, `/${id}/resume`)).status).toBe(200)
    // For three calls at a time: what the first do not use, the next have.
    const seen = await until(
      world,
      id,
      ({ status }) => status !== 'running' && status !== 'scheduled',
      30_000,
    )
    const ledger = await ledgerOf(world)
    expect(Math.min(...ledger.map(({ balance_after }) => balance_after))).toBeGreaterThanOrEqual(0)
    expect(seen.contacts.completed + seen.contacts.pending).toBe(12)
    if (seen.status === 'paused') expect(seen.paused_reason).toBe('insufficient_credit')
  })

  it('is paused where its agent can’t call any more', { timeout: 60_000 }, async () => {
    const { world, agent, id } = await started([number(100)], {
      schedule: { start_at: new Date(Date.now() + 3_000).toISOString() },
    })
    await callJson('DELETE', `/api/v1/agents/${agent}`, { token: world.developer.token })
    const paused = await until(world, id, ({ status }) => status === 'paused')
    expect(paused.paused_reason).toBe('agent_unavailable')
    expectRefused(await post(world, `/${id}/resume`), 'validation_failed')
    expect(await callsOf(world, id)).toEqual([])
  })

  it('is paused for its agent where that is switched off in the middle, and not for what it was refused', {
    timeout: 60_000,
  }, async () => {
    const { world, agent, id } = await started(
      Array.from({ length: 60 }, (_, i) => number(100 + i)),
      { schedule: { calls_per_minute: 60 } },
    )
    await until(world, id, ({ contacts }) => contacts.completed >= 1)
    await callJson('PATCH', `/api/v1/agents/${agent}`, {
      ...{ token: world.developer.token, body: { is_active: false } },
    })
    const paused = await until(world, id, ({ status }) => status === 'paused', 30_000)
    expect(paused.paused_reason).toBe('agent_unavailable')
  })

  it('is cancelled in the middle: nobody else is called, who is called goes on', {
    timeout: 60_000,
  }, async () => {
    const numbers = ['+14155550005', ...Array.from({ length: 20 }, (_, i) => number(100 + i))]
    const { world, id } = await started(numbers, { schedule: { calls_per_minute: 60 } })
    await until(world, id, ({ contacts }) => contacts.completed >= 1)
    expect((await post(world, `/${id}/cancel`)).data.status).toBe('cancelled')
    const count = (await callsOf(world, id)).length
    await scheduler.wait(2_500)
    expect(await callsOf(world, id)).toHaveLength(count)
    const seen = await until(world, id, ({ contacts }) => contacts.calling === 1)
    expect(seen).toMatchObject({ status: 'cancelled', contacts: { pending: 21 - count } })
    const lasting = (await callsOf(world, id)).find(({ to }) => to === numbers[0])
    await callJson('POST', `/api/v1/calls/${lasting?.id}/end`, { token: world.developer.token })
    expect((await until(world, id, ({ contacts }) => contacts.calling === 0)).contacts.total).toBe(21)
  })

  it('waits while its tenant is suspended, and makes up for nothing', { timeout: 60_000 }, async () => {
    const { world, id } = await started(
      Array.from({ length: 30 }, (_, i) => number(100 + i)),
      { schedule: { calls_per_minute: 60 } },
    )
    await until(world, id, ({ contacts }) => contacts.completed >= 1)
    const { token } = await makePlatformAdmin()
    const path = `/api/platform/tenants/${world.tenant.id}`
    const set = (status: string) => callJson('PATCH', path, { token, body: { status } })
    expect((await set('suspended')).status).toBe(200)
    const calls = () => callsOf(world, id)
    // What was under way when that was decided is done by then.
    await scheduler.wait(1_500)
    const before = await calls()
    await scheduler.wait(2_500)
    expect(await calls()).toHaveLength(before.length)
    expect(before.length).toBeLessThan(30)
    const active = await set('active')
    expect(active.status).toBe(200)
    const more = await eventually(async () => {
      const all = await calls()
      return all.length > before.length ? all : null
    }, 30_000)
    expect(more.length).toBeLessThanOrEqual(before.length + 2)
  })
})

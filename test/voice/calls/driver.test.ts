import { env } from 'cloudflare:workers'
import { beforeEach, describe, expect, it } from 'vitest'
import type { CallProvider, CallReport } from '../../../src/domains/voice/calls/port'
import { problem } from '../../../src/lib/problem'
import { callJson, makePlatformAdmin, makeWorld, type World } from '../../world'
import { credit, drive, driveToEnd, eventsOf, ledgerOf, makeAgent, place, providerOf, rowOf } from './kit'

const busy = () => problem('provider_failed', 'The provider is busy')

describe('the driver of calls, with a provider outside', () => {
  let world: World
  let agent: string
  /** What the provider was asked, in its order. */
  let asked: string[]
  /** What it does when it is asked; by default it answers. */
  let does: Partial<CallProvider>
  let provider: CallProvider
  beforeEach(async () => {
    world = await makeWorld()
    await credit(world, 1000)
    agent = await makeAgent(world)
    asked = []
    does = {}
    const noted =
      <K extends 'start' | 'find' | 'look' | 'end' | 'recording'>(name: K, otherwise: CallProvider[K]) =>
      async (...args: unknown[]) => {
        asked.push(name)
        return (does[name] ?? otherwise) === undefined
          ? undefined
          : ((does[name] ?? otherwise) as (...args: unknown[]) => Promise<unknown>)(...args)
      }
    provider = providerOf(`outside-${world.tenant.id}`, {
      start: noted('start', async (_, call) => ({ provider_call_id: `p-${call.id}`, references: [] })),
      find: noted('find', async () => null),
      look: noted('look', async () => ({})),
      end: noted('end', async () => {}),
      recording: noted('recording', async () => 'none'),
    } as Partial<CallProvider>)
  })

  const one = async (fields: object = {}) => {
    const [call] = await place(world, [{ agent_id: agent, ...fields }], { provider })
    return { id: call?.id ?? '', placed: Date.parse(call?.created_at ?? '') }
  }
  const says = (report: CallReport | null) => {
    does = { ...does, look: async () => report }
  }
  const iso = (ms: number) => new Date(ms).toISOString()

  it('has it placed once, and looks at it until it has ended', async () => {
    const { id, placed } = await one()
    await drive(world, placed)
    expect(await rowOf(id)).toMatchObject({ status: 'ringing', provider_call_id: `p-${id}` })
    says({ status: 'in_progress', started_at: iso(placed + 4_000) })
    await drive(world, placed + 30_000)
    expect(await rowOf(id)).toMatchObject({ status: 'in_progress', started_at: iso(placed + 4_000) })
    says({ status: 'completed', ended_at: iso(placed + 34_000), ended_reason: 'hangup' })
    await driveToEnd(world, placed + 60_000)
    expect(asked.filter((name) => name === 'start')).toHaveLength(1)
    expect(asked).not.toContain('end')
    expect(await rowOf(id)).toMatchObject({
      status: 'completed',
      duration_seconds: 30,
      cost: 5,
      next_at: null,
    })
  })

  it('has written down that it asks before it asks: a crash in between calls nobody twice', async () => {
    const { id, placed } = await one()
    does = {
      start: async (_, call) => {
        // The process ends here: nothing that comes after is done.
        expect((await rowOf(call.id))?.asked_at).not.toBeNull()
        throw new Error('killed')
      },
    }
    await drive(world, placed)
    does = { find: async (_, call) => ({ provider_call_id: `found-${call.id}`, references: [] }) }
    await drive(world, placed + 5_000)
    expect(asked).toEqual(['start', 'find'])
    expect(await rowOf(id)).toMatchObject({ status: 'ringing', provider_call_id: `found-${id}` })
  })

  it('asks again where it is sure that it was not placed', async () => {
    const { id, placed } = await one()
    does = { start: () => Promise.reject(busy()) }
    await drive(world, placed)
    expect(await rowOf(id)).toMatchObject({ status: 'queued', failures: 1 })
    does = {}
    await drive(world, placed + 5_000)
    expect(asked).toEqual(['start', 'find', 'start'])
    expect(await rowOf(id)).toMatchObject({ status: 'ringing', failures: 0 })
  })

  it('fails it after a quarter of an hour of tries, gives back what was held, and has what may ring hung up', async () => {
    const { id, placed } = await one()
    does = { start: () => Promise.reject(busy()), find: () => Promise.reject(busy()) }
    let now = placed
    while ((await rowOf(id))?.status === 'queued') now = (await drive(world, now)) ?? now
    expect(await rowOf(id)).toMatchObject({ status: 'failed', ended_reason: 'provider_error', hang_up: 1 })
    expect(now - placed).toBeGreaterThanOrEqual(15 * 60_000)
    expect(asked.filter((one) => one === 'start' || one === 'find').length).toBeGreaterThan(15)
    expect((await ledgerOf(world)).at(-1)).toMatchObject({ kind: 'release', balance_after: 1000 })
    // It was placed after all.
    does = { find: async (_, call) => ({ provider_call_id: `found-${call.id}`, references: [] }) }
    await driveToEnd(world, now)
    expect(asked.slice(-2)).toEqual(['find', 'end'])
    expect(await rowOf(id)).toMatchObject({ hang_up: 0, next_at: null, cost: 0 })
  })

  it('fails it at once where the provider refuses it for good', async () => {
    const { id, placed } = await one()
    does = { start: () => Promise.reject(problem('provider_refused', 'No such number')) }
    await driveToEnd(world, placed)
    expect(await rowOf(id)).toMatchObject({ status: 'failed', ended_reason: 'provider_error', next_at: null })
    expect(asked).toEqual(['start'])
  })

  it('gives up hanging up after a day of trying', async () => {
    const { id, placed } = await one()
    await drive(world, placed)
    does = { end: () => Promise.reject(busy()) }
    const ended = await driveToEnd(world, placed + 120_000)
    expect(await rowOf(id)).toMatchObject({ status: 'no_answer', next_at: null })
    expect(ended - placed).toBeGreaterThan(20 * 3600_000)
  })

  it('fails it where its agent is gone, or its provider is none of this version’s', async () => {
    const gone = await makeAgent(world)
    const { id, placed } = await one({ agent_id: gone })
    await callJson('DELETE', `/api/v1/agents/${gone}`, { token: world.admin.token })
    const [other] = await place(world, [{ agent_id: agent }], {
      provider: { ...provider, name: 'forgotten' },
    })
    await driveToEnd(world, Math.max(placed, Date.parse(other?.created_at ?? '')))
    expect(await rowOf(id)).toMatchObject({ status: 'failed', ended_reason: 'agent_gone' })
    expect(await rowOf(other?.id ?? '')).toMatchObject({ status: 'failed', ended_reason: 'provider_error' })
    expect(asked).toEqual([])
  })

  it('ends what rings for ever, and has it hung up, tried until it is heard', async () => {
    const { id, placed } = await one()
    await drive(world, placed)
    does = { end: () => Promise.reject(busy()) }
    await drive(world, placed + 120_000)
    expect(await rowOf(id)).toMatchObject({ status: 'no_answer', hang_up: 1 })
    const next = await drive(world, placed + 120_001)
    does = {}
    await driveToEnd(world, next ?? 0)
    expect(asked.filter((name) => name === 'end')).toHaveLength(2)
    expect(await rowOf(id)).toMatchObject({ hang_up: 0, next_at: null })
  })

  it('ends what lasts as long as it may, to the second, however late it looks', async () => {
    const { id, placed } = await one({ max_duration_seconds: 60 })
    await drive(world, placed)
    says({ status: 'in_progress', started_at: iso(placed + 10_000) })
    await drive(world, placed + 30_000)
    await driveToEnd(world, placed + 3600_000)
    expect(await rowOf(id)).toMatchObject({ status: 'completed', ended_reason: 'max_duration', cost: 10 })
    expect(await rowOf(id)).toMatchObject({ duration_seconds: 60, ended_at: iso(placed + 70_000) })
    expect(asked).toContain('end')
  })

  it('ends it where its provider knows nothing of it any more', async () => {
    const { id } = await one()
    const second = await one()
    const { placed } = second
    await drive(world, placed)
    says({ status: 'in_progress', started_at: iso(placed + 1_000) })
    await drive(world, placed + 30_000)
    await env.DB.prepare("update calls set status = 'ringing', started_at = null where id = ?")
      .bind(second.id)
      .run()
    says(null)
    await driveToEnd(world, placed + 40_000)
    expect(await rowOf(id)).toMatchObject({ status: 'completed', ended_reason: 'hangup' })
    expect(await rowOf(second.id)).toMatchObject({
      status: 'failed',
      ended_reason: 'provider_error',
      cost: 0,
    })
  })

  it('goes on where its provider can’t be asked for a while', async () => {
    const { id, placed } = await one()
    await drive(world, placed)
    says({ status: 'in_progress', started_at: iso(placed + 1_000) })
    await drive(world, placed + 30_000)
    does = { look: () => Promise.reject(busy()) }
    let now = placed + 31_000
    for (let tries = 0; tries < 5; tries++) now = Math.max((await drive(world, now)) ?? now, now + 1)
    expect((await rowOf(id))?.status).toBe('in_progress')
    says({ status: 'completed', ended_at: iso(placed + 61_000) })
    await driveToEnd(world, now)
    expect(await rowOf(id)).toMatchObject({ status: 'completed', duration_seconds: 60 })
  })

  it('keeps the recording once it is there, and the turns that come late', async () => {
    const { id, placed } = await one()
    await drive(world, placed)
    const started_at = iso(placed + 1_000)
    does = { recording: async () => 'later' }
    says({ status: 'completed', started_at, ended_at: iso(placed + 9_000) })
    await drive(world, placed + 30_000)
    const wait = await drive(world, placed + 30_001)
    expect(await rowOf(id)).toMatchObject({ status: 'completed', recording: 'pending' })
    const none = await callJson('GET', `/api/v1/calls/${id}/recording`, { token: world.admin.token })
    expect(none.status).toBe(404)
    expect(none.error?.message).toContain('yet')
    does = {
      recording: async () => ({ bytes: new Blob(['ID3 music']), content_type: 'audio/mpeg' }),
      look: async () => ({
        status: 'completed',
        turns: [{ position: 0, role: 'agent', text: 'Hello', started_at, ended_at: iso(placed + 2_000) }],
      }),
    }
    await driveToEnd(world, wait ?? 0)
    expect(await rowOf(id)).toMatchObject({ recording: 'kept', turns: 1, next_at: null })
    const kept = await callJson<{ content_type: string; size: number }>(
      ...(['GET', `/api/v1/calls/${id}/recording`, { token: world.viewer.token }] as const),
    )
    expect(kept.data).toMatchObject({ content_type: 'audio/mpeg', size: 9 })
  })

  it('gives up a recording that never comes', async () => {
    const { id, placed } = await one()
    await drive(world, placed)
    does = { recording: async () => 'later' }
    says({ status: 'completed', started_at: iso(placed + 1_000) })
    await driveToEnd(world, placed + 30_000)
    expect(await rowOf(id)).toMatchObject({ recording: 'none', next_at: null })
    expect(asked.filter((name) => name === 'recording').length).toBe(20)
  })

  it('ends the calls of a tenant that is suspended, within half a minute', async () => {
    const { id, placed } = await one()
    await drive(world, placed)
    says({ status: 'in_progress', started_at: iso(placed + 1_000) })
    const next = await drive(world, placed + 30_000)
    expect(next).toBeLessThanOrEqual(placed + 60_000)
    const waiting = await one()
    const platform = await makePlatformAdmin()
    const suspended = await callJson('PATCH', `/api/platform/tenants/${world.tenant.id}`, {
      ...{ token: platform.token, body: { status: 'suspended' } },
    })
    expect(suspended.status).toBe(200)
    await driveToEnd(world, Math.max(placed + 61_000, waiting.placed))
    expect(await rowOf(id)).toMatchObject({ status: 'completed', ended_reason: 'tenant_suspended' })
    expect(await rowOf(waiting.id)).toMatchObject({ status: 'failed', ended_reason: 'tenant_suspended' })
    expect(asked).toContain('end')
    expect(asked.filter((name) => name === 'start')).toHaveLength(1)
  })

  it('one that can’t be written is in nobody’s way', async () => {
    const { id, placed } = await one()
    const other = await one()
    does = {
      start: async (_, call) => ({
        provider_call_id: `p-${call.id}`,
        // Not a reference that there may be.
        references: call.id === id ? [{ provider: 'ultravox', reference: null as unknown as string }] : [],
      }),
    }
    await drive(world, Math.max(placed, other.placed))
    expect(await rowOf(other.id)).toMatchObject({ status: 'ringing' })
    expect(await rowOf(id)).toMatchObject({ status: 'queued', failures: 1 })
  })

  it('two at the same time do each thing once', async () => {
    const { id, placed } = await one()
    await Promise.all([drive(world, placed), drive(world, placed)])
    says({ status: 'completed', started_at: iso(placed + 1_000), ended_at: iso(placed + 7_000) })
    await Promise.all([drive(world, placed + 30_000), drive(world, placed + 30_000)])
    await driveToEnd(world, placed + 31_000)
    expect(await rowOf(id)).toMatchObject({ status: 'completed', cost: 1 })
    expect(asked.filter((name) => name === 'start')).toHaveLength(1)
    expect((await eventsOf(world)).map(({ type }) => type)).toEqual(['call.started', 'call.ended'])
    expect((await ledgerOf(world)).filter(({ kind }) => kind === 'spend')).toHaveLength(1)
  })

  it('leaves what is not due alone', async () => {
    const { placed } = await one()
    await drive(world, placed)
    const before = asked.length
    expect(await drive(world, placed + 1)).toBe(placed + 30_000)
    expect(asked.length).toBe(before)
  })
})

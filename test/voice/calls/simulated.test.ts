import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import type { Bindings } from '../../../src/env'
import { callJson, makeWorld, call as request, type World } from '../../world'
import { credit, drive, drivenAt, driveToEnd, eventsOf, ledgerOf, makeAgent, place, rowOf } from './kit'

const bindings = env as unknown as Bindings

/** As fast as people. */
const SLOW = { simulated_speed: 1 }

type Turn = { position: number; role: string; text: string; started_at: string; ended_at: string }

const transcriptOf = async (world: World, id: string) =>
  (await callJson<Turn[]>('GET', `/api/v1/calls/${id}/transcript`, { token: world.viewer.token })).data

describe('a simulated call', () => {
  let world: World
  let agent: string
  beforeAll(async () => {
    world = await makeWorld()
    await credit(world, 100_000)
    agent = await makeAgent(world, { greeting: 'Hello {{name}}, this is the shop.' })
  })

  const one = async (fields: object = {}) => {
    const [call] = await place(world, [{ agent_id: agent, metadata: SLOW, ...fields }])
    return { id: call?.id ?? '', placed: Date.parse(call?.created_at ?? '') }
  }

  it('rings, is answered, is talked in turn by turn, and ends; each stage is seen at its time', async () => {
    const { id, placed } = await one({ metadata: { ...SLOW, name: 'Ada' } })
    let now = placed
    const seen: string[] = []
    const turns: number[] = []
    for (let looks = 0; looks < 100; looks++) {
      const next = await drive(world, now)
      const row = await rowOf(id)
      if (seen.at(-1) !== row?.status) seen.push(row?.status ?? '')
      turns.push(row?.turns ?? 0)
      if (next === null) break
      now = Math.max(now, next)
    }
    expect(seen).toEqual(['ringing', 'in_progress', 'completed'])
    expect(new Set(turns)).toEqual(new Set([0, 1, 2, 3, 4, 5]))
    const said = await transcriptOf(world, id)
    expect(said.map(({ role }) => role)).toEqual(['agent', 'user', 'agent', 'user', 'agent'])
    expect(said.map(({ position }) => position)).toEqual([0, 1, 2, 3, 4])
    expect(said[0]?.text).toBe('Hello Ada, this is the shop.')
    const times = said.flatMap(({ started_at, ended_at }) => [started_at, ended_at])
    expect(times).toEqual([...times].sort())
    const { data } = await callJson<Record<string, string | number>>('GET', `/api/v1/calls/${id}`, {
      token: world.viewer.token,
    })
    const lasted = Date.parse(`${data.ended_at}`) - Date.parse(`${data.started_at}`)
    expect(data).toMatchObject({ status: 'completed', ended_reason: 'agent_hangup' })
    expect(data.duration_seconds).toBe(Math.ceil(lasted / 1000))
    expect(data.cost).toBe(Math.ceil((Number(data.duration_seconds) * 10) / 60))
    expect(times.at(-1)?.localeCompare(`${data.ended_at}`)).toBeLessThanOrEqual(0)
    // Longer than a person rings, shorter than a minute.
    expect(lasted).toBeGreaterThan(10_000)
    expect(lasted).toBeLessThan(60_000)
  })

  it('is announced when it is answered, and when it has ended, once', async () => {
    const { id, placed } = await one({ metadata: { ...SLOW, order: 'A-1' } })
    await driveToEnd(world, placed)
    const events = (await eventsOf(world)).filter(({ data }) => data.call_id === id)
    expect(events.map(({ type }) => type)).toEqual(['call.started', 'call.ended'])
    expect(events[1]?.data).toMatchObject({
      ...{ status: 'completed', agent_id: agent, to: '+14155550123', ended_reason: 'agent_hangup' },
      metadata: { order: 'A-1' },
    })
    const row = await rowOf(id)
    expect(events[1]?.data).toMatchObject({ cost: row?.cost, duration_seconds: row?.duration_seconds })
  })

  it('is the same whenever it is looked at: late, at once, or step by step', async () => {
    const { id, placed } = await one()
    const { id: other, placed: then } = await one()
    await driveToEnd(world, placed)
    // Nobody looks at it for an hour; all of its life is seen at once.
    await drive(world, then)
    await drive(world, then + 3600_000)
    await driveToEnd(world, then + 3600_000)
    for (const one of [id, other]) {
      const row = await rowOf(one)
      expect(row).toMatchObject({ status: 'completed', turns: 5, recording: 'kept', next_at: null })
      expect(row?.duration_seconds).toBeLessThan(60)
    }
    expect((await eventsOf(world)).filter(({ data }) => data.call_id === other)).toHaveLength(2)
  })

  it.each([
    ['+14155550001', 'no_answer', 'no_answer'],
    ['+14155550002', 'no_answer', 'busy'],
    ['+14155550003', 'failed', 'invalid_number'],
    ['+14155550004', 'no_answer', 'no_answer'],
  ])('%s ends as %s, %s, and costs nothing', async (to, status, ended_reason) => {
    const { id, placed } = await one({ to })
    await driveToEnd(world, placed)
    const row = await rowOf(id)
    expect(row).toMatchObject({ status, ended_reason, started_at: null, duration_seconds: 0, cost: 0 })
    expect(row).toMatchObject({ turns: 0, recording: 'none', reserved: 0, next_at: null })
    const events = (await eventsOf(world)).filter(({ data }) => data.call_id === id)
    expect(events.map(({ type }) => type)).toEqual(['call.ended'])
    const rows = (await ledgerOf(world)).filter(({ reference }) => reference === `call:${id}`)
    expect(rows.map(({ kind, amount }) => [kind, amount])).toEqual([
      ['reserve', -10],
      ['release', 10],
    ])
  })

  it('a number that answers the second time only does so', async () => {
    const { id, placed } = await one({ to: '+14155550004', metadata: { ...SLOW, attempt: 2 } })
    await driveToEnd(world, placed)
    expect(await rowOf(id)).toMatchObject({ status: 'completed' })
  })

  it('speaks the agent’s language, and English where it knows none of it', async () => {
    for (const [language, word] of [
      ['de-AT', 'Guten Tag'],
      ['fr', 'Bonjour'],
      ['es-MX', 'Hola'],
      ['ja', 'Hello'],
    ] as const) {
      const speaker = await makeAgent(world, { language })
      const { id, placed } = await one({ agent_id: speaker })
      await driveToEnd(world, placed)
      expect((await transcriptOf(world, id))[0]?.text, language).toContain(word)
    }
  })

  it('leaves a recording that can be played: WAVE, as long as the call, louder where somebody speaks', async () => {
    const { id, placed } = await one({ metadata: { simulated_speed: 4 } })
    await driveToEnd(world, placed)
    const { data } = await callJson<{ url: string; content_type: string; size: number; file_id: string }>(
      'GET',
      `/api/v1/calls/${id}/recording`,
      { token: world.viewer.token },
    )
    expect(data.content_type).toBe('audio/wav')
    const object = await bindings.FILES.get(`${world.tenant.id}/files/${data.file_id}`)
    const bytes = new Uint8Array((await object?.arrayBuffer()) ?? new ArrayBuffer(0))
    const view = new DataView(bytes.buffer)
    const text = (at: number) => String.fromCharCode(...bytes.slice(at, at + 4))
    expect([text(0), text(8), text(12), text(36)]).toEqual(['RIFF', 'WAVE', 'fmt ', 'data'])
    expect(view.getUint32(4, true)).toBe(bytes.length - 8)
    expect(view.getUint32(40, true)).toBe(bytes.length - 44)
    expect(data.size).toBe(bytes.length)
    const rate = view.getUint32(24, true)
    const row = await rowOf(id)
    const lasted = (Date.parse(row?.ended_at ?? '') - Date.parse(row?.started_at ?? '')) / 1000
    expect((bytes.length - 44) / rate).toBeCloseTo(lasted, 1)
    const loud = (at: number) =>
      Math.max(...bytes.slice(44 + at, 44 + at + rate / 20).map((b) => Math.abs(b - 128)))
    const [turn] = await transcriptOf(world, id)
    const middle = (Date.parse(turn?.started_at ?? '') + Date.parse(turn?.ended_at ?? '')) / 2
    expect(loud(Math.floor(((middle - Date.parse(row?.started_at ?? '')) / 1000) * rate))).toBeGreaterThan(20)
    expect(loud(0)).toBe(0)
    // The URL plays it, without a credential.
    const { pathname, search } = new URL(data.url)
    const played = await request('GET', `${pathname}${search}`)
    expect(played.status).toBe(200)
    expect((await played.arrayBuffer()).byteLength).toBe(bytes.length)
  })

  it('one that was ended says nothing after that', async () => {
    const placed = Date.now() - 20_000
    const ctx = drivenAt(world, placed)
    const [call] = await place(world, [{ agent_id: agent, to: '+14155550005', metadata: SLOW }], { ctx })
    const id = call?.id ?? ''
    for (const after of [0, 6_000, 12_000]) await drive(world, placed + after)
    expect((await rowOf(id))?.status).toBe('in_progress')
    const ended = await callJson<{ ended_at: string }>('POST', `/api/v1/calls/${id}/end`, {
      token: world.developer.token,
    })
    expect(ended.status).toBe(200)
    await driveToEnd(world, Date.now() + 60_000)
    const said = await transcriptOf(world, id)
    expect(said.length).toBeGreaterThan(0)
    for (const turn of said) expect(turn.ended_at.localeCompare(ended.data.ended_at)).toBeLessThanOrEqual(0)
  })
})

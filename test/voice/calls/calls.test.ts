import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { Client } from '../../realtime/socket'
import { eventually } from '../../webhooks/receiver'
import { callJson, makeWorld, type World } from '../../world'
import { credit, drive, drivenAt, driveToEnd, ledgerOf, makeAgent, place, providerOf, rowOf } from './kit'

type View = Record<string, unknown> & { id: string; status: string }

const LASTS = '+14155550005'

describe('POST /calls', () => {
  let world: World
  let agent: string
  beforeAll(async () => {
    world = await makeWorld()
    await credit(world, 100_000)
    agent = await makeAgent(world)
  })
  const post = (body: object, headers = {}) =>
    callJson<View>('POST', '/api/v1/calls', { token: world.developer.token, body, headers })

  it('has an agent call: at once queued, and by itself over after a while', async () => {
    const made = await post({ agent_id: agent, to: '+14155550123', metadata: { order: 'A-1' } })
    expect(made.status).toBe(201)
    expect(made.data).toMatchObject({
      ...{ status: 'queued', agent_id: agent, to: '+14155550123', from: '+15550100000', cost: null },
      ...{ started_at: null, ended_at: null, duration_seconds: null, recording_url: null },
      ...{ metadata: { order: 'A-1' }, provider: 'simulated', created_by: world.developer.user.id },
    })
    const over = await eventually(async () => {
      const { data } = await callJson<View>('GET', `/api/v1/calls/${made.data.id}`, {
        token: world.viewer.token,
      })
      return data.recording_url === null ? null : data
    }, 25_000)
    expect(over).toMatchObject({ status: 'completed', duration_seconds: 1, cost: 1 })
  })

  it('shows no recording before its end, nor once its file is deleted', async () => {
    const recordingOf = (id: string) =>
      callJson<{ file_id: string }>('GET', `/api/v1/calls/${id}/recording`, { token: world.viewer.token })
    const lasts = await post({ agent_id: agent, to: LASTS })
    expect((await recordingOf(lasts.data.id)).error?.message).toMatch(/no recording yet$/)
    await callJson('POST', `/api/v1/calls/${lasts.data.id}/end`, { token: world.developer.token })
    const { id } = (await post({ agent_id: agent, to: '+14155550124' })).data
    const { file_id } = await eventually(async () => {
      const { status, data } = await recordingOf(id)
      return status === 200 ? data : null
    }, 25_000)
    const gone = await callJson('DELETE', `/api/v1/files/${file_id}`, { token: world.admin.token })
    expect(gone.status).toBe(204)
    const after = await recordingOf(id)
    expect([after.status, after.error?.message]).toEqual([404, expect.stringMatching(/any more$/)])
    const { data } = await callJson<View>('GET', `/api/v1/calls/${id}`, { token: world.viewer.token })
    expect(data).toMatchObject({ status: 'completed', recording_url: null })
  })

  it('says of each field what it must be', async () => {
    const fields = async (body: object) => {
      const answer = await post(body)
      expect(answer.status).toBe(422)
      return answer.error?.details?.fields
    }
    const to = '+14155550123'
    for (const bad of [
      '4155550123',
      '+0123456789',
      '+1415',
      '+1 415 555 0123',
      '+123456789012345678',
      'tel:+14155550123',
    ])
      expect(await fields({ agent_id: agent, to: bad }), bad).toEqual({
        to: expect.stringContaining('E.164'),
      })
    expect(await fields({ agent_id: agent, to, from: 'us' })).toEqual({
      from: expect.stringContaining('E.164'),
    })
    expect(await fields({ agent_id: crypto.randomUUID(), to })).toEqual({
      agent_id: expect.stringContaining('active agent'),
    })
    expect(await fields({ agent_id: agent, to, max_duration_seconds: 5 })).toHaveProperty(
      'max_duration_seconds',
    )
    expect(await fields({ agent_id: agent, to, max_duration_seconds: 7200 })).toEqual({
      max_duration_seconds: expect.stringContaining('3600'),
    })
    expect(await fields({ agent_id: agent, to, metadata: { long: 'x'.repeat(9000) } })).toHaveProperty(
      'metadata',
    )
    expect(await fields({ agent_id: agent, to, metadata: 'x' })).toHaveProperty('metadata')
    expect(await fields({ agent_id: agent, to, voice: 'x' })).toEqual({ voice: 'is not a known field' })
  })

  it('refuses an agent that is inactive, or another tenant’s, and takes nothing for it', async () => {
    const resting = await makeAgent(world, { is_active: false })
    const theirs = await makeAgent(await makeWorld())
    const before = (await ledgerOf(world)).length
    for (const agent_id of [resting, theirs]) {
      const { status, error } = await post({ agent_id, to: '+14155550123' })
      expect([status, error?.details?.fields]).toEqual([422, { agent_id: expect.stringContaining('active') }])
    }
    // One that is switched off while the call is placed.
    await expect(place(world, [{ agent_id: resting }])).rejects.toMatchObject({ code: 'validation_failed' })
    expect(await ledgerOf(world)).toHaveLength(before)
  })

  it('is done once under one idempotency key, and is held for once', async () => {
    const headers = { 'X-Idempotency-Key': crypto.randomUUID() }
    const body = { agent_id: agent, to: LASTS }
    const all = await Promise.all(Array.from({ length: 5 }, () => post(body, headers)))
    const ids = new Set(all.filter(({ status }) => status === 201).map(({ data }) => data.id))
    const again = await post(body, headers)
    expect(again.status).toBe(201)
    expect([...new Set([...ids, again.data.id])]).toEqual([again.data.id])
    const held = (await ledgerOf(world)).filter(({ reference }) => reference === `call:${again.data.id}`)
    expect(held.map(({ kind }) => kind)).toEqual(['reserve'])
    await callJson('POST', `/api/v1/calls/${again.data.id}/end`, { token: world.admin.token })
  })

  it('is for who may: developers call, members read', async () => {
    const body = { agent_id: agent, to: '+14155550123' }
    const refused = await callJson('POST', '/api/v1/calls', { token: world.member.token, body })
    expect(refused.status).toBe(403)
    expect((await callJson('GET', '/api/v1/calls', { token: world.member.token })).status).toBe(200)
  })

  it('is 409 where nobody places calls', async () => {
    const { callProviderOf } = await import('../../../src/domains/voice/calls/port')
    const ctx = drivenAt(world, Date.now(), { CALL_PROVIDER: '' })
    await expect(callProviderOf(ctx)).rejects.toMatchObject({ code: 'provider_not_configured' })
  })
})

describe('POST /calls/{id}/end', () => {
  let world: World
  let agent: string
  beforeAll(async () => {
    world = await makeWorld()
    await credit(world, 100_000)
    agent = await makeAgent(world)
  })
  const end = (id: string) =>
    callJson<View>('POST', `/api/v1/calls/${id}/end`, { token: world.developer.token })

  it('completes one that was answered, charges what it lasted, and refuses it twice', async () => {
    const ctx = drivenAt(world, Date.now() - 30_000)
    const metadata = { simulated_speed: 1 }
    const [call] = await place(world, [{ agent_id: agent, to: LASTS, metadata }], { ctx })
    await drive(world, ctx.now)
    await drive(world, ctx.now + 10_000)
    const ended = await end(call?.id ?? '')
    expect(ended.data).toMatchObject({ status: 'completed', ended_reason: 'ended_by_request' })
    const seconds = Number(ended.data.duration_seconds)
    expect(seconds).toBeGreaterThanOrEqual(24)
    expect(ended.data.cost).toBe(Math.ceil(seconds / 6))
    const again = await end(call?.id ?? '')
    expect([again.status, again.error?.code]).toEqual([409, 'conflict'])
    expect(again.error?.details).toMatchObject({ status: 'completed' })
    const rows = (await ledgerOf(world)).filter(({ reference }) => reference === `call:${call?.id}`)
    expect(rows.map(({ kind }) => kind)).toEqual(['reserve', 'release', 'spend'])
  })

  it('fails one that rings or waits, which costs nothing; ten at once end it once', async () => {
    const provider = providerOf(`ends-${world.tenant.id}`, { end: async () => {} })
    const [waiting, ringing] = await place(world, [{ agent_id: agent }, { agent_id: agent }], { provider })
    await env.DB.prepare("update calls set status = 'ringing', asked_at = created_at where id = ?")
      .bind(ringing?.id)
      .run()
    for (const call of [ringing, waiting]) {
      const all = await Promise.all(Array.from({ length: 10 }, () => end(call?.id ?? '')))
      expect(all.map(({ status }) => status).sort()).toEqual([200, ...Array(9).fill(409)])
      const row = await rowOf(call?.id ?? '')
      expect(row).toMatchObject({ status: 'failed', ended_reason: 'cancelled', cost: 0, reserved: 0 })
    }
  })

  it('is provided that it stands as it was read, where that is asked', async () => {
    // A tenant whose calls nobody drives.
    const own = await makeWorld()
    await credit(own, 100)
    const [call] = await place(own, [{ agent_id: await makeAgent(own), to: LASTS }])
    const end = (etag: string) =>
      callJson('POST', `/api/v1/calls/${call?.id}/end`, {
        token: own.admin.token,
        headers: { 'If-Match': etag },
      })
    const stale = await end('"v9"')
    expect([stale.status, stale.error?.code]).toEqual([412, 'precondition_failed'])
    expect((await end('"v1"')).status).toBe(200)
  })
})

describe('the calls of a tenant', () => {
  let world: World
  let agents: string[]
  const campaign_id = crypto.randomUUID()
  beforeAll(async () => {
    world = await makeWorld()
    await credit(world, 100_000)
    agents = [await makeAgent(world), await makeAgent(world)]
    const [a = '', b = ''] = agents
    const rows = await place(world, [
      { agent_id: a, to: '+14155550111' },
      { agent_id: a, to: '+14155550112', campaign_id, contact_id: crypto.randomUUID() },
      { agent_id: b, to: '+14155550111', campaign_id, contact_id: crypto.randomUUID() },
      { agent_id: b, to: '+14155550113' },
    ])
    await callJson('POST', `/api/v1/calls/${rows[3]?.id}/end`, { token: world.admin.token })
    await callJson('POST', `/api/v1/calls/${rows[2]?.id}/end`, { token: world.admin.token })
  })
  const list = async (query: string) => {
    const { data, meta } = await callJson<View[]>('GET', `/api/v1/calls?${query}`, {
      token: world.viewer.token,
    })
    return { to: data.map((one) => `${one.to}`.slice(-1)).join(''), meta, data }
  }

  it('are listed newest first, by each filter and by several, page by page', async () => {
    const [a = '', b = ''] = agents
    expect((await list('')).to).toBe('3121')
    expect((await list('status=failed')).to).toBe('31')
    expect((await list(`agent_id=${a}`)).to).toBe('21')
    expect((await list(`campaign_id=${campaign_id}`)).to).toBe('12')
    expect((await list('to=%2B14155550111')).to).toBe('11')
    // As people write it.
    expect((await list('to=+14155550111')).to).toBe('11')
    expect((await list(`status=failed&agent_id=${b}&campaign_id=${campaign_id}&to=%2B14155550111`)).to).toBe(
      '1',
    )
    expect((await list(`status=failed&agent_id=${a}`)).to).toBe('')
    const hour = 3600_000
    const at = (ms: number) => encodeURIComponent(new Date(Date.now() + ms).toISOString())
    expect((await list(`created_after=${at(-hour)}&created_before=${at(hour)}`)).to).toBe('3121')
    expect((await list(`created_after=${at(hour)}`)).to).toBe('')
    expect((await list(`created_before=${at(-hour)}&status=failed`)).to).toBe('')
    const first = await list('limit=3')
    const rest = await list(`limit=3&cursor=${first.meta.next_cursor}`)
    expect([first.to, rest.to, rest.meta.next_cursor]).toEqual(['312', '1', null])
    const other = await callJson('GET', `/api/v1/calls?status=failed&cursor=${first.meta.next_cursor}`, {
      token: world.viewer.token,
    })
    expect(other.status).toBe(422)
    expect((await callJson('GET', '/api/v1/calls?to=12', { token: world.viewer.token })).status).toBe(422)
    expect((await callJson('GET', '/api/v1/calls?status=busy', { token: world.viewer.token })).status).toBe(
      422,
    )
  })

  it('have their transcript page by page, also while they last', async () => {
    const metadata = { simulated_speed: 1 }
    const [call] = await place(world, [{ agent_id: agents[0] ?? '', to: '+14155550123', metadata }])
    const placed = Date.parse(call?.created_at ?? '')
    const turns = async (query = '') =>
      callJson<{ position: number; text: string }[]>('GET', `/api/v1/calls/${call?.id}/transcript?${query}`, {
        token: world.viewer.token,
      })
    expect((await turns()).data).toEqual([])
    await drive(world, placed)
    await drive(world, placed + 14_000)
    expect((await rowOf(call?.id ?? ''))?.status).toBe('in_progress')
    expect((await turns()).data.length).toBeGreaterThan(0)
    await driveToEnd(world, placed + 14_000)
    const first = await turns('limit=3')
    const rest = await turns(`limit=3&cursor=${first.meta.next_cursor}`)
    expect([...first.data, ...rest.data].map(({ position }) => position)).toEqual([0, 1, 2, 3, 4])
    expect(rest.meta.next_cursor).toBeNull()
  })
})

describe('the channel of a call', () => {
  it('says to who comes how it stands and what was said, and from then on what is new, in order', async () => {
    const world = await makeWorld()
    await credit(world, 1000)
    const agent = await makeAgent(world)
    const [call] = await place(world, [{ agent_id: agent, metadata: { simulated_speed: 1 } }])
    const id = call?.id ?? ''
    const placed = Date.parse(call?.created_at ?? '')
    await drive(world, placed)
    const client = await Client.of(world.viewer.token)
    await client.subscribe(`calls:${id}`)
    expect((await client.next('call_status')).data).toMatchObject({ id, status: 'ringing', transcript: [] })
    await driveToEnd(world, placed)
    expect((await client.next('call_status')).data).toMatchObject({ status: 'in_progress' })
    for (const position of [0, 1, 2, 3, 4])
      expect((await client.next('call_turn')).data).toMatchObject({ call_id: id, position })
    let last: Record<string, unknown> = {}
    while (last.status !== 'completed') last = (await client.next('call_status')).data as typeof last
    expect(last).toMatchObject({ ended_reason: 'agent_hangup' })
    const late = await Client.of(world.viewer.token)
    await late.subscribe(`calls:${id}`)
    const { transcript } = (await late.next('call_status')).data as { transcript: unknown[] }
    expect(transcript).toHaveLength(5)
    const stranger = await Client.of((await makeWorld()).admin.token)
    stranger.send({ type: 'subscribe', channel: `calls:${id}` })
    expect(await stranger.next('error')).toMatchObject({ code: 'not_found' })
  })
})

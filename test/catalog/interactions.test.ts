import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { tenantDatabase } from '../../src/data/database'
import { createInteraction } from '../../src/domains/catalog/interactions/service'
import { expectError } from '../http/expect-error'
import { call, callJson, makeWorld, type World } from '../world'

type Interaction = Record<string, unknown> & { id: string; conversation_id: string }

const say = (world: World, body: object = {}) =>
  callJson<Interaction>('POST', '/api/v1/interactions', {
    token: world.member.token,
    body: { text: 'hello', ...body },
  })
const eventsOf = async (world: World) =>
  (
    await env.DB.prepare(
      "select * from events where tenant_id = ? and type = 'interaction.created' order by seq",
    )
      .bind(world.tenant.id)
      .all<{ data: string; timestamp: string; trace_id: string }>()
  ).results

describe('an interaction', () => {
  it('is answered, kept and announced with the same words', async () => {
    const world = await makeWorld()
    const body = {
      text: 'Where is my parcel?',
      speaker_id: 'caller-17',
      conversation_id: 'call-4',
      occurred_at: '2026-01-31T11:00:00+01:00',
      metadata: { channel: 'phone', nested: { a: [1, null, true] } },
    }
    const made = await say(world, body)
    expect(made.status).toBe(201)
    expect(made.data).toEqual({
      ...body,
      id: expect.any(String),
      type: 'speech',
      occurred_at: '2026-01-31T10:00:00.000Z',
      ...{ channel: null, user_id: null, item_id: null, value: null, audio_url: null },
      created_at: expect.stringMatching(/Z$/),
    })
    const read = await callJson<Interaction>('GET', `/api/v1/interactions/${made.data.id}`, {
      token: world.viewer.token,
    })
    expect(read.data).toEqual(made.data)
    const [event] = await eventsOf(world)
    const { id, created_at: _made, channel: _channel, ...same } = made.data
    const { occurred_at, ...rest } = same
    expect(JSON.parse(event?.data ?? '')).toEqual({
      ...rest,
      interaction_id: id,
      network_id: world.tenant.id,
      tenant_id: world.tenant.id,
      timestamp: occurred_at,
    })
    expect(event?.timestamp).toBe(occurred_at)
  })

  it('goes on with the speaker’s conversation within the window, and begins another after it', async () => {
    const world = await makeWorld({ settings: { conversation_window_minutes: 1 } })
    const first = await say(world, { speaker_id: 's' })
    expect((await say(world, { speaker_id: 's' })).data.conversation_id).toBe(first.data.conversation_id)
    expect((await say(world, { speaker_id: 'other' })).data.conversation_id).not.toBe(
      first.data.conversation_id,
    )
    expect((await say(world)).data.conversation_id).not.toBe((await say(world)).data.conversation_id)
    // A speaker of the same name in another tenant is another speaker.
    const elsewhere = await makeWorld()
    expect((await say(elsewhere, { speaker_id: 's' })).data.conversation_id).not.toBe(
      first.data.conversation_id,
    )
    const later = new Date(Date.now() + 61_000).toISOString()
    expect((await say(world, { speaker_id: 's', occurred_at: later })).data.conversation_id).not.toBe(
      first.data.conversation_id,
    )
  })

  it('is taken or refused by the tenant’s switch, with nothing half-done', async () => {
    const world = await makeWorld({ settings: { service_enabled: false } })
    await expectError(
      call('POST', '/api/v1/interactions', { token: world.member.token, body: { text: 'a' } }),
      'service_disabled',
    )
    expect(await eventsOf(world)).toEqual([])
    const kept = await env.DB.prepare('select id from interactions where tenant_id = ?')
      .bind(world.tenant.id)
      .all()
    expect(kept.results).toEqual([])
  })

  it('is filtered by speaker and conversation', async () => {
    const world = await makeWorld()
    const a = await say(world, { speaker_id: 'a', conversation_id: 'x' })
    const b = await say(world, { speaker_id: 'a', conversation_id: 'y' })
    await say(world, { speaker_id: 'b', conversation_id: 'x' })
    const ids = async (query: string) =>
      (
        await callJson<Interaction[]>('GET', `/api/v1/interactions?${query}`, { token: world.viewer.token })
      ).data.map((row) => row.id)
    expect(await ids('speaker_id=a')).toEqual([b.data.id, a.data.id])
    expect(await ids('speaker_id=a&conversation_id=x')).toEqual([a.data.id])
    expect(await ids("speaker_id=a'%20or%20'1'='1")).toEqual([])
  })

  it('is deleted once', async () => {
    const world = await makeWorld()
    const { data } = await say(world)
    const path = `/api/v1/interactions/${data.id}`
    expect((await call('DELETE', path, { token: world.member.token })).status).toBe(204)
    await expectError(call('DELETE', path, { token: world.member.token }), 'not_found')
    await expectError(call('GET', path, { token: world.member.token }), 'not_found')
  })

  it('names every wrong field', async () => {
    const world = await makeWorld()
    const fields = async (body: object) =>
      Object.keys((await say(world, body)).error.details.fields ?? {}).sort()
    expect(await fields({ text: '' })).toEqual(['text'])
    expect(await fields({ text: ' \n ' })).toEqual(['text'])
    expect(await fields({ text: 'x'.repeat(100_001) })).toEqual(['text'])
    expect(
      await fields({ text: null, speaker_id: ' ', conversation_id: 'x'.repeat(256), occurred_at: 'now' }),
    ).toEqual([...['conversation_id', 'occurred_at', 'speaker_id', 'text']])
    expect(await fields({ metadata: 'x' })).toEqual(['metadata'])
    expect(await fields({ text: undefined, metadata: 'x' })).toEqual(['metadata', 'text'])
    expect(await fields({ tenant_id: world.tenant.id, user_id: world.admin.user.id, id: 'x' })).toEqual([
      ...['id', 'tenant_id', 'user_id'],
    ])
    expect(await eventsOf(world)).toEqual([])
  })

  it('is refused whole where its event would be too large, and taken where it just fits', async () => {
    const world = await makeWorld()
    const metadata = { blob: 'x'.repeat(260 * 1024) }
    await expectError(
      call('POST', '/api/v1/interactions', { token: world.member.token, body: { text: 'a', metadata } }),
      'payload_too_large',
    )
    expect(await eventsOf(world)).toEqual([])
    const fits = await say(world, { metadata: { blob: 'x'.repeat(250 * 1024) } })
    expect(fits.status).toBe(201)
    const [event] = await eventsOf(world)
    expect(event?.data).toBeNull()
  })
})

describe('what registering one costs', () => {
  /** The calls to D1 that registering takes, and the rows that they read. */
  async function costOf(world: World, input: Parameters<typeof createInteraction>[1]) {
    const cost = { batches: 0, reads: 0, rows: 0 }
    const { DB } = world.ctx.env
    const bound = (text: string, params: unknown[]) => {
      const native = DB.prepare(text).bind(...params)
      const all = async () => {
        const answer = await native.all<Record<string, unknown>>()
        cost.reads += 1
        cost.rows += answer.meta.rows_read
        return answer
      }
      const raw = async () => (await all()).results.map((row) => Object.values(row))
      return { native, all, raw, run: all }
    }
    const counting = {
      prepare: (text: string) => ({ bind: (...params: unknown[]) => bound(text, params) }),
      batch: async (statements: ReturnType<typeof bound>[]) => {
        const answers = await DB.batch(statements.map(({ native }) => native))
        cost.batches += 1
        for (const { meta } of answers) cost.rows += meta.rows_read
        return answers
      },
    }
    const own = { ...world.ctx.env, DB: counting } as unknown as typeof world.ctx.env
    await createInteraction({ ...world.ctx, env: own, db: tenantDatabase(own, world.tenant.id) }, input)
    return cost
  }

  it('is one batch, after one look for who may go on with a conversation, and no more where there are many', async () => {
    const world = await makeWorld()
    const done = { type: 'view', user_id: 'u', item_id: 'i' }
    const said = { text: 'words', speaker_id: 's', channel: 'c' }
    const costs = async () => [
      await costOf(world, done),
      await costOf(world, { text: 'words', conversation_id: 'known' }),
      await costOf(world, said),
    ]
    await costs()
    const few = await costs()
    expect(few.map(({ batches, reads }) => [batches, reads])).toEqual([
      [1, 0],
      [1, 0],
      [1, 1],
    ])
    const lines = [...Array(300)].flatMap(() => [done, said, { ...said, conversation_id: 'known' }])
    const { data } = await callJson<{ created: number }>('POST', '/api/v1/interactions/batch', {
      token: world.member.token,
      headers: { 'Content-Type': 'application/x-ndjson' },
      raw: lines.map((line) => JSON.stringify(line)).join('\n'),
    })
    expect(data.created).toBe(900)
    const many = await costs()
    for (const [at, { rows }] of many.entries()) expect(rows).toBeLessThanOrEqual((few[at]?.rows ?? 0) + 5)
  })
})

describe('the service switch', () => {
  type Service = { service_enabled: boolean; endpoints: { url: string }[] }
  const service = (world: World, headers: Record<string, string> = {}) =>
    callJson<Service>('GET', '/api/v1/service', { token: world.viewer.token, headers })

  it('is read by all and turned by developers', async () => {
    const world = await makeWorld()
    expect((await service(world)).data).toEqual({
      tenant_id: world.tenant.id,
      service_enabled: true,
      endpoints: [],
    })
    const turn = (token: string) =>
      callJson<Service>('PATCH', '/api/v1/service', { token, body: { service_enabled: false } })
    expect((await turn(world.member.token)).error.code).toBe('insufficient_scope')
    expect((await turn(world.developer.token)).data.service_enabled).toBe(false)
    expect((await service(world)).data.service_enabled).toBe(false)
  })

  it('keeps nobody from items, from reading, or from deleting', async () => {
    const world = await makeWorld()
    const { data } = await say(world, { text: 'before' })
    const off = { token: world.developer.token, body: { service_enabled: false } }
    expect((await callJson('PATCH', '/api/v1/service', off)).status).toBe(200)
    expect((await say(world)).error.code).toBe('service_disabled')
    const body = { external_id: 'sku', title: 'Shoe' }
    expect((await callJson('POST', '/api/v1/items', { token: world.developer.token, body })).status).toBe(201)
    const recommended = { token: world.viewer.token, body: { user_id: 'u' } }
    expect((await callJson('POST', '/api/v1/recommendations', recommended)).status).toBe(200)
    for (const path of ['', `/${data.id}`, '?q=before'])
      expect((await call('GET', `/api/v1/interactions${path}`, { token: world.viewer.token })).status).toBe(
        200,
      )
    const gone = await call('DELETE', `/api/v1/interactions/${data.id}`, { token: world.member.token })
    expect(gone.status).toBe(204)
  })

  it('has a tag that changes with whatever is shown', async () => {
    const world = await makeWorld()
    const before = await service(world)
    const etag = before.headers.get('ETag') ?? ''
    expect((await service(world, { 'If-None-Match': etag })).status).toBe(304)
    const url = `${env.RECEIVER_URL}/hook/ok`
    const made = await callJson('POST', '/api/v1/webhooks', {
      token: world.admin.token,
      body: { url, event_types: ['interaction.created'] },
    })
    expect(made.status).toBe(201)
    const after = await service(world, { 'If-None-Match': etag })
    expect([after.status, after.data?.endpoints.map((endpoint) => endpoint.url)]).toEqual([200, [url]])
    const turn = (match: string) =>
      call('PATCH', '/api/v1/service', {
        token: world.admin.token,
        headers: { 'If-Match': match },
        body: { service_enabled: false },
      })
    expect((await turn(after.headers.get('ETag') ?? '')).status).toBe(200)
    await expectError(turn(etag), 'precondition_failed')
  })
})

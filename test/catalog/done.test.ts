import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { listInteractions } from '../../src/domains/catalog/interactions/list'
import { expectError } from '../http/expect-error'
import { rowsRead } from '../rows-read'
import { call, callJson, makeWorld, type World } from '../world'

type Interaction = Record<string, unknown> & { id: string }
type Result = {
  index: number
  line: number | null
  status: string
  id: string | null
  error: { code: string; fields: Record<string, string> | null } | null
}
type Batch = { created: number; failed: number; results: Result[] }

const register = (world: World, body: object) =>
  callJson<Interaction>('POST', '/api/v1/interactions', { token: world.member.token, body })
const list = async (world: World, query: string) =>
  (
    await callJson<Interaction[]>('GET', `/api/v1/interactions?${query}`, { token: world.viewer.token })
  ).data.map(({ id }) => id)
const send = (
  world: World,
  raw: string,
  type = 'application/x-ndjson',
  headers: Record<string, string> = {},
) =>
  callJson<Batch>('POST', '/api/v1/interactions/batch', {
    token: world.member.token,
    headers: { 'Content-Type': type, ...headers },
    raw,
  })
const countOf = async (world: World, table: string) =>
  env.DB.prepare(
    table === 'told'
      ? "select count(*) as n from events where tenant_id = ? and type = 'interaction.created'"
      : `select count(*) as n from ${table} where tenant_id = ?`,
  )
    .bind(world.tenant.id)
    .first<number>('n')

describe('something done', () => {
  it('is answered, kept and announced', async () => {
    const world = await makeWorld()
    const body = { type: 'rating', user_id: 'u-1', item_id: 'i-1', value: 4.5, metadata: { page: 'home' } }
    const { status, data } = await register(world, body)
    expect(status).toBe(201)
    expect(data).toEqual({
      ...body,
      ...{ text: null, speaker_id: null, conversation_id: null, channel: null, audio_url: null },
      ...{ id: expect.any(String), occurred_at: expect.any(String), created_at: expect.any(String) },
    })
    const event = await env.DB.prepare(
      "select data from events where tenant_id = ? and type = 'interaction.created' order by seq desc limit 1",
    )
      .bind(world.tenant.id)
      .first<string>('data')
    expect(JSON.parse(event ?? '')).toMatchObject({
      ...body,
      ...{ interaction_id: data.id, text: null, conversation_id: null, timestamp: data.occurred_at },
    })
    expect(await countOf(world, 'conversations')).toBe(0)
  })

  it('names what is wrong', async () => {
    const world = await makeWorld()
    const fields = async (body: object) =>
      (await register(world, { type: 'view', user_id: 'u', item_id: 'i', ...body })).error.details.fields
    expect(await fields({ user_id: '', item_id: 7 })).toMatchObject({
      user_id: 'must not be empty',
      item_id: expect.stringContaining('string'),
    })
    expect(Object.keys((await fields({ type: 'Buy now!' })) ?? {})).toEqual(['type'])
    expect(await fields({ type: 'rating' })).toEqual({ value: 'must be given with a rating' })
    expect(Object.keys((await fields({ type: 'rating', user_id: '' })) ?? {}).sort()).toEqual([
      'user_id',
      'value',
    ])
    expect(Object.keys((await fields({ value: 'many' })) ?? {})).toEqual(['value'])
    // Speech is said, and nobody does it with an item.
    expect(await fields({ type: 'speech' })).toMatchObject({
      ...{ user_id: 'is not a known field', item_id: 'is not a known field' },
      text: expect.stringContaining('must be given'),
    })
    expect(await fields({ text: 'hello' })).toEqual({ text: 'is not a known field' })
    const tomorrow = new Date(Date.now() + 86_400_000).toISOString()
    expect(await fields({ occurred_at: tomorrow })).toEqual({ occurred_at: 'must not lie in the future' })
    expect(await fields({ user_id: 'a\u0000b' })).toEqual({
      user_id: 'must have no control character in it',
    })
    expect(await countOf(world, 'interactions')).toBe(0)
  })

  it('is not taken while the service is switched off', async () => {
    const world = await makeWorld({ settings: { service_enabled: false } })
    const line = '{"type":"view","user_id":"u","item_id":"i"}'
    await expectError(
      call('POST', '/api/v1/interactions', { token: world.member.token, body: JSON.parse(line) }),
      'service_disabled',
    )
    expect((await send(world, `${line}\n${line}`)).error.code).toBe('service_disabled')
    expect((await send(world, 'nothing good')).error.code).toBe('service_disabled')
    expect([await countOf(world, 'interactions'), await countOf(world, 'told')]).toEqual([0, 0])
  })

  it('is found by user, item, type, and by two of them, page by page', async () => {
    const world = await makeWorld()
    const made: Record<string, string> = {}
    for (const [type, user_id, item_id] of [
      ['view', 'u1', 'i1'],
      ['view', 'u1', 'i2'],
      ['like', 'u1', 'i1'],
      ['view', 'u2', 'i1'],
    ] as const)
      made[`${type} ${user_id} ${item_id}`] = (await register(world, { type, user_id, item_id })).data.id
    const ids = (...names: string[]) => names.map((name) => made[name])
    expect(await list(world, 'user_id=u1')).toEqual(ids('like u1 i1', 'view u1 i2', 'view u1 i1'))
    expect(await list(world, 'item_id=i1')).toEqual(ids('view u2 i1', 'like u1 i1', 'view u1 i1'))
    expect(await list(world, 'type=like')).toEqual(ids('like u1 i1'))
    expect(await list(world, 'item_id=i1&user_id=u1&type=view')).toEqual(ids('view u1 i1'))
    expect(await list(world, 'type=view&created_before=2000-01-01T00:00:00Z')).toEqual([])
    expect(await list(await makeWorld(), 'user_id=u1')).toEqual([])
  })

  it('is looked for in so many rows a page, and all of it is found in the end', async () => {
    const world = await makeWorld()
    const lines = Array.from({ length: 300 }, (_, n) =>
      JSON.stringify({ type: n === 3 ? 'rare' : 'view', user_id: 'u', item_id: `i${n}` }),
    )
    const made = await send(world, lines.join('\n'))
    expect(made.data.created).toBe(300)
    let cursor: string | null = ''
    const found: string[] = []
    let pages = 0
    do {
      const more: string = cursor ? `&cursor=${cursor}` : ''
      const page = await call('GET', `/api/v1/interactions?user_id=u&type=rare&limit=10${more}`, {
        token: world.viewer.token,
      })
      const { data, meta } = (await page.json()) as {
        data: Interaction[]
        meta: { next_cursor: string | null }
      }
      found.push(...data.map(({ id }) => id))
      cursor = meta.next_cursor
      pages += 1
    } while (cursor !== null)
    expect(found).toEqual([made.data.results[3]?.id])
    expect(pages).toBeGreaterThan(4)
  })
})

describe('a batch', () => {
  it('keeps the good lines and tells each of the others what is wrong with it', async () => {
    const world = await makeWorld()
    const lines = [
      '{"type":"view","user_id":"u","item_id":"i"}',
      '',
      '{"type":"view","user_id":"u"}',
      'not json',
      '{"text":"hello","speaker_id":"s"}',
      '7',
      '{"text":"\\ud800"}',
      `{"text":"a","metadata":{"x":"${'x'.repeat(260 * 1024)}"}}`,
      '{"text":"and more","speaker_id":"s"}',
    ]
    const { status, data } = await send(world, lines.join('\r\n'))
    expect(status).toBe(200)
    expect([data.created, data.failed]).toEqual([3, 5])
    expect(data.results.map(({ index, line, status: of }) => [index, line, of])).toEqual([
      [0, 1, 'created'],
      [1, 3, 'failed'],
      [2, 4, 'failed'],
      [3, 5, 'created'],
      [4, 6, 'failed'],
      [5, 7, 'failed'],
      [6, 8, 'failed'],
      [7, 9, 'created'],
    ])
    expect(data.results.map(({ error }) => error?.code ?? null)).toEqual([
      ...[null, 'validation_failed', 'malformed_json', null],
      ...['validation_failed', 'validation_failed', 'payload_too_large', null],
    ])
    expect(data.results[1]?.error?.fields).toHaveProperty('item_id')
    const kept = await callJson<Interaction[]>('GET', '/api/v1/interactions', { token: world.viewer.token })
    expect(kept.data.map(({ id }) => id)).toEqual(
      data.results.flatMap(({ id }) => (id === null ? [] : [id])).reverse(),
    )
    // What the same speaker says in one batch is one conversation.
    const [second, first] = kept.data
    expect(second?.conversation_id).toBe(first?.conversation_id)
    expect(await countOf(world, 'told')).toBe(3)
  })

  it('takes a JSON array too, and says which of it can’t be kept', async () => {
    const world = await makeWorld()
    const body = '[{"text":"a"},{"text":"\\ud800"},[],{"type":"view","user_id":"u","item_id":"i"}]'
    const { data } = await send(world, body, 'application/json')
    expect(
      data.results.map(({ line, status, error }) => [line, status, Object.keys(error?.fields ?? {})]),
    ).toEqual([
      [null, 'created', []],
      [null, 'failed', ['text']],
      [null, 'failed', ['body']],
      [null, 'created', []],
    ])
    const proto = await send(world, '{"text":"a","__proto__":1}')
    expect(proto.data.results[0]?.error?.fields).toEqual({ body: 'must have no member called __proto__' })
  })

  it('refuses what is no batch', async () => {
    const world = await makeWorld()
    expect((await send(world, '{"text":"a"}', 'application/json')).error.details.fields).toHaveProperty(
      'body',
    )
    expect((await send(world, '[]', 'application/json')).error.code).toBe('validation_failed')
    expect((await send(world, '\n\n')).error.code).toBe('validation_failed')
    expect((await send(world, '[', 'application/json')).error.code).toBe('malformed_json')
    expect((await send(world, 'a', 'text/csv')).error.code).toBe('unsupported_media_type')
    expect((await send(world, '{"text":"a"}\n'.repeat(1_001))).error.code).toBe('validation_failed')
    expect(
      (await send(world, `${'['.repeat(2_000)}${']'.repeat(2_000)}`, 'application/json')).error.code,
    ).toBe('validation_failed')
    expect((await send(world, 'x'.repeat(4 * 1024 * 1024 + 1))).error.code).toBe('body_too_large')
    expect(await countOf(world, 'interactions')).toBe(0)
  })

  it('of a thousand is written once for its key, whoever repeats it', async () => {
    const world = await makeWorld()
    const lines = Array.from({ length: 1_000 }, (_, n) =>
      n % 2 === 0
        ? JSON.stringify({ type: 'view', user_id: `u${n % 7}`, item_id: `i${n}` })
        : JSON.stringify({ text: `word${n} said`, speaker_id: `s${n % 5}`, channel: 'room' }),
    ).join('\n')
    const key = { 'Idempotency-Key': 'a thousand' }
    const [first, again] = [
      await send(world, lines, undefined, key),
      await send(world, lines, undefined, key),
    ]
    expect([first.data.created, again.data]).toEqual([1_000, first.data])
    expect(again.headers.get('Idempotency-Replayed')).toBe('true')
    expect(await countOf(world, 'interactions')).toBe(1_000)
    expect(await countOf(world, 'told')).toBe(1_000)
    expect(await countOf(world, 'speakers')).toBe(5)
    // One channel, within the window: one conversation.
    expect(await countOf(world, 'conversations')).toBe(1)
    expect(await list(world, 'q=word999')).toHaveLength(1)
    // In the order in which they were sent.
    const { results } = await env.DB.prepare('select id from interactions where tenant_id = ? order by seq')
      .bind(world.tenant.id)
      .all<{ id: string }>()
    expect(results.map(({ id }) => id)).toEqual(first.data.results.map(({ id }) => id))
  })
})

describe('full text', () => {
  it('finds words and their beginnings in whatever script, of this tenant alone, and nothing that was deleted', async () => {
    const [world, other] = [await makeWorld(), await makeWorld()]
    const say = async (text: string, at = world) => (await register(at, { text, speaker_id: 's' })).data.id
    const parcel = await say('Where is my Parcel?')
    const cjk = await say('包裹在哪里')
    const accents = await say('Où est l’événement')
    await say('Where is my parcel?', other)
    expect(await list(world, 'q=parc')).toEqual([parcel])
    expect(await list(world, 'q=PARCEL%20where')).toEqual([parcel])
    expect(await list(world, 'q=%E5%8C%85%E8%A3%B9')).toEqual([cjk])
    expect(await list(world, 'q=evenement')).toEqual([accents])
    expect(await list(world, 'q=parcel&speaker_id=someone')).toEqual([])
    expect(await list(world, 'q=parcel&speaker_id=s')).toEqual([parcel])
    expect(await list(world, 'q=where&created_before=2000-01-01T00:00:00Z')).toEqual([])
    for (const q of ['hello) OR (tenant:bbb', '"', 'parcel NOT where', 'NEAR(a b)', '*'])
      expect(
        (await call('GET', `/api/v1/interactions?q=${encodeURIComponent(q)}`, { token: world.viewer.token }))
          .status,
      ).toBe(/[a-z]/i.test(q) ? 200 : 422)
    await call('DELETE', `/api/v1/interactions/${parcel}`, { token: world.member.token })
    expect(await list(world, 'q=parc')).toEqual([])
    const words = await env.DB.prepare(
      'select count(*) as n from interaction_words where interaction_words match ?',
    )
      .bind(`"e${world.tenant.id.slice(-12)}parcel"`)
      .first<number>('n')
    expect(words).toBe(0)
  })

  it('goes on page by page', async () => {
    const world = await makeWorld()
    for (let n = 0; n < 5; n++) await register(world, { text: `same words ${n}` })
    const found: string[] = []
    let cursor = ''
    for (let page = 0; page < 3; page++) {
      const answer = await call(
        'GET',
        `/api/v1/interactions?q=same&limit=2${cursor && `&cursor=${cursor}`}`,
        {
          token: world.viewer.token,
        },
      )
      const { data, meta } = (await answer.json()) as {
        data: Interaction[]
        meta: { next_cursor: string | null }
      }
      found.push(...data.map(({ text }) => String(text)))
      cursor = meta.next_cursor ?? ''
    }
    expect([found, cursor]).toEqual([[4, 3, 2, 1, 0].map((n) => `same words ${n}`), ''])
  })

  it('reads as many rows for the last page as for the first', async () => {
    const world = await makeWorld()
    await send(world, Array.from({ length: 400 }, (_, n) => `{"text":"same words ${n}"}`).join('\n'))
    const read: number[] = []
    let cursor: string | undefined
    do {
      read.push(
        await rowsRead(world.ctx, async (ctx) => {
          const page = await listInteractions(ctx, { limit: 100, cursor, q: 'same' })
          cursor = page.next_cursor ?? undefined
        }),
      )
    } while (cursor !== undefined)
    expect(read).toHaveLength(4)
    expect(Math.max(...read) - Math.min(...read)).toBeLessThanOrEqual(2)
  })
})

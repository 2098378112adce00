import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { createInteractions } from '../../src/domains/catalog/interactions/batch'
import { createInteraction } from '../../src/domains/catalog/interactions/service'
import { register } from '../../src/domains/catalog/recordings/service'
import { expectError } from '../http/expect-error'
import { endedJob } from '../jobs/kit'
import { call, callJson, makeWorld, type World } from '../world'
import { form, recording } from './recording-kit'

type Row = Record<string, unknown> & { id: string }

const say = async (world: World, body: object) =>
  (
    await callJson<Row & { conversation_id: string }>('POST', '/api/v1/interactions', {
      token: world.member.token,
      body: { text: 'hello', ...body },
    })
  ).data
const read = <T = Row>(world: World, path: string) => callJson<T>('GET', path, { token: world.viewer.token })
const countOf = (world: World, table: string) =>
  env.DB.prepare(`select count(*) as n from ${table} where tenant_id = ?`)
    .bind(world.tenant.id)
    .first<number>('n')

describe('a speaker', () => {
  const id = 'Ada / Büro #1?'
  const path = `/api/v1/speakers/${encodeURIComponent(id)}`

  it('is made with the first thing said, and stays as it is named', async () => {
    const world = await makeWorld()
    await say(world, { speaker_id: id })
    expect((await read(world, path)).data).toMatchObject({ id, name: null, metadata: {}, version: 1 })
    const body = { name: 'Ada', metadata: { vip: true } }
    const named = await callJson<Row>('PATCH', path, { token: world.member.token, body })
    expect(named.data).toMatchObject({ ...body, version: 2 })
    await say(world, { speaker_id: id })
    expect((await read(world, path)).data).toEqual(named.data)
    expect((await read<Row[]>(world, '/api/v1/speakers')).data).toEqual([named.data])
  })

  it('is made once, changed if it is the one that was read, and deleted without what was said', async () => {
    const world = await makeWorld()
    const make = () =>
      callJson<Row>('POST', '/api/v1/speakers', { token: world.member.token, body: { id, name: 'Ada' } })
    const made = await make()
    expect([made.status, made.headers.get('Location')]).toEqual([201, path])
    expect((await make()).error.code).toBe('already_exists')
    const own = await callJson<Row>('POST', '/api/v1/speakers', { token: world.member.token, body: {} })
    expect(own.data.id).toMatch(/^[0-9a-f-]{36}$/)
    await say(world, { speaker_id: id })
    const stale = { token: world.member.token, headers: { 'If-Match': '"v7"' } }
    await expectError(call('DELETE', path, stale), 'precondition_failed')
    expect((await call('DELETE', path, { token: world.member.token })).status).toBe(204)
    await expectError(call('GET', path, { token: world.viewer.token }), 'not_found')
    const said = await read<Row[]>(world, `/api/v1/interactions?speaker_id=${encodeURIComponent(id)}`)
    expect(said.data.map(({ speaker_id }) => speaker_id)).toEqual([id])
    await say(world, { speaker_id: id })
    expect((await read(world, path)).data).toMatchObject({ name: null })
  })

  it('is listed page by page, by the time at which it became known', async () => {
    const world = await makeWorld()
    for (const name of ['a', 'b', 'c']) await say(world, { speaker_id: name })
    const page = await call('GET', '/api/v1/speakers?limit=2', { token: world.viewer.token })
    const { data, meta } = (await page.json()) as { data: Row[]; meta: { next_cursor: string } }
    expect(data.map((one) => one.id)).toEqual(['c', 'b'])
    const rest = await read<Row[]>(world, `/api/v1/speakers?limit=2&cursor=${meta.next_cursor}`)
    expect(rest.data.map((one) => one.id)).toEqual(['a'])
    expect((await read<Row[]>(world, '/api/v1/speakers?created_before=2000-01-01T00:00:00Z')).data).toEqual(
      [],
    )
  })
})

describe('a conversation', () => {
  it('goes on by speaker before channel, and by channel, within the window of when things were said', async () => {
    const world = await makeWorld()
    const at = (minute: number) => new Date(Date.UTC(2026, 0, 31, 10, minute)).toISOString()
    const first = await say(world, { channel: 'phone', speaker_id: 'a', occurred_at: at(0) })
    const other = await say(world, { channel: 'phone', speaker_id: 'b', occurred_at: at(10) })
    expect(other.conversation_id).toBe(first.conversation_id)
    const named = await say(world, { conversation_id: 'mine', speaker_id: 'a', occurred_at: at(20) })
    expect(named.conversation_id).toBe('mine')
    // The speaker took it elsewhere.
    const moved = await say(world, { channel: 'phone', speaker_id: 'a', occurred_at: at(25) })
    expect(moved.conversation_id).toBe('mine')
    const edge = await say(world, { channel: 'phone', occurred_at: at(55) })
    expect(edge.conversation_id).toBe('mine')
    const later = await say(world, { channel: 'phone', occurred_at: at(85) })
    expect(later.conversation_id).toBe('mine')
    const over = await say(world, { channel: 'phone', occurred_at: '2026-01-31T11:55:00.001Z' })
    expect(over.conversation_id).not.toBe('mine')
  })

  it('is one, however many begin it at once, alone, in batches and with recordings; what is not near is another', async () => {
    const world = await makeWorld()
    const { ctx } = world
    const eight = Array.from({ length: 8 }, (_, n) => n)
    const day = (n: number) => `2026-01-0${n + 1}T10:00:00.000Z`
    const heldBy = async (column: string, name: string) =>
      (
        await env.DB.prepare(
          `select distinct conversation_id as id from interactions where tenant_id = ? and ${column} = ?`,
        )
          .bind(world.tenant.id, name)
          .all<{ id: string }>()
      ).results.map(({ id }) => id)
    // The same context: all of them look before the first has written.
    await Promise.all(
      eight.map((n) =>
        n % 2 === 0
          ? createInteraction(ctx, { text: `said ${n}`, speaker_id: 's' })
          : createInteractions(ctx, [{ index: 0, line: 1, value: { text: `said ${n}`, speaker_id: 's' } }]),
      ),
    )
    expect(await heldBy('speaker_id', 's')).toHaveLength(1)
    const audio = new Blob([recording(null)])
    const wanted = { async: false, wait: undefined }
    const said = { text: 'heard', channel: 'phone' }
    await Promise.all(eight.slice(0, 3).map(() => register(ctx, { input: said, audio }, wanted)))
    expect(await heldBy('channel', 'phone')).toHaveLength(1)
    await Promise.all(
      eight.map((n) => createInteraction(ctx, { text: 'then', speaker_id: 'then', occurred_at: day(n) })),
    )
    expect(await heldBy('speaker_id', 'then')).toHaveLength(8)
    const known = await countOf(world, 'conversations')
    expect(known).toBe(10)
    // Each once, with its event.
    const counts = await env.DB.prepare(
      'select (select count(*) from interactions where tenant_id = ?1) as kept, (select count(*) from events where tenant_id = ?1 and type = ?2) as told',
    )
      .bind(world.tenant.id, 'interaction.created')
      .first()
    expect(counts).toEqual({ kept: 19, told: 19 })
  })

  it('shows what was said in that order, page by page, and goes with the last of it', async () => {
    const world = await makeWorld()
    const conversation_id = 'Call 1/2'
    const at = (second: number) => `2026-01-31T10:00:0${second}.000Z`
    const made: Row[] = []
    for (const second of [2, 1, 3])
      made.push(await say(world, { conversation_id, text: `at ${second}`, occurred_at: at(second) }))
    const path = `/api/v1/conversations/${encodeURIComponent(conversation_id)}`
    type Shown = Row & { interactions: Row[]; next_cursor: string | null; last_at: string }
    const first = (await read<Shown>(world, `${path}?limit=2`)).data
    expect([first.id, first.last_at, first.interactions.map(({ text }) => text)]).toEqual([
      ...[conversation_id, at(3), ['at 1', 'at 2']],
    ])
    const rest = (await read<Shown>(world, `${path}?limit=2&cursor=${first.next_cursor}`)).data
    expect([rest.interactions.map(({ text }) => text), rest.next_cursor]).toEqual([['at 3'], null])
    const listed = await read<Row[]>(
      world,
      `/api/v1/interactions?conversation_id=${encodeURIComponent(conversation_id)}`,
    )
    expect(listed.data.map(({ text }) => text)).toEqual(['at 3', 'at 2', 'at 1'])
    await say(world, { conversation_id: 'next' })
    expect((await read<Row[]>(world, '/api/v1/conversations')).data.map((one) => one.id)).toEqual([
      ...['next', conversation_id],
    ])
    for (const { id } of made)
      await call('DELETE', `/api/v1/interactions/${id}`, { token: world.member.token })
    await expectError(call('GET', path, { token: world.viewer.token }), 'not_found')
    expect(await countOf(world, 'conversations')).toBe(1)
  })
})

describe('an erasure', () => {
  const erase = (world: World, query: string) =>
    callJson<Row & { status: string }>('DELETE', `/api/v1/interactions?${query}`, {
      token: world.member.token,
    })

  it('deletes all that somebody said, with recordings, and nothing that came later or of others', async () => {
    const world = await makeWorld()
    const lines = Array.from({ length: 230 }, (_, n) => JSON.stringify({ text: `word${n}`, speaker_id: 's' }))
    await callJson('POST', '/api/v1/interactions/batch', {
      token: world.member.token,
      headers: { 'Content-Type': 'application/x-ndjson' },
      raw: lines.join('\n'),
    })
    const raw = form(recording({ text: 'Recorded.' }), { speaker_id: 's' })
    await callJson('POST', '/api/v1/interactions', { token: world.member.token, raw })
    const other = await say(world, { speaker_id: 'other' })
    const { status, data } = await erase(world, 'speaker_id=s')
    expect([status, data.kind]).toEqual([202, 'interactions.erase'])
    const job = await endedJob(world, data.id)
    expect([job.status, job.result]).toEqual(['completed', { deleted: 231 }])
    expect(JSON.stringify(job.input)).not.toContain('"s"')
    const left = await read<Row[]>(world, '/api/v1/interactions')
    expect(left.data.map((one) => one.id)).toEqual([other.id])
    expect([await countOf(world, 'files'), await countOf(world, 'conversations')]).toEqual([0, 1])
    expect((await read<Row[]>(world, '/api/v1/interactions?q=word7')).data).toEqual([])
  })

  it('deletes what a user did, and their events go by the same name', async () => {
    const world = await makeWorld()
    for (const user_id of ['u', 'v'])
      await callJson('POST', '/api/v1/interactions', {
        token: world.member.token,
        body: { type: 'view', user_id, item_id: 'i' },
      })
    expect((await endedJob(world, (await erase(world, 'user_id=u')).data.id)).result).toEqual({ deleted: 1 })
    const left = await read<Row[]>(world, '/api/v1/interactions')
    expect(left.data.map(({ user_id }) => user_id)).toEqual(['v'])
    const subjects = await env.DB.prepare(
      "select subject from events where tenant_id = ? and type = 'interaction.created' order by seq",
    )
      .bind(world.tenant.id)
      .all<{ subject: string }>()
    expect(subjects.results.map(({ subject }) => subject)).toEqual(['u', 'v'])
  })

  it('names whose', async () => {
    const world = await makeWorld()
    for (const query of ['', 'user_id=u&speaker_id=s']) {
      const { status, error } = await erase(world, query)
      expect([status, Object.keys(error.details.fields ?? {})]).toEqual([422, ['user_id']])
    }
  })
})

import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { base64url, utf8 } from '../../src/lib/encoding'
import { newId } from '../../src/lib/ids'
import { call, callJson, makePlatformAdmin, makeWorld, type World } from '../world'
import { expectError } from './expect-error'

type Row = { id: string; text: string; created_at: string }

let world: World
const T0 = Date.parse('2026-03-01T00:00:00.000Z')

/** Lays down interactions, one a second from T0 on; answers with their ids, oldest first. */
async function seed(of: World, count: number, speaker: string | null = null): Promise<string[]> {
  const insert = env.DB.prepare(
    `insert into interactions (tenant_id, id, type, text, speaker_id, metadata, occurred_at, created_at)
     values (?, ?, 'speech', ?, ?, '{}', ?, ?)`,
  )
  const ids: string[] = []
  await env.DB.batch(
    Array.from({ length: count }, (_, i) => {
      const at = T0 + i * 1000
      const hex = at.toString(16).padStart(12, '0')
      const id = `${hex.slice(0, 8)}-${hex.slice(8)}${newId(at).slice(13)}`
      ids.push(id)
      const time = new Date(at).toISOString()
      return insert.bind(of.tenant.id, id, `n${i}`, speaker, time, time)
    }),
  )
  return ids
}

const list = (query: string, of = world) =>
  callJson<Row[]>('GET', `/api/v1/interactions${query}`, { token: of.admin.token })

/** Every page of a list, by its cursor. */
async function pages(query: string): Promise<string[][]> {
  const found: string[][] = []
  let cursor: unknown = null
  do {
    const page = await list(`${query}${cursor ? `&cursor=${cursor}` : ''}`)
    expect(page.status).toBe(200)
    found.push(page.data.map((row) => row.id))
    cursor = page.meta.next_cursor
  } while (cursor)
  return found
}

let ids: string[]
beforeAll(async () => {
  world = await makeWorld()
  ids = await seed(world, 7)
})

describe('a list', () => {
  it('comes in pages, newest first, each row once', async () => {
    const found = await pages('?limit=3')
    expect(found.map((page) => page.length)).toEqual([3, 3, 1])
    expect(found.flat()).toEqual(ids.toReversed())
  })

  it('ends without a cursor where the last page is full', async () => {
    const found = await pages('?limit=7')
    expect(found).toHaveLength(1)
    expect((await list('?limit=7')).meta.next_cursor).toBeNull()
  })

  it('shows 50 rows unless asked, and says where it goes on', async () => {
    const many = await makeWorld()
    await seed(many, 51)
    const page = await list('', many)
    expect(page.data).toHaveLength(50)
    expect(page.meta.next_cursor).toEqual(expect.any(String))
    expect((await list('?limit=100', many)).data).toHaveLength(51)
  })

  it('is an empty array where there is nothing', async () => {
    const nobody = await makeWorld()
    const page = await list('', nobody)
    expect([page.data, page.meta.next_cursor]).toEqual([[], null])
  })

  it('repeats and loses no row while others are added in front', async () => {
    const moving = await makeWorld()
    await seed(moving, 4)
    const first = await list('?limit=2', moving)
    await callJson('POST', '/api/v1/interactions', { token: moving.admin.token, body: { text: 'new' } })
    const second = await list(`?limit=2&cursor=${first.meta.next_cursor}`, moving)
    expect([...first.data, ...second.data].map((row) => row.text)).toEqual(['n3', 'n2', 'n1', 'n0'])
  })

  it('filters by time: from created_after on, before created_before, in any zone', async () => {
    const at = (i: number) => new Date(T0 + i * 1000).toISOString()
    const of = async (query: string) => (await list(`?${query}`)).data.map((row) => row.text)
    expect(await of(`created_after=${at(5)}`)).toEqual(['n6', 'n5'])
    expect(await of(`created_before=${at(2)}`)).toEqual(['n1', 'n0'])
    expect(await of(`created_after=${at(2)}&created_before=${at(4)}`)).toEqual(['n3', 'n2'])
    expect(await of(`created_after=${encodeURIComponent('2026-03-01T01:00:05.000+01:00')}`)).toEqual([
      'n6',
      'n5',
    ])
    expect(await of('created_after=2027-01-01T00:00:00Z')).toEqual([])
  })
})

describe('a cursor', () => {
  const wrong = async (query: string, of = world) => {
    const error = await expectError(
      call('GET', `/api/v1/interactions${query}`, { token: of.admin.token }),
      'validation_failed',
    )
    expect(Object.keys(error.details.fields ?? {})).toEqual(['cursor'])
  }

  it('goes on in a filtered list, however long the filter', async () => {
    const speaker = '話'.repeat(255)
    await seed(world, 3, speaker)
    const query = `?limit=2&speaker_id=${encodeURIComponent(speaker)}&conversation_id=`
    const first = await list(query.replace('&conversation_id=', ''))
    expect(first.data).toHaveLength(2)
    const second = await list(`${query.replace('&conversation_id=', '')}&cursor=${first.meta.next_cursor}`)
    expect(second.data).toHaveLength(1)
  })

  it('of another filter is refused', async () => {
    const { meta } = await list('?limit=2')
    await wrong(`?limit=2&speaker_id=x&cursor=${meta.next_cursor}`)
    await wrong(`?limit=2&created_after=2026-01-01T00:00:00Z&cursor=${meta.next_cursor}`)
    expect((await list(`?limit=3&cursor=${meta.next_cursor}`)).status).toBe(200)
  })

  it('of another tenant is refused', async () => {
    const { meta } = await list('?limit=2')
    await wrong(`?limit=2&cursor=${meta.next_cursor}`, await makeWorld())
  })

  it('of another list is refused', async () => {
    const { meta } = await list('?limit=2')
    for (const path of ['/api/v1/auth/api-keys', '/api/v1/auth/sessions'])
      await expectError(
        call('GET', `${path}?cursor=${meta.next_cursor}`, { token: world.admin.token }),
        'validation_failed',
      )
    const { token } = await makePlatformAdmin()
    await expectError(
      call('GET', `/api/platform/tenants?cursor=${meta.next_cursor}`, { token }),
      'validation_failed',
    )
  })

  it('tells nothing to who takes it apart', async () => {
    const { meta } = await list('?limit=2&speaker_id=secret-speaker')
    expect(meta.next_cursor).toBeNull()
    await seed(world, 3, 'secret-speaker')
    const cursor = String((await list('?limit=2&speaker_id=secret-speaker')).meta.next_cursor)
    const inside = atob(cursor.replaceAll('-', '+').replaceAll('_', '/'))
    expect(inside).not.toContain('secret-speaker')
    expect(inside).not.toContain(world.tenant.id)
  })

  it('that is made up is refused', async () => {
    const made = (value: unknown) => base64url(utf8(JSON.stringify(value)))
    for (const cursor of [
      'x',
      '%00',
      '====',
      '%F0%9F%98%80',
      made(null),
      made([]),
      made({ 0: 'interactions' }),
      made(['interactions', 'a', 'b']),
      made([`interactions:${world.tenant.id}:{}`, { toString: 'x' }, 'b']),
      'x'.repeat(2000),
    ])
      await wrong(`?cursor=${cursor}`)
  })
})

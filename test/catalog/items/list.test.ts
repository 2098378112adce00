import { beforeAll, describe, expect, it } from 'vitest'
import type { Context } from '../../../src/data/context'
import { listItems } from '../../../src/domains/catalog/items/service'
import { expectError } from '../../http/expect-error'
import { rowsRead } from '../../rows-read'
import { call, callJson, makeWorld, type World } from '../../world'
import { namesOf, put } from './kit'

let world: World

beforeAll(async () => {
  world = await makeWorld()
  await put(world, [
    { external_id: 'a-1', title: 'Chaussure de Café', category: 'Shoes', tags: ['red', 'Summer Sale'] },
    { external_id: 'a-2', title: '東京タワー hotel', category: 'shoes', tags: ['red'], available: false },
    {
      external_id: 'a-3',
      title: 'Parcel shelf',
      tags: ['red', 'blue'],
      attributes: { deep: { maker: ['Acme'] } },
    },
    { external_id: 'b"4', title: "Bo'ttle; drop OR table*", category: 'a"b OR c', tags: ['x" OR "y'] },
  ])
})

const named = (query: Record<string, string> | [string, string][]) =>
  namesOf(world, new URLSearchParams(query).toString())

describe('the list of items', () => {
  it('has the newest first, page after page', async () => {
    const all = ['b"4', 'a-3', 'a-2', 'a-1']
    for (const limit of ['1', '3', '4', '100']) {
      expect(await named({ limit })).toEqual(all)
      expect(await named({ limit, tag: 'red' })).toEqual(all.slice(1))
    }
  })

  it('is filtered by the very letters of category, tags and external_id, and by what is available', async () => {
    expect(await named({ category: 'shoes' })).toEqual(['a-2'])
    expect(await named({ category: 'Shoes' })).toEqual(['a-1'])
    expect(await named({ category: 'shoe' })).toEqual([])
    expect(await named({ tag: 'Summer Sale' })).toEqual(['a-1'])
    expect(await named({ tag: 'summer sale' })).toEqual([])
    expect(
      await named([
        ['tag', 'red'],
        ['tag', 'blue'],
      ]),
    ).toEqual(['a-3'])
    expect(await named({ available: 'false' })).toEqual(['a-2'])
    expect(await named({ available: 'true', tag: 'red' })).toEqual(['a-3', 'a-1'])
    expect(await named({ external_id: 'a-2' })).toEqual(['a-2'])
    expect(await named({ external_id: 'A-2' })).toEqual([])
    expect(await named({ external_id: 'a-2', available: 'true' })).toEqual([])
    expect(await named({ external_id: 'a-2', available: 'false', q: 'hotel' })).toEqual(['a-2'])
    expect(await named({ external_id: 'a-1', q: 'hotel' })).toEqual([])
  })

  it('is searched by words and their beginnings, in any case, with accents or without, in any script', async () => {
    expect(await named({ q: 'cafe chauss' })).toEqual(['a-1'])
    expect(await named({ q: 'SHELF parc' })).toEqual(['a-3'])
    expect(await named({ q: '京タ' })).toEqual(['a-2'])
    expect(await named({ q: 'タ京' })).toEqual([])
    expect(await named({ q: 'acme' })).toEqual(['a-3'])
    expect(await named({ q: 'summer' })).toEqual(['a-1'])
    expect(await named({ q: 'a-3' })).toEqual(['a-3'])
    expect(await named({ q: 'parcel chaussure' })).toEqual([])
  })

  it('takes the language of the index for words, and another tenant’s for nothing', async () => {
    const other = await makeWorld()
    await put(other, { external_id: 'secret', title: 'Secret drop table', category: 'shoes', tags: ['red'] })
    const code = `e${other.tenant.id.slice(-12)}`
    for (const q of [
      'secret',
      'secret) OR (drop',
      `${code}secret`,
      `"${code}secret"*`,
      'words: secret',
      'NEAR(secret)',
    ])
      expect(await named({ q })).toEqual([])
    expect(await named({ q: 'drop OR table*' })).toEqual(['b"4'])
    // The letter by which filters are told from words is none.
    await put(world, { external_id: 'forged', title: 'x \ue000a1', available: false })
    expect(await named({ available: 'true', q: 'x' })).toEqual(['b"4'])
    expect(await named({ q: 'x \ue000a0' })).toEqual([])
    const { data } = await callJson<{ id: string }[]>('GET', '/api/v1/items?external_id=forged', {
      token: world.viewer.token,
    })
    await call('DELETE', `/api/v1/items/${data[0]?.id}`, { token: world.admin.token })
    expect(await named({ category: 'a"b OR c' })).toEqual(['b"4'])
    expect(await named({ tag: 'x" OR "y' })).toEqual(['b"4'])
    expect(await named({ category: 'shoes', tag: 'red' })).toEqual(['a-2'])
    expect(await namesOf(other, 'tag=red')).toEqual(['secret'])
  })

  it('is filtered by the time of their making, with other filters and without', async () => {
    const later = new Date(Date.now() + 60_000).toISOString()
    const hours = new Date(Date.now() - 3600_000).toISOString()
    for (const more of [{}, { tag: 'red' }, { external_id: 'a-1' }]) {
      const all = await named(more)
      expect(all.length).toBeGreaterThan(0)
      expect(await named({ created_after: hours, created_before: later, ...more })).toEqual(all)
      expect(await named({ created_after: later, ...more })).toEqual([])
      expect(await named({ created_before: hours, ...more })).toEqual([])
    }
  })

  it('refuses what it does not know', async () => {
    const refused = async (query: string) =>
      Object.keys(
        (
          await expectError(
            call('GET', `/api/v1/items?${query}`, { token: world.viewer.token }),
            'validation_failed',
          )
        ).details.fields as object,
      )
    expect(await refused('tags=red')).toEqual(['tags'])
    expect(await refused('available=yes&q=%2B%2B&category=')).toEqual(['category', 'available', 'q'])
    expect(await refused(Array.from({ length: 11 }, (_, i) => `tag=${i}`).join('&'))).toEqual(['tag'])
  })
})

describe('what a page reads', () => {
  it('is the same in a large catalogue, of what is rare and of what is not', {
    timeout: 60_000,
  }, async () => {
    const small = await makeWorld()
    const large = await makeWorld()
    const many = (n: number) =>
      Array.from({ length: n }, (_, i) => ({
        external_id: `i-${i}`,
        title: i === 0 ? 'Needle in it' : 'Hay in it',
        category: i % 2 === 0 ? 'even' : 'odd',
        tags: ['all', ...(i === 0 ? ['rare'] : [])],
        available: i !== 0,
      }))
    await put(small, many(60))
    await put(large, many(6_000))
    const filters = [
      {},
      { category: 'even' },
      { tag: ['rare'] },
      { tag: ['all'], available: false },
      { q: 'needle' },
      { q: 'hay', category: 'odd', tag: ['all'], available: true },
      { external_id: 'i-0', q: 'it' },
      { created_before: new Date(Date.now() + 3600_000).toISOString(), tag: ['rare'] },
    ]
    for (const by of filters) {
      const page = (ctx: Context) => listItems(ctx, { limit: 10, ...by })
      const [few, lots] = [await rowsRead(small.ctx, page), await rowsRead(large.ctx, page)]
      expect([by, lots]).toEqual([by, few])
    }
  })
})

import { describe, expect, it } from 'vitest'
import { expectError } from '../../http/expect-error'
import { call, callJson, makeWorld } from '../../world'
import { announced, changesOf, get, namesOf, put } from './kit'

const SHOE = {
  external_id: 'sku-1',
  title: 'Trail running shoe',
  category: 'shoes',
  tags: ['waterproof', 'red'],
  attributes: { color: 'red', size: 42, deep: { a: [1, null, true] } },
  available: false,
}

describe('an item', () => {
  it('is made of what is said of it, and read and announced so', async () => {
    const world = await makeWorld()
    const made = await put(world, SHOE)
    expect(made.status).toBe(201)
    expect(made.headers.get('Location')).toBe(`/api/v1/items/${made.data.id}`)
    expect(made.data).toEqual({
      ...SHOE,
      id: expect.any(String),
      version: 1,
      created_at: expect.stringMatching(/Z$/),
      updated_at: made.data.created_at,
    })
    expect((await get(world, made.data.id)).data).toEqual(made.data)
    expect(await announced(world)).toEqual([[{ id: made.data.id, item_id: 'sku-1', change: 'created' }]])
    expect((await put(world, { external_id: 'bare', title: ' Bare ' })).data).toMatchObject({
      ...{ title: 'Bare', category: null, tags: [], attributes: {}, available: true },
    })
  })

  it('is replaced whole by what is said again, and left alone by the same', async () => {
    const world = await makeWorld()
    const made = await put(world, SHOE)
    const same = await put(world, SHOE)
    expect([same.status, same.data]).toEqual([200, made.data])
    const again = await put(world, { external_id: 'sku-1', title: 'Road shoe' })
    expect(again.status).toBe(200)
    expect(again.headers.get('Location')).toBeNull()
    expect(again.data).toMatchObject({
      ...{ id: made.data.id, version: 2, created_at: made.data.created_at },
      ...{ title: 'Road shoe', category: null, tags: [], attributes: {}, available: true },
    })
    expect((await get(world, made.data.id)).data).toEqual(again.data)
    expect((await announced(world)).flat().map(({ change }) => change)).toEqual(['created', 'updated'])
  })

  it('is changed by what is named, if it is the one that was read', async () => {
    const world = await makeWorld()
    const { data } = await put(world, SHOE)
    const path = `/api/v1/items/${data.id}`
    const { token } = world.developer
    const patch = (body: object, headers = {}) =>
      callJson<typeof data>('PATCH', path, { token, body, headers })
    const changed = await patch(
      { available: true, category: null, attributes: { size: 43 } },
      { 'If-Match': '"v1"' },
    )
    expect(changed.data).toMatchObject({
      ...{
        title: SHOE.title,
        tags: SHOE.tags,
        category: null,
        attributes: { size: 43 },
        available: true,
        version: 2,
      },
    })
    expect((await get(world, data.id)).data).toEqual(changed.data)
    await expectError(
      call('PATCH', path, { token, body: { title: 'x' }, headers: { 'If-Match': '"v1"' } }),
      'precondition_failed',
    )
    const wrong = await patch({ external_id: 'other', title: '', tags: 'red' })
    expect(Object.keys(wrong.error.details.fields as object).sort()).toEqual(['external_id', 'tags', 'title'])
    expect(await namesOf(world, 'category=shoes')).toEqual([])
    expect(await namesOf(world, 'available=true&tag=red&q=trail')).toEqual(['sku-1'])
  })

  it('is deleted once, and another of its name is another item', async () => {
    const world = await makeWorld()
    const { data } = await put(world, SHOE)
    const path = `/api/v1/items/${data.id}`
    const { token } = world.developer
    expect((await call('DELETE', path, { token })).status).toBe(204)
    await expectError(call('DELETE', path, { token }), 'not_found')
    await expectError(call('GET', path, { token }), 'not_found')
    await expectError(call('PATCH', path, { token, body: { title: 'x' } }), 'not_found')
    expect(await namesOf(world, 'q=running')).toEqual([])
    const again = await put(world, SHOE)
    expect([again.status, again.data.id === data.id]).toEqual([201, false])
    expect((await announced(world)).flat().map(({ change }) => change)).toEqual([
      'created',
      'deleted',
      'created',
    ])
  })

  it('is told of once, under a new number, each time it changes', async () => {
    const world = await makeWorld()
    const { data } = await put(world, SHOE)
    await put(world, { external_id: 'other', title: 'Other' })
    const [shoe, other] = await changesOf(world)
    expect([shoe?.item_id, other?.item_id]).toEqual(['sku-1', 'other'])
    await put(world, SHOE)
    expect(await changesOf(world)).toEqual([shoe, other])
    const { token } = world.developer
    await call('PATCH', `/api/v1/items/${data.id}`, { token, body: { available: true } })
    const last = other?.seq ?? 0
    expect((await changesOf(world)).map(({ item_id }) => item_id)).toEqual(['other', 'sku-1'])
    expect((await changesOf(world, last)).map(({ item_id }) => item_id)).toEqual(['sku-1'])
    await call('DELETE', `/api/v1/items/${data.id}`, { token })
    expect((await changesOf(world, last + 1)).map(({ item_id }) => item_id)).toEqual(['sku-1'])
  })

  it('names every wrong field', async () => {
    const world = await makeWorld()
    const fields = async (body: object) =>
      Object.keys((await put(world, body)).error.details.fields as object).sort()
    expect(await fields({})).toEqual(['external_id', 'title'])
    expect(await fields({ ...SHOE, external_id: 'x'.repeat(256), title: 'x'.repeat(501) })).toEqual([
      'external_id',
      'title',
    ])
    expect(
      await fields({ ...SHOE, external_id: 'a\nb', title: 'a\u0000b', category: ' ', tags: ['a', ''] }),
    ).toEqual([...['category', 'external_id', 'tags.1', 'title']])
    expect(await fields({ ...SHOE, tags: Array.from({ length: 51 }, (_, i) => `t${i}`) })).toEqual(['tags'])
    expect(await fields({ ...SHOE, attributes: { text: 'x'.repeat(16 * 1024) } })).toEqual(['attributes'])
    expect(await fields({ ...SHOE, attributes: [] })).toEqual(['attributes'])
    expect(await fields({ ...SHOE, available: 'yes', id: 'x', price: 1 })).toEqual([
      'available',
      'id',
      'price',
    ])
    expect(await namesOf(world)).toEqual([])
  })

  it('is one, however many make it at once', async () => {
    const world = await makeWorld()
    const many = await Promise.all(
      Array.from({ length: 12 }, (_, i) => put(world, { external_id: 'one', title: `Title ${i}` })),
    )
    expect(many.filter(({ status }) => status === 201)).toHaveLength(1)
    expect(new Set(many.map(({ data }) => data.id)).size).toBe(1)
    expect(many.map(({ data }) => data.version).sort((a, b) => a - b)).toEqual(many.map((_, i) => i + 1))
    const last = many.find(({ data }) => data.version === many.length)
    expect((await get(world, last?.data.id ?? '')).data).toEqual(last?.data)
  })

  it('is made once by a request that is repeated with its key', async () => {
    const world = await makeWorld()
    const headers = { 'Idempotency-Key': 'a' }
    const first = await put(world, SHOE, headers)
    const again = await put(world, SHOE, headers)
    expect([again.status, again.data]).toEqual([201, first.data])
    expect(again.headers.get('Idempotency-Replayed')).toBe('true')
    expect((await put(world, { ...SHOE, title: 'x' }, headers)).error.code).toBe('idempotency_key_reused')
  })

  it('is for developers to write, for everybody in the tenant to read, and for nobody else', async () => {
    const world = await makeWorld()
    const { data } = await put(world, SHOE)
    for (const { token } of [world.member, world.viewer]) {
      await expectError(call('POST', '/api/v1/items', { token, body: SHOE }), 'insufficient_scope')
      await expectError(call('DELETE', `/api/v1/items/${data.id}`, { token }), 'insufficient_scope')
      expect((await call('GET', `/api/v1/items/${data.id}`, { token })).status).toBe(200)
    }
    const other = await makeWorld()
    for (const method of ['GET', 'DELETE'])
      await expectError(call(method, `/api/v1/items/${data.id}`, { token: other.admin.token }), 'not_found')
    expect((await put(other, SHOE)).data.id).not.toBe(data.id)
    expect(await namesOf(world)).toEqual(['sku-1'])
  })
})

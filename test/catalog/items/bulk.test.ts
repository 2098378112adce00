import { describe, expect, it } from 'vitest'
import type { Upserted } from '../../../src/domains/catalog/items/schema'
import { expectError } from '../../http/expect-error'
import { call, callJson, makeWorld, type World } from '../../world'
import { announced, csv, namesOf, ndjson, put, send } from './kit'

const one = (n: number, more: object = {}) => ({ external_id: `sku-${n}`, title: `Item ${n}`, ...more })
const counts = ({ lines, created, updated, unchanged, failed }: Upserted) => ({
  ...{ lines, created, updated, unchanged, failed },
})
const itemNamed = async (world: World, name: string) =>
  (
    await callJson<Record<string, unknown>[]>(
      'GET',
      `/api/v1/items?external_id=${encodeURIComponent(name)}`,
      {
        token: world.viewer.token,
      },
    )
  ).data[0]

describe('a list of items', () => {
  it('is kept item by item: what is new, what is otherwise, what is the same, and what is wrong', async () => {
    const world = await makeWorld()
    await put(world, [one(1), one(2)])
    const { status, data } = await put<Upserted>(world, [
      one(1),
      one(2, { title: 'Other' }),
      one(3),
      { external_id: 'sku-4' },
      'sku-5',
      { ...one(6), price: 1 },
    ])
    expect(status).toBe(200)
    expect(counts(data)).toEqual({ lines: 6, created: 1, updated: 1, unchanged: 1, failed: 3 })
    expect(data.errors).toEqual([
      { line: 4, external_id: 'sku-4', fields: { title: expect.any(String) } },
      { line: 5, external_id: null, fields: { line: 'must be an item, as an object' } },
      { line: 6, external_id: 'sku-6', fields: { price: 'is not a known field' } },
    ])
    expect(await namesOf(world)).toEqual(['sku-3', 'sku-2', 'sku-1'])
    expect(
      (await announced(world)).map((items) => items.map(({ item_id, change }) => `${item_id} ${change}`)),
    ).toEqual([['sku-1 created', 'sku-2 created'], ['sku-3 created'], ['sku-2 updated']])
  })

  it('goes by the last of equal names, as if they had come one after the other', async () => {
    const world = await makeWorld()
    const { data } = await put<Upserted>(world, [
      one(1),
      one(1, { title: 'Second' }),
      one(2),
      one(2),
      one(1, { title: 'Third' }),
    ])
    expect(counts(data)).toEqual({ lines: 5, created: 2, updated: 2, unchanged: 1, failed: 0 })
    expect(await itemNamed(world, 'sku-1')).toMatchObject({ title: 'Third', version: 1 })
    expect((await announced(world)).flat()).toHaveLength(2)
    // What becomes what it was is not written.
    const back = await put<Upserted>(world, [one(1, { title: 'Fourth' }), one(1, { title: 'Third' })])
    expect(counts(back.data)).toEqual({ lines: 2, created: 0, updated: 2, unchanged: 0, failed: 0 })
    expect(await itemNamed(world, 'sku-1')).toMatchObject({ title: 'Third', version: 1 })
  })

  it('may have ten thousand, and no more', { timeout: 60_000 }, async () => {
    const world = await makeWorld()
    const many = Array.from({ length: 10_000 }, (_, i) => one(i, { tags: [`t${i % 7}`] }))
    const { status, data } = await put<Upserted>(world, many)
    expect([status, counts(data)]).toEqual([
      200,
      { lines: 10_000, created: 10_000, updated: 0, unchanged: 0, failed: 0 },
    ])
    expect((await announced(world)).flat()).toHaveLength(10_000)
    const again = await ndjson(world, many.map((item) => JSON.stringify(item)).join('\n'))
    expect(counts(again.data)).toEqual({
      lines: 10_000,
      created: 0,
      updated: 0,
      unchanged: 10_000,
      failed: 0,
    })
    const { token } = world.developer
    const more = [...many, one(10_000)]
    const refused = await expectError(
      call('POST', '/api/v1/items', { token, body: more }),
      'payload_too_large',
    )
    expect(refused.details).toEqual({ limit_lines: 10_000 })
    const lines = `external_id,title\n${more.map(({ external_id, title }) => `${external_id},${title}`).join('\n')}`
    expect((await csv(world, lines)).error.code).toBe('payload_too_large')
    expect(await itemNamed(world, 'sku-10000')).toBeUndefined()
  })

  it('is at most 10 MiB', async () => {
    const world = await makeWorld()
    const { token } = world.developer
    const raw = `[{}${' '.repeat(10 * 1024 * 1024 - 4)}]`
    const headers = { 'Content-Type': 'application/json' }
    expect((await call('POST', '/api/v1/items', { token, raw, headers })).status).toBe(200)
    await expectError(call('POST', '/api/v1/items', { token, raw: `${raw} `, headers }), 'body_too_large')
  })

  it('is counted once by a request that is repeated with its key, of one batch and of several', async () => {
    const world = await makeWorld()
    for (const many of [[one(1)], Array.from({ length: 600 }, (_, i) => one(i + 10))]) {
      const headers = { 'Idempotency-Key': `k${many.length}` }
      const first = await put<Upserted>(world, many, headers)
      const again = await put<Upserted>(world, many, headers)
      expect(counts(again.data)).toEqual(counts(first.data))
      expect([first.data.created, again.headers.get('Idempotency-Replayed')]).toEqual([many.length, 'true'])
    }
    // One that kept nothing, too.
    const nothing = await put<Upserted>(world, [{}], { 'Idempotency-Key': 'none' })
    const same = await put<Upserted>(world, [{}], { 'Idempotency-Key': 'none' })
    expect([nothing.data.failed, same.headers.get('Idempotency-Replayed')]).toEqual([1, 'true'])
  })

  it('is written once each where two send the same at once', async () => {
    const world = await makeWorld()
    const many = Array.from({ length: 300 }, (_, i) => one(i))
    const both = await Promise.all([put<Upserted>(world, many), put<Upserted>(world, many)])
    expect(both.map(({ data }) => data.created + data.unchanged)).toEqual([300, 300])
    expect(both.reduce((sum, { data }) => sum + data.created, 0)).toBe(300)
    expect((await namesOf(world, 'limit=100')).length).toBe(300)
    expect((await announced(world)).flat()).toHaveLength(300)
  })

  it('is refused whole where it is no list, or of another type', async () => {
    const world = await makeWorld()
    const { token } = world.developer
    const sent = (raw: string, type: string) =>
      call('POST', '/api/v1/items', { token, raw, headers: { 'Content-Type': type } })
    await expectError(sent('[{"external_id":', 'application/json'), 'malformed_json')
    await expectError(sent('"sku"', 'application/json'), 'validation_failed')
    await expectError(sent('<items/>', 'application/xml'), 'unsupported_media_type')
    await expectError(sent('[]', 'text/plain'), 'unsupported_media_type')
    await expectError(sent('['.repeat(200), 'application/json'), 'malformed_json')
    await expectError(sent(`[${'['.repeat(150)}${']'.repeat(150)}]`, 'application/json'), 'validation_failed')
    for (const [type, empty] of [
      ['application/json', '[]'],
      ['application/x-ndjson', '\n\n'],
      ['text/csv', 'external_id,title\n'],
    ] as const)
      expect((await send(world, type, empty)).error.details.fields).toEqual({
        body: 'must have at least one item',
      })
  })

  it('has each of its items refused for what can’t be kept', async () => {
    const world = await makeWorld()
    const raw =
      '[{"external_id":"a","title":"\\ud800"},{"external_id":"b","title":"B","attributes":{"n":1e999}},{"external_id":"c","title":"C"}]'
    const { data } = await send(world, 'application/json', raw)
    expect(counts(data)).toEqual({ lines: 3, created: 1, updated: 0, unchanged: 0, failed: 2 })
    expect(
      data.errors.map(({ line, external_id, fields }) => [line, external_id, Object.keys(fields)]),
    ).toEqual([
      [1, 'a', ['title']],
      [2, 'b', ['attributes.n']],
    ])
  })

  it('is told of members and cells that can’t be kept, each by its name', async () => {
    const world = await makeWorld()
    const proto = '{"external_id":"a","title":"A","__proto__":1}'
    const whole = [{ line: 'must have no member called __proto__' }]
    for (const [type, raw] of [
      ['application/json', `[${proto}]`],
      ['application/x-ndjson', proto],
    ] as const)
      expect((await send(world, type, raw)).data.errors.map(({ fields }) => fields)).toEqual(whole)
    const deep = '['.repeat(101) + ']'.repeat(101)
    const rows = ['"{""__proto__"":1}"', '"{""n"":1e999}"', '{', deep]
    const raw = `external_id,title,attributes\n${rows.map((cell) => `a,A,${cell}`).join('\n')}`
    const { data } = await send(world, 'text/csv', raw)
    expect(data.errors.map(({ fields }) => fields)).toEqual([
      { 'attributes.__proto__': 'must have another name' },
      { 'attributes.n': 'must be a number within ±1.8e308' },
      { attributes: 'is not valid JSON' },
      { attributes: 'must be nested at most 100 levels deep' },
    ])
  })
})

describe('lines of JSON', () => {
  it('are kept line by line, with the numbers of the lines', async () => {
    const world = await makeWorld()
    const text = [
      `\ufeff${JSON.stringify(one(1))}`,
      '',
      '{"external_id": "broken"',
      JSON.stringify(one(2)),
      '[1]',
      `{"external_id":"deep","title":"x","attributes":${'{"a":'.repeat(120)}1${'}'.repeat(120)}}`,
      JSON.stringify(one(3)),
    ].join('\r\n')
    const { status, data } = await ndjson(world, text)
    expect([status, counts(data)]).toEqual([
      200,
      { lines: 6, created: 3, updated: 0, unchanged: 0, failed: 3 },
    ])
    expect(data.errors.map(({ line, fields }) => [line, fields])).toEqual([
      [3, { line: 'is not valid JSON' }],
      [5, { line: 'must be an item, as an object' }],
      [6, { line: 'must be nested at most 100 levels deep' }],
    ])
    expect(await namesOf(world)).toEqual(['sku-3', 'sku-2', 'sku-1'])
  })

  it('are refused one by one where they are too long, or no UTF-8', async () => {
    const world = await makeWorld()
    const bytes = new TextEncoder().encode(
      `${JSON.stringify(one(1, { attributes: { a: 'x'.repeat(140_000) } }))}\n?{"bad\n${JSON.stringify(one(2))}`,
    )
    bytes[bytes.indexOf(0x3f)] = 0xff
    const { data } = await ndjson(world, bytes)
    expect(counts(data)).toEqual({ lines: 3, created: 1, updated: 0, unchanged: 0, failed: 2 })
    expect(data.errors.map(({ line, fields }) => [line, fields.line])).toEqual([
      [1, expect.stringContaining('longer than')],
      [2, 'is not UTF-8'],
    ])
  })
})

describe('CSV', () => {
  it('is read with quotes across lines, a byte-order mark, tags, types and attributes of columns', async () => {
    const world = await makeWorld()
    const text = [
      '\ufeffExternal_ID,title,category,tags,available,attributes.Color,attributes',
      'a,"Trail ""X""\r\nrunning, shoe",shoes,red|blue,no,green,"{""size"": 42}"',
      '',
      'b,B,,"[""x, y""]",TRUE,,',
      'c,C,shoes,"red, blue;red",,,',
    ].join('\r\n')
    const { status, data } = await csv(world, text)
    expect([status, data.errors, counts(data)]).toEqual([
      ...[200, [], { lines: 3, created: 3, updated: 0, unchanged: 0, failed: 0 }],
    ])
    const shown = async (name: string) => {
      const { title, category, tags, available, attributes } = (await itemNamed(world, name)) ?? {}
      return { title, category, tags, available, attributes }
    }
    expect(await shown('a')).toEqual({
      title: 'Trail "X"\r\nrunning, shoe',
      ...{ category: 'shoes', tags: ['red', 'blue'], available: false },
      attributes: { Color: 'green', size: 42 },
    })
    expect(await shown('b')).toEqual({
      title: 'B',
      category: null,
      tags: ['x, y'],
      available: true,
      attributes: {},
    })
    expect((await shown('c')).tags).toEqual(['red', 'blue'])
  })

  it('names each wrong line by its number, and keeps the others', async () => {
    const world = await makeWorld()
    const text = [
      'external_id;title;available',
      'a;A;1',
      'b;"B',
      'of two lines";0',
      'c;too;many;fields',
      'd;"quoted" text;1',
      'e;E"E;1',
      'f;;1',
      'g;G;perhaps',
      'h;H;1',
      'i;"never closed;1',
      'j;J;1',
    ].join('\n')
    const { data } = await csv(world, text)
    expect(data.errors.map(({ line, fields }) => [line, Object.entries(fields)[0]])).toEqual([
      [5, ['line', 'has 4 fields, and the header 3']],
      [6, ['line', expect.stringContaining('after a closing quote')]],
      [7, ['line', expect.stringContaining('put it in quotes')]],
      [8, ['title', 'must not be empty']],
      [9, ['available', 'must be true or false']],
      [11, ['line', 'has a quote that is not closed']],
    ])
    expect(counts(data)).toEqual({ lines: 10, created: 4, updated: 0, unchanged: 0, failed: 6 })
    expect(await namesOf(world)).toEqual(['j', 'h', 'b', 'a'])
  })

  it('is refused whole for its header', async () => {
    const world = await makeWorld()
    const fields = async (text: string) => {
      const { status, error } = await csv(world, text)
      expect(status).toBe(422)
      return error.details.fields
    }
    expect(await fields('sku,title,price,title\na,A,1,A')).toEqual({
      'header.sku': expect.stringContaining('attributes.<name>'),
      'header.price': expect.stringContaining('is no column'),
      'header.title': 'must stand there once',
      'header.external_id': 'must be a column',
    })
    expect(await fields('')).toEqual({ header: expect.stringContaining('external_id') })
    expect(await fields('external_id,title,attributes.__proto__\n')).toEqual({
      'header.attributes.__proto__': expect.stringContaining('is no column'),
    })
    expect(await fields('external_id,"title\na,b')).toEqual({ header: 'has a quote that is not closed' })
    const utf16 = new Uint8Array([0xff, 0xfe, 0x65, 0x00])
    expect((await csv(world, utf16)).error.code).toBe('malformed_body')
    expect(await namesOf(world)).toEqual([])
  })

  it('may have no end of its last line', async () => {
    const world = await makeWorld()
    expect(counts((await csv(world, 'external_id\ttitle\ra\tA')).data).created).toBe(1)
    expect(await namesOf(world)).toEqual(['a'])
  })
})

import { describe, expect, it } from 'vitest'
import { CATALOGUE } from '../../src/domains/events/catalogue'
import type { Event } from '../../src/domains/events/schema'
import { checkerOf, schemaErrors } from '../../src/domains/events/types/json-schema'
import type { EventType } from '../../src/domains/events/types/schema'
import { connect } from '../webhooks/deliver'
import { callJson, makeWorld, type World } from '../world'

const PATH = '/api/v1/webhooks/event-types'
const ORDER = {
  type: 'object',
  properties: { order_id: { type: 'string' }, lines: { type: 'array', items: { $ref: '#/$defs/line' } } },
  required: ['order_id'],
  additionalProperties: false,
  $defs: { line: { type: 'object', properties: { sku: { type: 'string', pattern: '^[A-Z]-\\d+$' } } } },
}

const ask = <T = EventType>(world: World, method: string, path: string, body?: unknown, headers = {}) =>
  callJson<T>(method, path, {
    token: world.developer.token,
    headers,
    ...(body === undefined ? {} : { body }),
  })

const make = (world: World, body: Record<string, unknown>) =>
  ask(world, 'POST', PATH, { name: 'order.paid', ...body })

const send = (world: World, data: unknown, type = 'order.paid') =>
  ask<Event>(world, 'POST', '/api/v1/events', { type, data })

const fieldsOf = ({ error }: { error: { details: { fields?: Record<string, string> } } }) =>
  error.details.fields

describe('a type of one’s own', { timeout: 20_000 }, () => {
  it('is made, read, changed and deleted, and each change is on record', async () => {
    const world = await makeWorld()
    const made = await make(world, { schema: ORDER, validation: 'enforce', example: { order_id: 'A-1' } })
    expect(made.status).toBe(201)
    expect(made.headers.get('Location')).toBe(`${PATH}/order.paid`)
    expect(made.data).toEqual({
      ...{ name: 'order.paid', description: '', schema: ORDER, validation: 'enforce', archived: false },
      ...{ example: { order_id: 'A-1' }, built_in: false, created_at: made.data.created_at },
      updated_at: made.data.created_at,
    })
    const again = await make(world, {})
    expect([again.status, again.error.code]).toEqual([409, 'already_exists'])
    const read = await ask(world, 'GET', `${PATH}/order.paid`)
    expect(read.data).toEqual(made.data)
    const etag = read.headers.get('ETag') ?? ''
    const changed = await ask(
      world,
      'PATCH',
      `${PATH}/order.paid`,
      { description: 'Paid.' },
      { 'If-Match': etag },
    )
    expect(changed.data).toMatchObject({ description: 'Paid.', validation: 'enforce' })
    const stale = await ask(world, 'PATCH', `${PATH}/order.paid`, { description: 'x' }, { 'If-Match': etag })
    expect(stale.status).toBe(412)
    expect((await ask(world, 'DELETE', `${PATH}/order.paid`)).status).toBe(204)
    expect((await ask(world, 'GET', `${PATH}/order.paid`)).status).toBe(404)
    expect((await ask(world, 'DELETE', `${PATH}/order.paid`)).status).toBe(404)
    const log = await callJson<{ action: string }[]>('GET', '/api/v1/audit?limit=10', {
      token: world.admin.token,
    })
    const actions = log.data.map(({ action }) => action).filter((action) => action.startsWith('event_type.'))
    expect(actions).toEqual(['event_type.delete', 'event_type.update', 'event_type.create'])
  })

  it('is listed among the service’s, by name, page by page; one that is archived when it is asked for', async () => {
    const world = await makeWorld()
    await make(world, { name: 'aa.first' })
    await make(world, { name: 'zz.last' })
    await make(world, { name: 'old.one', archived: true })
    const names = async (query: string) =>
      (await ask<EventType[]>(world, 'GET', `${PATH}?${query}`)).data.map(({ name }) => name)
    const own = ['aa.first', 'zz.last']
    expect(await names('limit=100')).toEqual([...Object.keys(CATALOGUE), ...own].sort())
    expect(await names('built_in=false')).toEqual(own)
    expect(await names('built_in=true')).toEqual(Object.keys(CATALOGUE).sort())
    expect(await names('built_in=false&archived=true')).toEqual(['aa.first', 'old.one', 'zz.last'])
    const paged: string[] = []
    for (let cursor = ''; ; ) {
      const page = await ask<EventType[]>(world, 'GET', `${PATH}?limit=7${cursor}`)
      paged.push(...page.data.map(({ name }) => name))
      if (page.meta.next_cursor === null) break
      cursor = `&cursor=${page.meta.next_cursor}`
    }
    expect(paged).toEqual([...Object.keys(CATALOGUE), ...own].sort())
    const other = await makeWorld()
    expect((await ask<EventType[]>(other, 'GET', `${PATH}?built_in=false`)).data).toEqual([])
  })

  it('of the service has an example that its JSON Schema takes, and stays as it is', async () => {
    const world = await makeWorld()
    const { data } = await ask<EventType[]>(world, 'GET', `${PATH}?built_in=true&limit=100`)
    for (const { name, schema, example, built_in } of data) {
      expect([name, built_in, schemaErrors(schema ?? {})]).toEqual([name, true, {}])
      expect([name, checkerOf(schema ?? {})(example)]).toEqual([name, null])
    }
    for (const [method, body] of [['PATCH', { description: 'x' }], ['DELETE']] as const)
      expect((await ask(world, method, `${PATH}/chat.created`, body)).status).toBe(409)
    const taken = await make(world, { name: 'chat.created' })
    expect(Object.keys(fieldsOf(taken) ?? {})).toEqual(['name'])
  })

  it('gives a test delivery its example', async () => {
    const world = await makeWorld()
    await make(world, { example: { order_id: 'A-77' } })
    const { endpoint, receiver } = await connect(world, [{}], {
      event_types: ['order.paid'],
      payload: 'data',
    })
    const tested = await ask<{ event_type: string }>(
      world,
      'POST',
      `/api/v1/webhooks/${endpoint.id}/test`,
      {},
    )
    expect([tested.status, tested.data.event_type]).toEqual([200, 'order.paid'])
    const [seen] = await receiver.seen()
    expect(JSON.parse(seen?.body ?? '')).toEqual({ order_id: 'A-77' })
  })
})

/** So many references to one schema. */
const times = (count: number, name: string) => ({
  allOf: Array.from({ length: count }, () => ({ $ref: `#/$defs/${name}` })),
})
/** An object of so many members. */
const many = (count: number, value: unknown) =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, value]))

describe('a schema', { timeout: 20_000 }, () => {
  it.each<[string, Record<string, unknown>]>([
    ['a name that is no URI', { example: { $id: 'http://[' } }],
    ['the validator’s own name', { title: { $id: 'https://github.com/cfworker' } as never }],
    ['a reference that is none', { examples: { $ref: 5 } as never }],
  ])('may have %s in its notes', async (_, schema) => {
    const world = await makeWorld()
    expect((await make(world, { schema: { ...ORDER, ...schema }, validation: 'enforce' })).status).toBe(201)
    expect((await send(world, { order_id: 'A-1' })).status).toBe(201)
    expect((await send(world, { order_id: 1 })).status).toBe(422)
  })

  it.each([
    ['schemas', (inner: unknown) => ({ not: inner })],
    ['values', (inner: unknown) => ({ enum: [inner] })],
    ['notes', (inner: unknown) => ({ example: inner })],
  ])('with %s as deep as its size lets is 422 or taken, and no more', async (_, around) => {
    let schema: unknown = {}
    for (let i = 0; i < 2_500; i++) schema = around(schema)
    const world = await makeWorld()
    expect([201, 422]).toContain((await make(world, { schema, validation: 'enforce' })).status)
  })

  it('says of a name that is no text that it is none', () => {
    const check = checkerOf({ additionalProperties: { type: 'number' } })
    expect(check({ '\ud800': 'x' })).toEqual({ data: expect.stringContaining('no text') })
  })

  it('is held against a large payload whole', () => {
    const lines = Array.from({ length: 6_000 }, (_, i) => ({ sku: `A-${i}`, count: i }))
    const line = { properties: { sku: { type: 'string', pattern: '^[A-Z]-\\d+$' }, count: { minimum: 0 } } }
    const check = checkerOf({ properties: { lines: { items: { ...line, required: ['sku', 'count'] } } } })
    expect(check({ lines })).toBeNull()
    expect(check({ lines: [...lines, { sku: 'b', count: 1 }] })).toEqual({
      'data.lines.6000.sku': expect.stringContaining('must match the pattern'),
    })
    const numbers = checkerOf({ items: { type: 'number' } })
    expect(numbers(Array.from({ length: 120_000 }, () => 1))).toBeNull()
  })

  it.each<[string, unknown, string]>([
    ['a keyword that is none', { requierd: ['a'] }, 'schema.requierd'],
    ['a type that is none', { properties: { a: { type: 'text' } } }, 'schema.properties.a.type'],
    ['a schema that is none', { properties: { a: 7 } }, 'schema.properties.a'],
    ['a reference to elsewhere', { $ref: 'https://example.com/schema.json' }, 'schema.$ref'],
    ['a reference to nothing', { $ref: '#/$defs/none' }, 'schema.$ref'],
    [
      'a pattern that takes for ever',
      { properties: { a: { pattern: '(a+)+$' } } },
      'schema.properties.a.pattern',
    ],
    ['such a pattern of names', { patternProperties: { '(a+)+$': true } }, 'schema.patternProperties'],
    ['a format that is none', { properties: { a: { format: 'iban' } } }, 'schema.properties.a.format'],
    ['a format that is none of JSON Schema’s', { format: 'url' }, 'schema.format'],
    ['a reference into an example', { $ref: '#/example/a', example: { a: {} } }, 'schema.$ref'],
    ['a reference to what is no schema', { $ref: '#/%zz' }, 'schema.$ref'],
    ['another draft', { $schema: 'http://json-schema.org/draft-03/schema#' }, 'schema.$schema'],
    ['a negative length', { minLength: -1 }, 'schema.minLength'],
    ['no list', { allOf: [] }, 'schema.allOf'],
    ['too many bytes', { description: 'x'.repeat(33_000) }, 'schema'],
    ['too much in it', { anyOf: Array.from({ length: 1001 }, () => true) }, 'schema'],
  ])('with %s is 422 and names the place', async (_, schema, field) => {
    const world = await makeWorld()
    const refused = await make(world, { schema, validation: 'warn' })
    expect([refused.status, Object.keys(fieldsOf(refused) ?? {})]).toEqual([422, [field]])
    expect((await ask(world, 'GET', `${PATH}/order.paid`)).status).toBe(404)
  })

  it('that is nested too deep is 422', () => {
    let schema: Record<string, unknown> = {}
    for (let i = 0; i < 33; i++) schema = { not: schema }
    expect(Object.values(schemaErrors(schema))).toEqual([
      'must be nested at most 32 schemas deep',
      'must be nested at most 32 schemas deep',
    ])
  })

  it('must be there where something is held against it, and its example must pass', async () => {
    const world = await makeWorld()
    expect(fieldsOf(await make(world, { validation: 'enforce' }))).toEqual({
      validation: 'must be off where there is no schema',
    })
    expect(fieldsOf(await make(world, { schema: ORDER, example: { order_id: 7 } }))).toEqual({
      'example.order_id': 'must be string',
    })
    await make(world, { schema: ORDER, validation: 'warn' })
    const emptied = await ask(world, 'PATCH', `${PATH}/order.paid`, { schema: null })
    expect(Object.keys(fieldsOf(emptied) ?? {})).toEqual(['validation'])
  })

  it('costs no more than it may, whatever it says of whatever data', () => {
    const doubling = Object.fromEntries(
      Array.from({ length: 40 }, (_, i) => [
        `d${i}`,
        { anyOf: [{ $ref: `#/$defs/d${(i + 1) % 41}` }, { $ref: `#/$defs/d${(i + 1) % 41}` }] },
      ]),
    )
    const schemas: [Record<string, unknown>, unknown][] = [
      [{ $ref: '#' }, {}],
      [{ $ref: '#/$defs/d0', $defs: { ...doubling, d40: false } }, {}],
      [
        { properties: { list: { uniqueItems: true } } },
        { list: Array.from({ length: 50_000 }, (_, i) => i) },
      ],
      [
        {
          properties: { list: { allOf: Array.from({ length: 300 }, () => ({ items: { type: 'number' } })) } },
        },
        { list: Array.from({ length: 60_000 }, (_, i) => i) },
      ],
      [{ patternProperties: { 'a*a*$': true } }, { [`${'a'.repeat(200_000)}!`]: 1 }],
      [{ properties: { a: { pattern: '^a*a*a*$' } } }, { a: 'a'.repeat(200_000) }],
      [{ additionalProperties: { pattern: '^a*a*a*$' } }, many(1_000, `${'a'.repeat(100)}!`)],
      [{ additionalProperties: { enum: Array.from({ length: 6_000 }, (_, i) => i) } }, many(20_000, -1)],
      [
        { $ref: '#/$defs/b', $defs: { b: times(90, 'a'), a: times(90, 'c'), c: { minLength: 9 } } },
        'x'.repeat(250_000),
      ],
      [
        {
          ...times(100, 'b'),
          $defs: { b: times(90, 'a'), a: { additionalProperties: { type: 'number' } } },
        },
        many(10_000, 1),
      ],
    ]
    for (const [schema, data] of schemas) {
      expect(schemaErrors(schema)).toEqual({})
      const started = performance.now()
      expect(checkerOf(schema)(data)).toEqual({ data: expect.stringContaining('is too much') })
      expect(performance.now() - started).toBeLessThan(3_000)
    }
  })
})

describe('an event whose type has a schema', { timeout: 20_000 }, () => {
  it('is refused where that is enforced, each place named, and nothing is stored', async () => {
    const world = await makeWorld()
    await make(world, { schema: ORDER, validation: 'enforce' })
    const refused = await send(world, { lines: [{ sku: 'A-1' }, { sku: 'nonsense' }, 7], colour: 'red' })
    expect(refused.status).toBe(422)
    expect(fieldsOf(refused)).toEqual({
      'data.order_id': 'is required by the schema',
      'data.colour': 'is not allowed by the schema',
      'data.lines.1.sku': 'must match the pattern ^[A-Z]-\\d+$',
      'data.lines.2': 'must be object',
    })
    const listed = await ask<Event[]>(world, 'GET', '/api/v1/events?type=order.paid')
    expect(listed.data).toEqual([])
    const taken = await send(world, { order_id: 'A-1', lines: [{ sku: 'B-2' }] })
    expect([taken.status, taken.data.schema_error]).toEqual([201, null])
    expect((await send(world, { anything: true }, 'order.lost')).status).toBe(201)
  })

  it('is marked where that warns, and found by it', async () => {
    const world = await makeWorld()
    await make(world, { schema: ORDER, validation: 'warn' })
    const good = await send(world, { order_id: 'A-1' })
    const bad = await send(world, { order_id: 7 })
    expect([good.status, bad.status]).toEqual([201, 201])
    expect([good.data.schema_error, bad.data.schema_error]).toEqual([null, 'data.order_id must be string'])
    const found = await ask<Event[]>(world, 'GET', '/api/v1/events?schema_error=true')
    expect(found.data.map(({ id, schema_error }) => [id, schema_error])).toEqual([
      [bad.data.id, 'data.order_id must be string'],
    ])
    const ofType = async (type: string, more = '') =>
      (await ask<Event[]>(world, 'GET', `/api/v1/events?schema_error=true&type=${type}${more}`)).data
    expect(await ofType('order.lost')).toEqual([])
    expect((await ofType('order.paid')).map(({ id }) => id)).toEqual([bad.data.id])
    expect(await ofType('order.paid', `&created_before=${bad.data.timestamp}`)).toEqual([])
  })

  it('is held against what the type says at that moment, also where another isolate changed it', async () => {
    const world = await makeWorld()
    await make(world, { schema: ORDER, validation: 'enforce' })
    const wrong = { order_id: 7 }
    expect((await send(world, wrong)).status).toBe(422)
    for (const [change, status] of [
      [{ validation: 'off' }, 201],
      [{ validation: 'enforce' }, 422],
      [{ schema: { type: 'object' } }, 201],
      [{ schema: ORDER }, 422],
    ] as const) {
      await ask(world, 'PATCH', `${PATH}/order.paid`, change)
      expect([change, (await send(world, wrong)).status]).toEqual([change, status])
    }
    await ask(world, 'DELETE', `${PATH}/order.paid`)
    expect((await send(world, wrong)).status).toBe(201)
    await make(world, { schema: ORDER, validation: 'enforce' })
    expect((await send(world, wrong)).status).toBe(422)
  })

  it('of a type that does not exist is refused by a tenant that wants it so', async () => {
    const world = await makeWorld({ settings: { unknown_event_types: 'refuse' } })
    const refused = await send(world, {})
    expect([refused.status, Object.keys(fieldsOf(refused) ?? {})]).toEqual([422, ['type']])
    await make(world, {})
    expect((await send(world, {})).status).toBe(201)
    const { endpoint } = await connect(world, [{}], {
      event_types: ['order.paid', 'order.*', 'chat.created'],
    })
    const path = `/api/v1/webhooks/${endpoint.id}`
    const types = { event_types: ['order.paid', 'order.piad', 'nothing.*'] }
    expect(fieldsOf(await ask(world, 'PATCH', path, types))).toEqual({
      'event_types.1': expect.stringContaining('make it first'),
    })
    const tested = await ask(world, 'POST', `${path}/test`, { type: 'order.piad' })
    expect([tested.status, Object.keys(fieldsOf(tested) ?? {})]).toEqual([422, ['type']])
    await ask(world, 'DELETE', `${PATH}/order.paid`)
    expect((await send(world, {})).status).toBe(422)
  })
})

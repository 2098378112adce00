import { Hono } from 'hono'
import { describe, expect, it } from 'vitest'
import * as z from 'zod'
import { app } from '../../src/app'
import { about as ours } from '../../src/domains/operations/docs/about'
import { allow } from '../../src/domains/tenancy/authorize'
import type { AppEnv } from '../../src/http/app-env'
import { openApiDocument, operationId, operationsOf } from '../../src/http/openapi'
import { exampleOf } from '../../src/http/openapi-examples'
import { Schemas } from '../../src/http/openapi-schemas'
import {
  body,
  doc,
  Id,
  open,
  paging,
  params,
  query,
  returns,
  returnsNothing,
  returnsPage,
} from '../../src/http/route'
import { PROBLEMS } from '../../src/lib/problem'
import { call } from '../world'

type Json = Record<string, unknown>
type Answer = {
  description: string
  headers?: Json
  content?: Record<string, { schema: Json; example?: unknown; examples?: Json }>
}
type Operation = {
  operationId: string
  summary: string
  description?: string
  tags: string[]
  security: Json[]
  parameters: { name?: string; in?: string; required?: boolean; schema?: Json; $ref?: string }[]
  requestBody?: { content: Record<string, { schema: Json; example: unknown }> }
  responses: Record<string, Answer>
  'x-required-scopes'?: string[]
}
type Document = {
  openapi: string
  servers: { url: string }[]
  tags: { name: string }[]
  paths: Record<string, Record<string, Operation>>
  components: Record<string, Record<string, Json>>
}

const about = { ...ours, tags: { ...ours.tags, Boats: 'Things that float.' }, server: '/' }

const Boat = z
  .object({
    id: Id,
    name: z.string(),
    crew: z.int().min(2).default(2),
    version: z.int(),
    built: z.iso.date(),
  })
  .meta({ id: 'Boat' })
const NewBoat = z.strictObject({
  name: z.string().min(3),
  crew: z.int().default(2),
  rig: z.json().optional(),
})

function fleet() {
  const boats = new Hono<AppEnv>()
    .get(
      '/',
      doc('List boats', { tag: 'Boats' }),
      allow('chats:read'),
      query(paging),
      returnsPage(Boat),
      (c) => c.var.reply({ items: [], next_cursor: null }),
    )
    .post(
      '/',
      doc('Launch a boat', { tag: 'Boats', errors: ['already_exists'] }),
      allow('chats:write', 'agents:read'),
      body(NewBoat),
      returns(201, Boat),
      (c) => c.json({}),
    )
    .get(
      '/:id',
      doc('Read a boat', { tag: 'Boats' }),
      allow('chats:read'),
      params({ id: Id }),
      returns(200, Boat),
      (c) => c.json({}),
    )
    .delete(
      '/:id',
      doc('Sink a boat', { tag: 'Boats' }),
      allow('chats:write'),
      params({ id: Id }),
      returnsNothing(),
      (c) => c.var.reply(undefined),
    )
  return new Hono<AppEnv>({ strict: false })
    .use((_c, next) => next())
    .route('/api/v1/boats', boats)
    .get(
      '/tide',
      doc('The tide', { also: [{ status: 200, schema: null, contentType: 'text/event-stream' }] }),
      open(),
      returns(200, z.object({ m: z.number() }), { bare: true }),
      (c) => c.var.reply({ m: 1 }),
    )
    .get('/hidden', doc('A page', { hidden: true }), open(), (c) => c.text(''))
    .get('/unnoted', (c) => c.text(''))
}

const make = (from: Hono<AppEnv>) => openApiDocument(from, about) as unknown as Document

function at(document: Document, path: string, method: string): Operation {
  const operation = document.paths[path]?.[method]
  if (!operation) throw new Error(`${method} ${path} is not in the document`)
  return operation
}

describe('the OpenAPI document', () => {
  const document = make(fleet())

  it('holds the noted routes, by path and method, and no others', () => {
    expect(Object.entries(document.paths).map(([path, methods]) => [path, Object.keys(methods)])).toEqual([
      ['/api/v1/boats', ['get', 'post']],
      ['/api/v1/boats/{id}', ['get', 'delete']],
      ['/tide', ['get']],
    ])
    expect(document.tags).toEqual([
      { name: 'Boats', description: 'Things that float.' },
      { name: 'Operations', description: ours.tags.Operations },
    ])
  })

  it('says who may call', () => {
    const post = at(document, '/api/v1/boats', 'post')
    expect(post['x-required-scopes']).toEqual(['chats:write', 'agents:read'])
    expect(post.description).toBe('Needs `chats:write` and `agents:read`.')
    expect(post.security).toEqual([{ HTTPBearer: [] }, { APIKey: [] }, { Cookie: [] }])
    expect(at(document, '/tide', 'get').security).toEqual([])
  })

  it('describes parameters from their schemas', () => {
    const get = at(document, '/api/v1/boats', 'get')
    const limit = get.parameters.find((parameter) => parameter.name === 'limit')
    expect(limit).toMatchObject({
      in: 'query',
      required: false,
      schema: { type: 'integer', minimum: 1, maximum: 100, default: 50 },
    })
    const id = at(document, '/api/v1/boats/{id}', 'get').parameters[0]
    expect(id).toMatchObject({
      name: 'id',
      in: 'path',
      required: true,
      schema: { type: 'string', format: 'uuid' },
    })
  })

  it('gives no parameter an example, which Swagger UI would send', () => {
    expect(JSON.stringify([document.paths, document.components.parameters])).not.toMatch(
      /"in":"(?:path|query|header)"[^{}]*("schema":\{[^{}]*\}[^{}]*)?"examples?":/,
    )
    const id = at(document, '/api/v1/boats/{id}', 'get').parameters[0]
    expect(id).toMatchObject({ description: expect.stringMatching(/^For example `[0-9a-f-]{36}`\.$/) })
  })

  it('offers the headers that mean something there', () => {
    const offered = (path: string, method: string) =>
      at(document, path, method).parameters.flatMap((p) => p.$ref?.split('/').at(-1) ?? [])
    expect(offered('/api/v1/boats', 'get')).toEqual(['TenantId', 'TargetTenantId', 'ActiveTenantId'])
    expect(offered('/api/v1/boats', 'post')).toEqual([
      'TenantId',
      'TargetTenantId',
      'ActiveTenantId',
      'IdempotencyKey',
    ])
    expect(offered('/api/v1/boats/{id}', 'get')).toEqual([
      'TenantId',
      'TargetTenantId',
      'ActiveTenantId',
      'IfNoneMatch',
    ])
    expect(offered('/api/v1/boats/{id}', 'delete')).toEqual([
      'TenantId',
      'TargetTenantId',
      'ActiveTenantId',
      'IdempotencyKey',
      'IfMatch',
    ])
    expect(offered('/tide', 'get')).toEqual([])
  })

  it('wraps answers as they are wrapped', () => {
    const schemaOf = (path: string, method: string, status: string) =>
      at(document, path, method).responses[status]?.content?.['application/json']?.schema
    const ref = (name: string) => ({ $ref: `#/components/schemas/${name}` })
    expect(schemaOf('/api/v1/boats/{id}', 'get', '200')).toMatchObject({
      properties: { data: ref('Boat'), meta: ref('Meta') },
    })
    expect(schemaOf('/api/v1/boats', 'get', '200')).toMatchObject({
      properties: { data: { type: 'array', items: ref('Boat') }, meta: ref('PageMeta') },
    })
    expect(schemaOf('/tide', 'get', '200')).toMatchObject({ properties: { m: { type: 'number' } } })
    expect(at(document, '/api/v1/boats/{id}', 'delete').responses['204']?.content).toBeUndefined()
  })

  it('shows answers of one status beside each other, by content type', () => {
    const content = at(document, '/tide', 'get').responses['200']?.content
    expect(Object.keys(content ?? {})).toEqual(['application/json', 'text/event-stream'])
    expect(content?.['text/event-stream']?.schema).toEqual({ type: 'string' })
  })

  it('shows examples of bodies and answers that their schemas accept', () => {
    const post = at(document, '/api/v1/boats', 'post')
    const sent = post.requestBody?.content['application/json']?.example
    expect(NewBoat.parse(sent)).toMatchObject({ name: 'Example' })
    const answer = post.responses['201']?.content?.['application/json']?.example as { data: unknown }
    expect(Boat.parse(answer.data)).toMatchObject({ crew: 2, built: '2026-01-31' })
  })

  it('lists the errors that can come, by status, each with its code', () => {
    const { responses } = at(document, '/api/v1/boats', 'post')
    const codes = (status: string) =>
      Object.keys(responses[status]?.content?.['application/json']?.examples ?? {})
    expect(Object.keys(responses)).toEqual([
      '201',
      '400',
      '401',
      '403',
      '409',
      '413',
      '415',
      '422',
      '429',
      '500',
    ])
    expect(codes('409')).toEqual(['already_exists', 'idempotency_in_progress'])
    expect(codes('422')).toEqual(['validation_failed', 'idempotency_key_reused'])
    expect(responses['429']?.headers).toHaveProperty('Retry-After')
    expect(responses['401']?.headers).toHaveProperty('WWW-Authenticate')
    expect(Object.keys(at(document, '/tide', 'get').responses)).toEqual(['200', '400', '429', '500'])
    expect(document.components.schemas?.Error).toMatchObject({
      properties: { error: { properties: { code: { enum: Object.keys(PROBLEMS) } } } },
    })
  })

  it('gives operations names that follow from their paths', () => {
    expect(operationId('post', '/api/v1/chats/{id}/stop')).toBe('postChatsByIdStop')
    expect(operationId('get', '/api/v1/auth/api-keys')).toBe('getAuthApiKeys')
    expect(operationId('patch', '/api/v2/service/enable')).toBe('patchApiV2ServiceEnable')
    expect(operationId('post', '/api/v2/{network_id}/interactions/register')).toBe(
      'postApiV2ByNetworkIdInteractionsRegister',
    )
  })
})

describe('named schemas', () => {
  it('become two where body and answer differ, and so does what refers to them', () => {
    const Inner = z.object({ n: z.int().default(1) }).meta({ id: 'Inner' })
    const Outer = z.object({ inner: Inner }).meta({ id: 'Outer' })
    const Same = z.object({ s: z.string() }).meta({ id: 'Same' })
    const schemas = new Schemas()
    const sent = schemas.of(z.array(Outer), 'input')
    const answered = schemas.of(Outer, 'output')
    schemas.of(Same, 'input')
    schemas.of(Same, 'output')
    const { components, rename } = schemas.resolve()
    expect(Object.keys(components).sort()).toEqual(['Inner', 'InnerInput', 'Outer', 'OuterInput', 'Same'])
    expect(rename(sent)).toEqual({ type: 'array', items: { $ref: '#/components/schemas/OuterInput' } })
    expect(rename(answered)).toEqual({ $ref: '#/components/schemas/Outer' })
    expect(components.InnerInput?.required).toBeUndefined()
    expect(components.Inner?.required).toEqual(['n'])
  })

  it('must not share an id', () => {
    const schemas = new Schemas()
    schemas.of(z.object({ a: z.string() }).meta({ id: 'Twice' }), 'output')
    expect(() => schemas.of(z.object({ a: z.int() }).meta({ id: 'Twice' }), 'output')).toThrow('Twice')
  })

  it('are needed for recursion, but not for any JSON', () => {
    const schemas = new Schemas()
    const any = schemas.of(z.object({ a: z.record(z.string(), z.json()) }), 'input')
    expect(any.properties).toEqual({ a: { type: 'object', additionalProperties: {} } })
    expect(schemas.resolve().components).toEqual({})
    const Tree = z.object({
      get leaves() {
        return z.array(Tree)
      },
    })
    expect(() => schemas.of(z.object({ tree: Tree }), 'input')).toThrow('.meta({ id })')
  })
})

describe('examples', () => {
  it.each([
    ['its own example', z.string().meta({ example: 'x' }), 'x'],
    ['a format', z.email(), 'ada@example.com'],
    ['lengths', z.string().min(9).max(9), 'aaaaaaaaa'],
    ['a pattern', z.string().regex(/^a+$/), 'a'],
    ['a range', z.int().min(7).max(9), 7],
    ['a choice', z.enum(['b', 'c']), 'b'],
    ['what is not null', z.union([z.null(), z.literal('y')]), 'y'],
    ['a list', z.array(z.boolean()), [true]],
    ['a record', z.record(z.string(), z.int()), {}],
  ])('follow %s', (_, schema, expected) => {
    expect(exampleOf(new Schemas().of(schema, 'input'), {}, true)).toEqual(expected)
  })
})

describe('the document of this service', () => {
  const document = make(app)
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  )

  it('is served, with the address it was asked at', async () => {
    const answer = await call('GET', '/openapi.json')
    expect(answer.headers.get('Content-Type')).toContain('application/json')
    const served = await answer.json<Document>()
    expect(served.openapi).toBe('3.1.0')
    expect(served.servers).toEqual([{ url: 'http://localhost:8787' }])
    expect(Object.keys(served.paths)).toEqual(Object.keys(document.paths))
  })

  it('gives every operation a summary and a name of its own', () => {
    const names = operations.map(({ operation }) => operation.operationId)
    expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([])
    expect(operations.filter(({ operation }) => /^[A-Z]+ \//.test(operation.summary))).toEqual([])
  })

  it('says of every operation who may call it and what is answered', () => {
    const silent = operations.filter(({ operation }) => {
      const good = Object.keys(operation.responses).some((status) => /^[123]/.test(status))
      const isOpen = operation.security.length === 0
      return !good || (!isOpen && (!operation.responses['401'] || !operation['x-required-scopes']))
    })
    expect(silent.map(({ method, path }) => `${method} ${path}`)).toEqual([])
  })

  it('refers to nothing that it does not hold', () => {
    const text = JSON.stringify(document)
    for (const [, kind = '', name = ''] of text.matchAll(/"\$ref":"#\/components\/(\w+)\/([^"]+)"/g))
      expect(document.components[kind], `${kind} ${name}`).toHaveProperty([name])
    expect(text).not.toContain('"$ref":"#/$defs')
  })

  it('tells of ETag and If-Match where there is one resource without an id, as where there is one with', () => {
    for (const path of ['/api/v1/auth/me', '/api/v1/tenants/current', '/api/v1/service']) {
      expect(Object.keys(at(document, path, 'get').responses), path).toContain('304')
      expect(Object.keys(at(document, path, 'patch').responses), path).toContain('412')
    }
  })

  it('describes every tag', () => {
    const known = new Set(document.tags.map((tag) => tag.name))
    const silent = operations.flatMap(({ operation }) => operation.tags.filter((tag) => !known.has(tag)))
    expect([...new Set(silent)]).toEqual([])
  })

  it('shows bodies that validation takes', () => {
    const refused = operationsOf(app).flatMap(({ method, path, note }) => {
      if (note.body?.contentType !== 'application/json') return []
      const example = at(document, path, method).requestBody?.content['application/json']?.example
      const result = note.body.schema.safeParse(example)
      return result.success ? [] : [`${method} ${path}: ${JSON.stringify(result.error.issues)}`]
    })
    expect(refused).toEqual([])
  })
})

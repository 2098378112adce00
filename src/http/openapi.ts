import type { Hono } from 'hono'
import * as z from 'zod'
import type { ProblemCode } from '../lib/problem'
import type { AppEnv } from './app-env'
import { isCounted } from './counted'
import { mergeNotes, type Note, noteOf } from './notes'
import { codesOf, ErrorAnswer, errorAnswers, errorExample, OF_ONE, takesVersion } from './openapi-errors'
import { exampleOf } from './openapi-examples'
import { HEADERS, LIMIT_HEADERS, PARAMETERS, ref, SECURITY_SCHEMES } from './openapi-parts'
import { type JsonSchema, Schemas } from './openapi-schemas'

/** What the document says of the service as a whole. */
export type About = {
  title: string
  version: string
  description: string
  /** What each tag holds; a tag without a line here is shown without one. */
  tags: Record<string, string>
  server: string
}

type Operation = { method: string; path: string; note: Note }
type Answer = NonNullable<Note['returns']>

/** The routes that carry notes, in the order of the route table: `/api/v1/chats/:id` reads `/api/v1/chats/{id}`. */
export function operationsOf(app: Hono<AppEnv>): Operation[] {
  const handlers = new Map<string, unknown[]>()
  for (const route of app.routes) {
    if (route.method === 'ALL') continue
    const path = route.path.replace(/(.)\/$/, '$1').replace(/:(\w+)(?:\{[^}]*\})?/g, '{$1}')
    const key = `${route.method.toLowerCase()} ${path}`
    handlers.set(key, [...(handlers.get(key) ?? []), route.handler])
  }
  return [...handlers].flatMap(([key, list]) => {
    const [method = '', path = ''] = key.split(' ')
    const note = mergeNotes(list)
    return !list.some(noteOf) || note.hidden ? [] : [{ method, path, note }]
  })
}

/** The OpenAPI 3.1 document of everything that the route table holds. */
export function openApiDocument(app: Hono<AppEnv>, about: About): Record<string, unknown> {
  const schemas = new Schemas()
  const error = schemas.of(ErrorAnswer, 'output')
  const meta = { one: schemas.of(Meta, 'output'), page: schemas.of(PageMeta, 'output') }
  const operations = operationsOf(app)
  const used = new Set<ProblemCode>()
  const paths: Record<string, Record<string, unknown>> = {}
  for (const { method, path, note } of operations) {
    const codes = codesOf(method, path, note)
    for (const code of codes) used.add(code)
    paths[path] = { ...paths[path], [method]: operation({ method, path, note }, codes, schemas, error, meta) }
  }
  const { components, rename } = schemas.resolve()
  const document = rename({
    openapi: '3.1.0',
    info: {
      title: about.title,
      version: about.version,
      description: about.description,
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: about.server }],
    tags: [...new Set(operations.map(tagOf))].flatMap((name) =>
      about.tags[name] ? [{ name, description: about.tags[name] }] : [],
    ),
    paths,
    components: {
      securitySchemes: SECURITY_SCHEMES,
      parameters: PARAMETERS,
      headers: HEADERS,
      examples: Object.fromEntries([...used].map((code) => [code, errorExample(code)])),
      schemas: components,
    },
  })
  fillExamples(document.paths, components)
  return document
}

const Meta = z.object({ request_id: z.string(), ts: z.iso.datetime() }).meta({ id: 'Meta' })
const PageMeta = z
  .object({
    next_cursor: z.string().nullable().meta({ description: 'The `cursor` of the next page, or null.' }),
    request_id: z.string(),
    ts: z.iso.datetime(),
  })
  .meta({ id: 'PageMeta' })

/** Stable as long as the path is: `POST /api/v1/chats/{id}/stop` is `postChatsByIdStop`. */
export function operationId(method: string, path: string): string {
  const words = path
    .replace(/^\/api\/v1\//, '/')
    .replaceAll('{', 'by-')
    .split(/[^A-Za-z0-9]+/)
  return method + words.map((word) => word.replace(/^./, (first) => first.toUpperCase())).join('')
}

function tagOf({ path, note }: Operation): string {
  const resource =
    /^\/api\/v1\/([^/]+)/.exec(path)?.[1] ?? /^\/api\/(platform|admin|tenant)\b/.exec(path)?.[1]
  const words =
    note.tag ?? resource?.replaceAll('-', ' ') ?? (path.startsWith('/api/') ? 'legacy paths' : 'operations')
  return words.replace(/^./, (first) => first.toUpperCase())
}

function operation(
  op: Operation,
  codes: ProblemCode[],
  schemas: Schemas,
  error: JsonSchema,
  meta: { one: JsonSchema; page: JsonSchema },
): Record<string, unknown> {
  const { method, path, note } = op
  const scopes = note.scopes ?? []
  const needs = scopes.length > 0 ? `Needs ${scopes.map((scope) => `\`${scope}\``).join(' and ')}.` : ''
  const description = [note.description, needs].filter(Boolean).join('\n\n')
  const answers = [note.returns, ...(note.also ?? [])].filter((answer) => answer !== undefined)
  const { dialect } = note
  const refusal = dialect && ((status: number) => schemas.of(dialect.refusalSchema(status), 'output'))
  return {
    // Another product has names of its own for what may be called the same here.
    operationId: dialect
      ? dialect.name + operationId('', `/${method}${path.slice('/api/v1'.length)}`)
      : operationId(method, path),
    summary: note.summary ?? `${method.toUpperCase()} ${path}`,
    ...(description ? { description } : {}),
    tags: [tagOf(op)],
    security: note.open ? [] : [{ HTTPBearer: [] }, { APIKey: [] }, { Cookie: [] }],
    ...(note.open ? {} : { 'x-required-scopes': scopes }),
    parameters: parametersOf(op, schemas),
    ...(note.body ? { requestBody: requestBody(note.body, schemas) } : {}),
    responses: {
      ...errorAnswers(codes, error, refusal),
      ...successes(op, answers, schemas, meta),
      ...(isOneResource(op) ? { 304: { description: 'Unchanged since the ETag in If-None-Match.' } } : {}),
    },
  }
}

/** `GET` on one resource carries an ETag and takes If-None-Match. */
const isOneResource = ({ method, path, note }: Operation): boolean =>
  method === 'get' &&
  OF_ONE.test(path) &&
  note.returns !== undefined &&
  !note.returns.page &&
  note.returns.contentType === undefined

/** What X-Target-Tenant-ID and X-Active-Tenant-Id don't move: the platform's routes, and those about the caller. */
const isTheSameEverywhere = ({ path, note }: Operation): boolean =>
  note.scopes?.some((scope) => scope.startsWith('platform:')) === true ||
  (note.scopes?.length === 0 && path.startsWith('/api/v1/auth/'))

function parametersOf(op: Operation, schemas: Schemas): unknown[] {
  const { method, path, note } = op
  const list: unknown[] = []
  const declared = note.params ? schemas.of(note.params, 'input') : {}
  const inPath = (declared.properties ?? {}) as Record<string, JsonSchema>
  for (const [, name = ''] of path.matchAll(/\{(\w+)\}/g))
    list.push(parameter('path', name, inPath[name] ?? { type: 'string' }, true))
  const query = note.query ? schemas.of(note.query, 'input') : {}
  const required = (query.required ?? []) as string[]
  for (const [name, schema] of Object.entries((query.properties ?? {}) as Record<string, JsonSchema>))
    list.push(parameter('query', name, schema, required.includes(name)))
  if (!note.open) list.push(ref('parameters', path.startsWith('/api/tenant/') ? 'OwnTenantId' : 'TenantId'))
  if (!note.open && !isTheSameEverywhere(op))
    list.push(ref('parameters', 'TargetTenantId'), ref('parameters', 'ActiveTenantId'))
  if (method !== 'get' && note.idempotency !== 'ignored') list.push(ref('parameters', 'IdempotencyKey'))
  if (takesVersion(method, path)) list.push(ref('parameters', 'IfMatch'))
  if (isOneResource(op)) list.push(ref('parameters', 'IfNoneMatch'))
  return list
}

/** An example goes into the words: Swagger UI would fill it in, and so send a filter or an id that nobody chose. */
function parameter(where: string, name: string, schema: JsonSchema, required: boolean): unknown {
  const { description, examples, ...rest } = schema
  const example = Array.isArray(examples) ? `For example \`${examples[0]}\`.` : ''
  const words = [description, example].filter(Boolean).join(' ')
  return { name, in: where, required, ...(words ? { description: words } : {}), schema: rest }
}

/** Marks where `fillExamples` puts an example once the components are known. */
const MAKE = { make: 'example' }

function requestBody(note: NonNullable<Note['body']>, schemas: Schemas): unknown {
  const media = { schema: schemas.of(note.schema, 'input'), example: note.example ?? MAKE }
  const or = note.or
    ? { [note.or.contentType]: { schema: schemas.of(note.or.schema, 'input'), example: MAKE } }
    : {}
  return { required: true, content: { [note.contentType]: media, ...or } }
}

/** The good answers by status; those of one status differ in their content type (a stream, or JSON). */
function successes(
  op: Operation,
  answers: Answer[],
  schemas: Schemas,
  meta: { one: JsonSchema; page: JsonSchema },
) {
  const byStatus: Record<number, { description: string; content?: Record<string, unknown> }> = {}
  for (const answer of answers) {
    const made = success(op, answer, schemas, answer.page ? meta.page : meta.one)
    const before = byStatus[answer.status]
    byStatus[answer.status] = before ? { ...before, content: { ...before.content, ...made.content } } : made
  }
  return byStatus
}

function success(
  op: Operation,
  answer: Answer,
  schemas: Schemas,
  meta: JsonSchema,
): {
  description: string
  content?: Record<string, unknown>
} {
  const headers: string[] = ['X-Request-ID', 'X-Correlation-ID']
  if (isCounted(op.path)) headers.push(...LIMIT_HEADERS)
  if (answer.status === 201) headers.push('Location')
  if (isOneResource(op)) headers.push('ETag')
  const described = {
    description: answer.description ?? (answer.status === 204 ? 'Done' : 'The answer'),
    headers: Object.fromEntries(headers.map((name) => [name, ref('headers', name)])),
  }
  if (!answer.schema && !answer.contentType) return described
  const value = answer.schema ? schemas.of(answer.schema, 'output') : { type: 'string' }
  const data = answer.page ? { type: 'array', items: value } : value
  const enveloped = { type: 'object', required: ['data', 'meta'], properties: { data, meta } }
  const schema = answer.bare || answer.contentType ? data : enveloped
  const example = answer.contentType ? {} : { example: MAKE }
  return { ...described, content: { [answer.contentType ?? 'application/json']: { schema, ...example } } }
}

function fillExamples(node: unknown, components: Record<string, JsonSchema>, inBody = false): void {
  if (typeof node !== 'object' || node === null) return
  const media = node as { schema?: JsonSchema; example?: { make?: string } | null }
  if (media.schema && media.example?.make === MAKE.make)
    media.example = exampleOf(media.schema, components, inBody) as never
  for (const [key, child] of Object.entries(node))
    if (key !== 'schema' && key !== 'example')
      fillExamples(child, components, inBody || key === 'requestBody')
}

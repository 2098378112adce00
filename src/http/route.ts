import type { Context as HonoContext, MiddlewareHandler } from 'hono'
import * as z from 'zod'
import type { StoredAnswer } from '../data/context'
import type { Page } from '../data/page'
import { fieldErrors } from '../lib/fields'
import { iso } from '../lib/ids'
import { problem } from '../lib/problem'
import { answerWith } from './answer-headers'
import type { AppEnv } from './app-env'
import { jsonOf, readText, refuseUnusable } from './body'
import { type Note, noted, onlyNoted, type Print, routeOf } from './notes'

// The words of a route:
//   .post('/', doc('Create an endpoint'), allow('webhooks:write'), body(CreateEndpoint), returns(201, Endpoint), handler)
// One zod schema validates, types the handler, documents the operation and filters the answer.

/** Summary (and more) of an operation, for the document. */
export function doc(summary: string, note: Omit<Note, 'summary'> = {}): MiddlewareHandler<AppEnv> {
  return onlyNoted({ summary, ...note })
}

/** Marks a route that needs no credential; one that is sent is ignored. */
export function open(): MiddlewareHandler<AppEnv> {
  return onlyNoted({ open: true })
}

/** Keeps what the schema makes of a value for `c.req.valid(target)`; refuses it with every wrong field. */
async function validate(
  c: HonoContext<AppEnv>,
  target: 'param' | 'query' | 'json',
  schema: z.ZodType,
  value: unknown,
): Promise<void> {
  const result = await schema.safeParseAsync(value)
  if (!result.success) throw problem.invalid(fieldErrors(result.error.issues))
  c.req.addValidatedData(target, result.data as object)
}

type Validated<Target extends string, S extends z.ZodType> = MiddlewareHandler<
  AppEnv,
  string,
  { in: { [K in Target]: z.input<S> }; out: { [K in Target]: z.output<S> } }
>

/** Path parameters. `params({ id: Id })` */
export function params<T extends z.ZodRawShape>(shape: T): Validated<'param', z.ZodObject<T>> {
  const schema = z.object(shape)
  const middleware: MiddlewareHandler<AppEnv> = async (c, next) => {
    await validate(c, 'param', schema, c.req.param())
    return next()
  }
  return noted(middleware as never, { params: schema as never })
}

/**
 * Query parameters; an unknown one is refused, since a filter that is ignored answers the wrong question. Only clients of
 * another product's protocol may send what is not known here.
 */
export function query<T extends z.ZodRawShape>(
  shape: T,
  options: { unknown?: 'ignored' } = {},
): Validated<'query', z.ZodObject<T>> {
  const schema = options.unknown === 'ignored' ? z.object(shape) : z.strictObject(shape)
  const middleware: MiddlewareHandler<AppEnv> = async (c, next) => {
    // What is named once is a text, what is named more often a list of them.
    const given = Object.entries(c.req.queries()).map(([name, all]) => [
      name,
      all.length === 1 ? all[0] : all,
    ])
    await validate(c, 'query', schema, Object.fromEntries(given))
    return next()
  }
  return noted(middleware as never, { query: schema as never })
}

/** A JSON body. 415 for another content type, 400 for what is not JSON, 413 over the limit, 422 for wrong fields. */
export function body<S extends z.ZodType>(
  schema: S,
  options: { limit?: number; example?: unknown; optional?: boolean } = {},
): Validated<'json', S> {
  const middleware: MiddlewareHandler<AppEnv> = async (c, next) => {
    const type = c.req.header('Content-Type') ?? ''
    if (options.optional && (await readText(c, options.limit)) === '') {
      c.req.addValidatedData('json', schema.parse({}) as object)
      return next()
    }
    if (!/^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/i.test(type))
      throw problem('unsupported_media_type', 'The body must be JSON', {
        details: { expected: 'application/json', received: type },
      })
    const text = await readText(c, options.limit)
    refuseUnusable(text)
    await validate(c, 'json', schema, jsonOf(text))
    return next()
  }
  const note: Note = { body: { schema, contentType: 'application/json', example: options.example } }
  if (options.limit) note.bodyLimit = options.limit
  return noted(middleware as never, note)
}

type Returns<T> = MiddlewareHandler<AppEnv & { Variables: { reply: (value: T) => Response } }>

type ReturnsOptions<T> = {
  /** Where the new resource is; by default the request's path and the result's id. */
  location?: (value: T) => string
  /** Answers the schema's value itself instead of the envelope (routes of another dialect). */
  bare?: boolean
  /** Another status for some values: what was there already is not created. */
  statusOf?: (value: T) => number
  description?: string
}

/** The answer: its status and schema. The handler ends with `c.var.reply(value)`; no field that the schema lacks gets out. */
export function returns<S extends z.ZodType>(
  status: number,
  schema: S,
  options: ReturnsOptions<z.input<S>> = {},
): Returns<z.input<S>> {
  return answering(
    { status, schema, ...(options.bare ? { bare: true } : {}), ...describing(options) },
    (c, value) => {
      const data = schema.parse(value)
      const headers: Record<string, string> = {}
      const answered = options.statusOf?.(value) ?? status
      const etag = etagOf(value)
      if (etag) headers.ETag = etag
      if (answered === 201)
        headers.Location = options.location ? options.location(value) : locationOf(c, value)
      const body = JSON.stringify(options.bare ? data : envelope(c, data))
      return { status: answered, headers, body, secret: false }
    },
  )
}

/** A list: an array in `data` and `next_cursor` in `meta`. */
export function returnsPage<S extends z.ZodType>(schema: S): Returns<Page<z.input<S>>> {
  const array = z.array(schema)
  // A list that is frozen never changes: it is checked and printed once.
  const frozen = new WeakMap<object, string>()
  const print = (items: readonly z.input<S>[]) => {
    const text = frozen.get(items) ?? JSON.stringify(array.parse(items))
    if (Object.isFrozen(items)) frozen.set(items, text)
    return text
  }
  return answering({ status: 200, schema, page: true }, (c, value: Page<z.input<S>>) => ({
    status: 200,
    headers: {},
    body: `{"data":${print(value.items)},"meta":${JSON.stringify(meta(c, { next_cursor: value.next_cursor }))}}`,
    secret: false,
  }))
}

/** 204 without a body. The handler ends with `c.var.reply(undefined)`. */
export function returnsNothing(): Returns<undefined> {
  return answering({ status: 204, schema: null }, () => ({
    status: 204,
    headers: {},
    body: '',
    secret: false,
  }))
}

const describing = (options: { description?: string }) =>
  options.description ? { description: options.description } : {}

function answering<T>(
  note: NonNullable<Note['returns']>,
  print: (c: HonoContext<AppEnv>, value: T) => StoredAnswer,
): Returns<T> {
  return onlyNoted({ returns: { ...note, print: print as Print } }) as Returns<T>
}

/** Prints the answer for a handler's value as the route's `returns` says. */
export function printed(c: HonoContext<AppEnv>, value: unknown): StoredAnswer {
  const { pattern, note } = routeOf(c)
  if (!note?.returns?.print) throw new Error(`${pattern} does not say what it returns`)
  return note.returns.print(c, value)
}

/** The answer for a handler's value. */
export function respond(c: HonoContext<AppEnv>, value: unknown): Response {
  const answer = printed(c, value)
  const etag = answer.headers.ETag
  const reads = c.req.method === 'GET' || c.req.method === 'HEAD'
  const known = etag !== undefined && reads && matches(c.req.header('If-None-Match'), etag)
  const status = known ? 304 : answer.status
  const empty = known || status === 204
  return answerWith(
    c,
    status,
    empty ? null : answer.body,
    answer.headers,
    etag ? 'private, no-cache' : 'no-store',
  )
}

/** If-None-Match (RFC 9110, 13.1.2): a list of tags, compared weakly, or `*`. */
function matches(header: string | undefined, etag: string): boolean {
  if (!header) return false
  return header.split(',').some((tag) => tag.trim() === '*' || tag.trim().replace(/^W\//, '') === etag)
}

/** `"v3"` from a row's version. */
function etagOf(value: unknown): string | null {
  const version = (value as { version?: unknown } | null)?.version
  return typeof version === 'number' || typeof version === 'string' ? `"v${version}"` : null
}

/** The version that If-Match names: undefined without the header or for `*`, -1 for a tag that is none of ours. */
export function parseIfMatch(header: string | undefined): number | undefined {
  if (header === undefined || header.trim() === '*') return undefined
  const version = /^"v(\d+)(?:\.\d+)?"$/.exec(header.trim())?.[1]
  return version === undefined ? -1 : Number(version)
}

function locationOf(c: HonoContext<AppEnv>, value: unknown): string {
  const id = (value as { id?: unknown }).id
  const path = c.req.path.replace(/\/$/, '')
  return typeof id === 'string' ? `${path}/${id}` : path
}

function meta(c: Pick<HonoContext<AppEnv>, 'get'>, more: Record<string, unknown> = {}) {
  const { requestId, now } = c.get('request')
  return { ...more, request_id: requestId, ts: iso(now) }
}

/** The envelope around every answer. */
export function envelope(c: Pick<HonoContext<AppEnv>, 'get'>, data: unknown) {
  return { data, meta: meta(c) }
}

export { Id, paging } from '../lib/wire'
export { routeOf }

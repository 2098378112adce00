import { zValidator } from '@hono/zod-validator'
import type { Context as HonoContext, MiddlewareHandler } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import * as z from 'zod'
import type { StoredAnswer } from '../data/context'
import type { Page } from '../data/page'
import { fieldErrors } from '../lib/fields'
import { iso } from '../lib/ids'
import { problem } from '../lib/problem'
import type { AppEnv } from './app-env'
import { readText, refuseDeepNesting } from './body'
import { type Note, noted, routeOf } from './notes'

// The words of a route:
//   .post('/', doc('Create an endpoint'), allow('webhooks:write'), body(CreateEndpoint), returns(201, Endpoint), handler)
// One zod schema validates, types the handler, documents the operation and filters the answer.

const pass: MiddlewareHandler<AppEnv> = (_c, next) => next()

/** Summary (and more) of an operation, for the document. */
export function doc(summary: string, note: Omit<Note, 'summary'> = {}): MiddlewareHandler<AppEnv> {
  return noted(((c, next) => pass(c, next)) as MiddlewareHandler<AppEnv>, { summary, ...note })
}

/** Marks a route that needs no credential; one that is sent is ignored. */
export function open(): MiddlewareHandler<AppEnv> {
  return noted(((c, next) => pass(c, next)) as MiddlewareHandler<AppEnv>, { open: true })
}

const refuse = (result: { success: boolean; error?: unknown }): undefined => {
  if (result.success) return
  throw problem.invalid(fieldErrors((result.error as z.core.$ZodError).issues))
}

type Validated<Target extends string, S extends z.ZodType> = MiddlewareHandler<
  AppEnv,
  string,
  { in: { [K in Target]: z.input<S> }; out: { [K in Target]: z.output<S> } }
>

/** Path parameters. `params({ id: Id })` */
export function params<T extends z.ZodRawShape>(shape: T): Validated<'param', z.ZodObject<T>> {
  const schema = z.object(shape)
  return noted(zValidator('param', schema, refuse) as never, { params: schema as never })
}

/** Query parameters; an unknown one is refused, since a filter that is ignored answers the wrong question. */
export function query<T extends z.ZodRawShape>(shape: T): Validated<'query', z.ZodObject<T>> {
  const schema = z.strictObject(shape)
  return noted(zValidator('query', schema as never, refuse) as never, { query: schema as never })
}

/** A JSON body. 415 for another content type, 400 for what is not JSON, 413 over the limit, 422 for wrong fields. */
export function body<S extends z.ZodType>(
  schema: S,
  options: { limit?: number; example?: unknown; optional?: boolean } = {},
): Validated<'json', S> {
  const validate = zValidator('json', schema as never, refuse) as unknown as MiddlewareHandler<AppEnv>
  const middleware: MiddlewareHandler<AppEnv> = async (c, next) => {
    const type = c.req.header('Content-Type') ?? ''
    if (options.optional && (await readText(c, options.limit)) === '') {
      c.req.addValidatedData('json', schema.parse({}) as object)
      return next()
    }
    // No wider than what the validator takes: it passes over a body of any other type.
    if (!/^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/i.test(type))
      throw problem('unsupported_media_type', 'The body must be JSON', {
        details: { expected: 'application/json', received: type },
      })
    refuseDeepNesting(await readText(c, options.limit))
    return validate(c, next)
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
      const etag = etagOf(value)
      if (etag) headers.ETag = etag
      if (status === 201) headers.Location = options.location ? options.location(value) : locationOf(c, value)
      return { status, headers, body: options.bare ? data : envelope(c, data), secret: false }
    },
  )
}

/** A list: an array in `data` and `next_cursor` in `meta`. */
export function returnsPage<S extends z.ZodType>(schema: S): Returns<Page<z.input<S>>> {
  const array = z.array(schema)
  return answering({ status: 200, schema, page: true }, (c, value: Page<z.input<S>>) => ({
    status: 200,
    headers: {},
    body: envelope(c, array.parse(value.items), { next_cursor: value.next_cursor }),
    secret: false,
  }))
}

/** 204 without a body. The handler ends with `c.var.reply(undefined)`. */
export function returnsNothing(): Returns<undefined> {
  return answering({ status: 204, schema: null }, () => ({
    status: 204,
    headers: {},
    body: null,
    secret: false,
  }))
}

type Printed = Omit<StoredAnswer, 'body'> & { body: unknown }

const describing = (options: { description?: string }) =>
  options.description ? { description: options.description } : {}

function answering<T>(
  note: NonNullable<Note['returns']>,
  print: (c: HonoContext<AppEnv>, value: T) => Printed,
): Returns<T> {
  const middleware: Returns<T> = (c, next) => {
    const render = (value: unknown): StoredAnswer => {
      const printed = print(c as unknown as HonoContext<AppEnv>, value as T)
      return { ...printed, body: printed.body === null ? '' : JSON.stringify(printed.body) }
    }
    c.set('reply', (value: T) => respond(c as unknown as HonoContext<AppEnv>, render(value)))
    const idempotency = c.var.request.idempotency
    if (idempotency) idempotency.render = render
    return next()
  }
  return noted(middleware as never, { returns: note })
}

function respond(c: HonoContext<AppEnv>, answer: StoredAnswer): Response {
  const etag = answer.headers.ETag
  const headers: Record<string, string> = {
    ...answer.headers,
    'Cache-Control': etag ? 'private, no-cache' : 'no-store',
  }
  const reads = c.req.method === 'GET' || c.req.method === 'HEAD'
  if (etag && reads && matches(c.req.header('If-None-Match'), etag)) return c.body(null, 304, headers)
  if (answer.status === 204) return c.body(null, 204, headers)
  headers['Content-Type'] = 'application/json; charset=UTF-8'
  // Through Hono, so that cookies set on the way are on the answer.
  return c.body(answer.body, answer.status as ContentfulStatusCode, headers)
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

/** The envelope around every answer. */
export function envelope(
  c: { var: Pick<AppEnv['Variables'], 'request'> },
  data: unknown,
  meta: Record<string, unknown> = {},
) {
  return { data, meta: { ...meta, request_id: c.var.request.requestId, ts: iso(c.var.request.now) } }
}

export { Id, paging } from '../lib/wire'
export { routeOf }

import type { Context as HonoContext, MiddlewareHandler } from 'hono'
import { matchedRoutes } from 'hono/route'
import type * as z from 'zod'
import type { Context, StoredAnswer } from '../data/context'
import type { ProblemCode } from '../lib/problem'
import type { AppEnv } from './app-env'
import type { Dialect } from './dialect'

/** Prints the answer for a handler's value. */
export type Print = (c: HonoContext<AppEnv>, value: unknown) => StoredAnswer

/**
 * What the middleware of a route says of it; validation, limits and the OpenAPI document are all made from this. What is
 * for the document alone (summary, description, tag, errors, also, examples) is not deployed: scripts/lib/strip.mjs.
 */
export type Note = {
  summary?: string
  description?: string
  tag?: string
  /** Scopes that the caller must hold, all of them. */
  scopes?: string[]
  /** No credential is needed, and one that is sent is ignored. */
  open?: true
  /** What browsers open without headers of their own: `?ticket=` stands for a credential. */
  ticket?: true
  /** Only for platform administrators. */
  platform?: true
  params?: z.ZodObject
  query?: z.ZodObject
  body?: {
    schema: z.ZodType
    contentType: string
    example?: unknown
    /** What it takes besides, for the document. */
    or?: { schema: z.ZodType; contentType: string }
  }
  returns?: {
    status: number
    schema: z.ZodType | null
    page?: boolean
    contentType?: string
    bare?: boolean
    description?: string
    print?: Print
  }
  /** Answers besides `returns` that a caller may get, for the document. */
  also?: NonNullable<Note['returns']>[]
  /** The protocol that it speaks, where that is another product's. */
  dialect?: Dialect
  /** Left out of the document: pages and their scripts. */
  hidden?: true
  /**
   * Makes or shows a secret, or does so by these fields of its body, where they set one or say where it is sent: not for
   * who acts in a tenant of others.
   */
  secret?: true | string[]
  /** Error codes beyond those every route has, for the document. */
  errors?: ProblemCode[]
  /** Largest body in bytes; 1 MiB unless said otherwise. A form may be larger than what else the route takes. */
  bodyLimit?: number
  formLimit?: number
  /**
   * The idempotency key: `commit` (the rule), `ignored` (login), `claimed` where the route calls something outside, or
   * `proven` where it is the route that knows who calls (metering/idempotency/middleware.ts).
   */
  idempotency?: 'ignored' | 'claimed' | 'proven'
  /** What a caller must be allowed besides the scopes, asked before a stored answer is given again; throws the refusal. */
  again?: (ctx: Context, params: Record<string, string>, c: HonoContext<AppEnv>) => Promise<void>
  /** A header that names what the request is about, as a path does: with another one it is another request. */
  target?: string
  /**
   * What it counts as (limits.md): a message or an upload besides a request; a stream by how many are open instead of how
   * often they are opened. `credential`: an open route whose body or cookie is a credential, so not counted by address;
   * `source`: one that is counted by the source of webhooks that its path names (limits/sources.ts).
   */
  counts?: 'message' | 'upload' | 'stream' | 'credential' | 'source'
}

const NOTE = Symbol('note')
const ONLY = Symbol('only a note')

/** Attaches a note to a middleware. */
export function noted<M extends MiddlewareHandler>(middleware: M, note: Note): M {
  return Object.assign(middleware, { [NOTE]: note })
}

/** A word of a route that only says something of it: the router keeps what it says and never runs it. */
export function onlyNoted<M extends MiddlewareHandler>(note: Note): M {
  const pass: MiddlewareHandler = (_c, next) => next()
  return noted(Object.assign(pass as M, { [ONLY]: true }), note)
}

/** Whether a handler does nothing but carry a note. */
export const isOnlyNote = (handler: unknown): boolean => (handler as { [ONLY]?: true })[ONLY] === true

/** The note on a handler, if it carries one. */
export function noteOf(handler: unknown): Note | undefined {
  return (handler as { [NOTE]?: Note })[NOTE]
}

/** A route as Hono keeps it: one for each handler. */
type Registered = { path: string; method: string; handler: unknown }

/** Handlers that the router does not run, by the handler that follows them on their route. */
const leftOut = new WeakMap<object, readonly unknown[]>()

/** Keeps what `handlers`, which are not run, say of `route`. */
export function leaveOut(route: object, handlers: readonly unknown[]): void {
  leftOut.set(route, handlers)
}

const handlersOf = (route: Registered) => [...(leftOut.get(route) ?? []), route.handler]

/** Whether a route says anything of itself, as middleware does not. */
export const isNoted = (route: Registered): boolean =>
  leftOut.has(route) || noteOf(route.handler) !== undefined

/** Merges the notes of one route's handlers. */
export function mergeNotes(handlers: readonly unknown[]): Note {
  const merged: Note = {}
  for (const handler of handlers) {
    const note = noteOf(handler)
    if (!note) continue
    const scopes = [...(merged.scopes ?? []), ...(note.scopes ?? [])]
    const errors = [...(merged.errors ?? []), ...(note.errors ?? [])]
    Object.assign(merged, note)
    if (scopes.length > 0) merged.scopes = scopes
    if (errors.length > 0) merged.errors = errors
  }
  return merged
}

/** The route that a request matched: its pattern and its note; `note` is null where only middleware matched. */
export type MatchedRoute = { pattern: string; note: Note | null }

const known = new WeakMap<object, MatchedRoute>()

export function routeOf(c: HonoContext): MatchedRoute {
  let route: MatchedRoute | undefined = c.get('route')
  if (!route) {
    route = findRoute(c)
    c.set('route', route)
  }
  return route
}

function findRoute(c: HonoContext): MatchedRoute {
  const routes = matchedRoutes(c)
  // The first that matches is the one that answers: `/things/kinds` comes before `/things/:id`.
  const first = routes.find(isNoted)
  if (!first) return { pattern: '*', note: null }
  let route = known.get(first)
  if (!route) {
    const own = routes.filter(({ path, method }) => path === first.path && method === first.method)
    route = { pattern: first.path, note: mergeNotes(own.flatMap(handlersOf)) }
    known.set(first, route)
  }
  return route
}

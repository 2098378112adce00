import type { Context as HonoContext, MiddlewareHandler, Next } from 'hono'
import { tryDecodeURIComponent } from 'hono/utils/url'
import type { Context, IdempotencyClaim, StoredAnswer } from '../../../data/context'
import { IdempotencyRace } from '../../../data/refusal'
import type { AppEnv } from '../../../http/app-env'
import { readBytes } from '../../../http/body'
import { routeOf } from '../../../http/notes'
import { problemResponse } from '../../../http/problems'
import { printed } from '../../../http/route'
import { utf8 } from '../../../lib/encoding'
import { describeError, log } from '../../../lib/log'
import { Problem, problem } from '../../../lib/problem'
import { fingerprintOf } from './fingerprint'
import { answerOf, claimKey, keepAnswer, releaseKey, stopWaiting } from './service'

/** Refusals that the same request would get again (http.md); others may be gone on the next try. */
export const KEPT_REFUSALS = new Set([400, 404, 413, 415, 422])
/** Headers that an answer's reader goes on with. */
const KEPT_HEADERS = ['ETag', 'Location']

/**
 * A request that carries an idempotency key is carried out once: `commit` finishes the key in the batch of the change,
 * a repeat gets the stored answer. For methods that write, and after `authorize`: who has lost a scope has lost the replay.
 */
export const idempotency: MiddlewareHandler<AppEnv> = (c, next) => {
  const mode = routeOf(c).note?.idempotency
  if (mode === 'ignored' || mode === 'proven') return next()
  const ctx = c.get('ctx')
  const caller: Caller = ctx
    ? { tenant_id: ctx.tenant.id, principal: `${ctx.principal.kind}:${ctx.principal.id}`, ctx }
    : { tenant_id: 'public', principal: `address:${c.var.request.address}`, ctx: undefined }
  return once(c, next, () => caller, mode === 'claimed')
}

/**
 * The same for a route whose caller brings no credential but a proof that the route itself looks at (its note says
 * `proven`): put behind what looks at it. `callerOf` is asked where there is a key, and refuses whom the route would
 * refuse. `claims` where the route calls something outside.
 */
export function idempotencyOf<Env extends AppEnv>(
  callerOf: (c: HonoContext<Env>) => Caller | Promise<Caller>,
  { claims = false } = {},
): MiddlewareHandler<Env> {
  return (c, next) => once(c as unknown as HonoContext<AppEnv>, next, () => callerOf(c), claims)
}

/** Whose key it is, and the context in which the route commits where it has one by then. */
export type Caller = { tenant_id: string; principal: string; ctx: Context | undefined }

async function once(
  c: HonoContext<AppEnv>,
  next: Next,
  callerOf: () => Caller | Promise<Caller>,
  claims: boolean,
) {
  const { note } = routeOf(c)
  const key = note ? keyOf(c) : null
  if (!note || key === null) return next()

  const caller = await callerOf()
  const body = await bodyOf(c)
  const claim = await claimOf(c, key, body, caller)
  if (note.returns?.print) claim.render = (value) => printed(c, value)
  const { ctx } = caller
  const earlier = await answerOf(c.var.request, claim)
  if (earlier) {
    if (ctx) await note.again?.(ctx, paramsOf(c), c)
    return replay(earlier)
  }
  if (body instanceof Problem) {
    c.res = problemResponse(c, body)
    await settle(c, claim)
    return c.res
  }
  if (claims) await claimKey(c.var.request, claim)
  c.var.request.idempotency = claim
  if (ctx) ctx.idempotency = claim

  await next()

  if (claim.finished) {
    // What was made stands, with its job: that the end of it could not be kept is no failure of the request.
    if (claim.awaited !== undefined)
      await settle(c, claim).catch((error: unknown) =>
        log.error('idempotency_answer_not_kept', { cause: describeError(error) }),
      )
    return
  }
  const winner =
    c.error instanceof IdempotencyRace || !(await settle(c, claim))
      ? await answerOf(c.var.request, claim)
      : null
  if (!winner) return
  c.res = replay(winner)
  // What the loser would have been told.
  c.res.headers.delete('Retry-After')
}

export function keyOf(c: { req: { raw: Request } }): string | null {
  const long = c.req.raw.headers.get('X-Idempotency-Key')
  const short = c.req.raw.headers.get('Idempotency-Key')
  if (long !== null && short !== null && long !== short)
    throw problem('malformed_header', 'X-Idempotency-Key and Idempotency-Key differ', {
      details: { header: 'Idempotency-Key' },
    })
  const key = long ?? short
  if (key !== null && (key.length < 1 || key.length > 255))
    throw problem('malformed_header', 'An idempotency key has 1 to 255 characters', {
      details: { header: 'Idempotency-Key' },
    })
  return key
}

/** The parameters of the route's path as the route itself reads them, which a middleware of all paths is not told. */
function paramsOf(c: HonoContext<AppEnv>): Record<string, string> {
  const { pattern, note } = routeOf(c)
  const values = c.req.path.split('/').map(tryDecodeURIComponent)
  const named = pattern.split('/').flatMap((name, i) => (name[0] === ':' ? [[name.slice(1), values[i]]] : []))
  const params = Object.fromEntries(named)
  return (note?.params?.safeParse(params).data as Record<string, string> | undefined) ?? params
}

/** The body, or the refusal of one that is not read: a repeat would get that again too. */
function bodyOf(c: HonoContext<AppEnv>): Promise<Uint8Array<ArrayBuffer> | Problem> {
  return readBytes(c).catch((error: unknown) => {
    if (error instanceof Problem) return error
    throw error
  })
}

async function claimOf(
  c: HonoContext<AppEnv>,
  key: string,
  body: Uint8Array<ArrayBuffer> | Problem,
  { tenant_id, principal }: Caller,
): Promise<IdempotencyClaim> {
  return {
    ...{ tenant_id, principal, key },
    fingerprint: await fingerprintOf(
      c.req.raw,
      body instanceof Problem ? utf8(body.code) : body,
      routeOf(c).note?.target,
    ),
    // Not the request's id: a client may send one id again with every attempt.
    claim: crypto.randomUUID(),
    claimed: false,
    finished: false,
  }
}

/** A stored answer, as it is given again. */
export function replay({ status, headers: kept, body }: StoredAnswer): Response {
  const headers: Record<string, string> = {
    ...(body === '' ? {} : { 'Content-Type': 'application/json; charset=UTF-8' }),
    'Cache-Control': kept.ETag ? 'private, no-cache' : 'no-store',
    ...kept,
    'Idempotency-Replayed': 'true',
  }
  return new Response(body === '' ? null : body, { status, headers })
}

/** Keeps or frees the key after an answer that no commit stored; false where another request may have finished the key. */
async function settle(c: HonoContext<AppEnv>, claim: IdempotencyClaim): Promise<boolean> {
  const { status, headers: sent } = c.res
  const isJson = sent.get('Content-Type')?.startsWith('application/json') ?? status === 204
  const succeeded = status >= 200 && status < 300
  if (isJson && (succeeded || KEPT_REFUSALS.has(status))) {
    const body = status === 204 ? '' : await c.res.clone().text()
    const headers = Object.fromEntries(
      KEPT_HEADERS.flatMap((name) => (sent.has(name) ? [[name, sent.get(name) ?? '']] : [])),
    )
    // No verb said whether it holds a secret.
    return keepAnswer(c.var.request, claim, { status, headers, body, secret: succeeded })
  }
  if (claim.finished) await stopWaiting(c.var.request, claim)
  else if (claim.claimed) await releaseKey(c.var.request, claim)
  return claim.claimed || status < 400
}

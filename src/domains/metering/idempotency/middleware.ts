import type { Context as HonoContext, MiddlewareHandler } from 'hono'
import { IdempotencyRace } from '../../../data/commit'
import type { IdempotencyClaim, StoredAnswer } from '../../../data/context'
import type { AppEnv } from '../../../http/app-env'
import { readBytes } from '../../../http/body'
import { type Note, routeOf } from '../../../http/notes'
import { sha256 } from '../../../lib/crypto'
import { utf8 } from '../../../lib/encoding'
import { problem } from '../../../lib/problem'
import { answerOf, claimKey, keepAnswer, releaseKey } from './service'

const UNSAFE = new Set(['POST', 'PUT', 'PATCH', 'DELETE'])
/** Refusals that the same request would get again (http.md); others may be gone on the next try. */
const KEPT_REFUSALS = new Set([400, 404, 413, 415, 422])

/**
 * A request that carries an idempotency key is carried out once: `commit` finishes the key in the batch of the change,
 * a repeat gets the stored answer.
 */
export const idempotency: MiddlewareHandler<AppEnv> = async (c, next) => {
  const { note } = routeOf(c)
  const key = note && UNSAFE.has(c.req.method) && note.idempotency !== 'ignored' ? keyOf(c) : null
  if (!note || key === null || !mayReplay(c, note)) return next()

  const claim = await claimOf(c, key)
  const earlier = await answerOf(c.var.request, claim)
  if (earlier) return replay(earlier)
  if (note.idempotency === 'claimed') await claimKey(c.var.request, claim)
  c.var.request.idempotency = claim
  const ctx = c.get('ctx')
  if (ctx) ctx.idempotency = claim

  await next()

  if (claim.finished) return
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

/** Authorization comes before a replay: who lost the scope goes on to the route's own refusal. */
function mayReplay(c: HonoContext<AppEnv>, note: Note): boolean {
  const held = c.get('ctx')?.principal.scopes
  return note.open === true || (note.scopes ?? []).every((scope) => held?.has(scope))
}

async function claimOf(c: HonoContext<AppEnv>, key: string): Promise<IdempotencyClaim> {
  const body = await readBytes(c)
  const url = new URL(c.req.url)
  const head = utf8(`${c.req.method}\n${url.pathname}${url.search}\n`)
  const whole = new Uint8Array(head.byteLength + body.byteLength)
  whole.set(head)
  whole.set(body, head.byteLength)
  const ctx = c.get('ctx')
  return {
    tenant_id: ctx?.tenant.id ?? 'public',
    principal: ctx ? `${ctx.principal.kind}:${ctx.principal.id}` : `address:${c.var.request.address}`,
    key,
    fingerprint: await sha256(whole),
    // Not the request's id: a client may send one id again with every attempt.
    claim: crypto.randomUUID(),
    claimed: false,
    finished: false,
  }
}

function replay(answer: StoredAnswer): Response {
  const headers: Record<string, string> = {
    'Cache-Control': 'no-store',
    ...answer.headers,
    'Idempotency-Replayed': 'true',
  }
  if (answer.body === '') return new Response(null, { status: answer.status, headers })
  return new Response(answer.body, {
    status: answer.status,
    headers: { 'Content-Type': 'application/json; charset=UTF-8', ...headers },
  })
}

/** Keeps or frees the key after an answer that no commit stored; false where another request may have finished the key. */
async function settle(c: HonoContext<AppEnv>, claim: IdempotencyClaim): Promise<boolean> {
  const { status } = c.res
  const isJson = c.res.headers.get('Content-Type')?.startsWith('application/json') ?? status === 204
  if (isJson && (KEPT_REFUSALS.has(status) || (status >= 200 && status < 300))) {
    const body = status === 204 ? '' : await c.res.clone().text()
    return keepAnswer(c.var.request, claim, { status, headers: {}, body, secret: false })
  }
  if (claim.claimed) await releaseKey(c.var.request, claim)
  return claim.claimed || status < 400
}

import type { Context as HonoContext } from 'hono'
import type { Context, IdempotencyClaim } from '../../../data/context'
import type { AppEnv } from '../../../http/app-env'
import { problemResponse } from '../../../http/problems'
import { base64, utf8 } from '../../../lib/encoding'
import { Problem, problem } from '../../../lib/problem'
import { fingerprintOf } from './fingerprint'
import { KEPT_REFUSALS, keyOf, replay } from './middleware'
import { answerOf, CLAIM_MS, claimKey, keepAnswer, releaseKey, renewKey } from './service'

type Body = ReadableStream<Uint8Array> | null

/** What was sent, beside the answer that is kept (RFC 9530). */
const DIGEST = 'Content-Digest'

/**
 * Carries out once what takes a body that is too large to be held: its key is claimed first, and its bytes are told from
 * others by their SHA-256 as they pass. A repeat of it is read, and nothing is done with it. `work` answers with the headers
 * of its 200, which has no body.
 */
export async function onceDigested(
  c: HonoContext<AppEnv>,
  { ctx, principal }: { ctx: Context; principal: string },
  work: (body: Body) => Promise<Record<string, string>>,
): Promise<Response> {
  const key = keyOf(c)
  const body = measuredBody(c)
  const answer = (headers: Record<string, string>) =>
    c.body(null, 200, { ...headers, 'Cache-Control': 'no-store' })
  if (key === null) return answer(await work(body))
  const claim = await claimOf(c, key, { tenant_id: ctx.tenant.id, principal })
  const earlier = await answerOf(ctx, claim)
  if (earlier) {
    const { [DIGEST]: digest, ...headers } = earlier.headers
    if (digest !== undefined && (await passedOn(body, drained)).digest !== digest)
      throw problem('idempotency_key_reused', 'The idempotency key stands for other bytes')
    const again = replay({ ...earlier, headers })
    again.headers.set('Cache-Control', 'no-store')
    return again
  }
  await claimKey(ctx, claim)
  const running = setInterval(() => ctx.defer(renewKey(ctx, claim)), CLAIM_MS / 3)
  try {
    const { result: headers, digest } = await passedOn(body, work)
    const kept = { status: 200, headers: { ...headers, [DIGEST]: digest }, body: '', secret: false }
    // Where another has taken over, what that one sent stands.
    if (!(await keepAnswer(ctx, claim, kept)))
      throw problem('idempotency_in_progress', 'Another request with this key has taken over', {
        headers: { 'Retry-After': '1' },
      })
    return answer(headers)
  } catch (error) {
    if (!isKept(error)) {
      await releaseKey(ctx, claim)
      throw error
    }
    const refusal = problemResponse(c, error)
    const text = await refusal.clone().text()
    await keepAnswer(ctx, claim, { status: error.status, headers: {}, body: text, secret: false })
    return refusal
  } finally {
    clearInterval(running)
  }
}

/** The body of a request, which is in its tenant's usage as far as it was read. */
function measuredBody(c: HonoContext<AppEnv>): Body {
  let size = 0
  const passing = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      size += chunk.byteLength
      c.set('requestBytes', size)
      controller.enqueue(chunk)
    },
  })
  return c.req.raw.body?.pipeThrough(passing) ?? null
}

/** Whether a repeat would be refused likewise; a body that ended early may come whole the next time. */
const isKept = (error: unknown): error is Problem =>
  error instanceof Problem && KEPT_REFUSALS.has(error.status) && error.code !== 'malformed_body'

/** What is known of a request before its body came: how long that is. */
async function claimOf(
  c: HonoContext<AppEnv>,
  key: string,
  whose: Pick<IdempotencyClaim, 'tenant_id' | 'principal'>,
): Promise<IdempotencyClaim> {
  const fingerprint = await fingerprintOf(c.req.raw, utf8(`${c.req.header('Content-Length')}`))
  return { ...whose, key, fingerprint, claim: crypto.randomUUID(), claimed: false, finished: false }
}

/** Does something with the bytes of a body, and tells what they were. */
async function passedOn<T>(
  body: Body,
  work: (body: Body) => Promise<T>,
): Promise<{ result: T; digest: string }> {
  const stream = new crypto.DigestStream('SHA-256')
  const writer = stream.getWriter()
  const passing = new TransformStream<Uint8Array, Uint8Array>({
    async transform(chunk, controller) {
      await writer.write(chunk)
      controller.enqueue(chunk)
    },
  })
  const result = await work(body?.pipeThrough(passing) ?? null)
  await writer.close()
  return { result, digest: `sha-256=:${base64(new Uint8Array(await stream.digest))}:` }
}

async function drained(body: Body): Promise<void> {
  await body?.pipeTo(new WritableStream())
}

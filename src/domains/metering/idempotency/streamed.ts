import type { Context } from '../../../data/context'
import { describeError, log } from '../../../lib/log'
import { CLAIM_MS, keepAnswer, releaseKey, renewKey } from './service'

/** The longest streamed answer that is kept for a repeat, in characters; a row of D1 holds 2 MB. */
const MOST = 512 * 1024

/**
 * Hands the frames of a stream on and keeps them, as one answer of `type`, for a repeat of the request, which until then
 * is refused as running. `answer` returns whether it is whole: one that broke off, or is too long to be kept, frees the
 * key, and the repeat asks anew. For routes whose key is `claimed`.
 */
export function keptForRepeat(
  ctx: Context,
  answer: AsyncGenerator<Uint8Array, boolean>,
  type: string,
): AsyncIterable<Uint8Array> {
  const claim = ctx.idempotency
  if (!claim) return answer
  // From here on the key is settled by the stream and not by what carried the request.
  claim.finished = true
  const failed = (error: unknown) =>
    log.error('idempotency_key_not_settled', { request_id: ctx.requestId, cause: describeError(error) })
  const settle = (body: string | null) =>
    body === null
      ? releaseKey(ctx, claim)
      : keepAnswer(ctx, claim, { status: 200, headers: { 'Content-Type': type }, body, secret: true })

  const frames = async function* () {
    const running = setInterval(() => ctx.defer(renewKey(ctx, claim)), CLAIM_MS / 3)
    const decoder = new TextDecoder()
    let body: string | null = ''
    let isWhole = false
    try {
      for (;;) {
        const { value, done } = await answer.next()
        if (done) {
          isWhole = value
          return
        }
        if (body !== null) body += decoder.decode(value, { stream: true })
        if (body !== null && body.length > MOST) body = null
        yield value
      }
    } finally {
      clearInterval(running)
      // Before the stream ends, so that who repeats what has ended is given the same.
      await settle(isWhole ? body : null).catch(failed)
    }
  }
  return frames()
}

import type { Context as HonoContext } from 'hono'
import type { Context, IdempotencyClaim } from '../../data/context'
import type { AppEnv } from '../../http/app-env'
import { sha256 } from '../../lib/crypto'
import { hex } from '../../lib/encoding'
import { keyOf } from '../metering/idempotency/middleware'
import { answerOf, isKnown, keepAnswer } from '../metering/idempotency/service'
import type { FileRow } from './table'
import { type Incoming, takeUpload } from './upload'

/** What an upload was answered, and whether that was a repeat, of which nothing was stored. */
export type Uploaded = { etag: string; replayed: boolean }

/**
 * `takeUpload`, once for each idempotency key: a repeat is answered as the first was, by the bytes, which are read for
 * their digest and not kept; 422 `idempotency_key_reused` for other bytes. The bytes are too many to be read before.
 */
export async function uploadOnce(
  c: HonoContext<AppEnv>,
  ctx: Context,
  row: FileRow,
  part: number | undefined,
  incoming: Incoming,
): Promise<Uploaded> {
  const key = keyOf(c)
  if (key === null) return { etag: await takeUpload(ctx, row, part, incoming), replayed: false }
  const claim: IdempotencyClaim = {
    ...{ tenant_id: row.tenant_id, principal: `file:${row.id}`, key },
    ...{ fingerprint: '', claim: crypto.randomUUID(), claimed: false, finished: false },
  }
  const { body, digest } = digesting(incoming.body)
  const fingerprint = async () => sha256(`PUT\n${row.id}\n${part ?? ''}\n${await digest}`)
  if (await isKnown(ctx, claim)) {
    await body?.pipeTo(new WritableStream())
    const earlier = await answerOf(ctx, { ...claim, fingerprint: await fingerprint() })
    if (earlier) return { etag: earlier.body, replayed: true }
  }
  const etag = await takeUpload(ctx, row, part, { ...incoming, body })
  const answer = { status: 200, headers: {}, body: etag, secret: false }
  await keepAnswer(ctx, { ...claim, fingerprint: await fingerprint() }, answer)
  return { etag, replayed: false }
}

/** The same bytes, and their SHA-256 once they are through. */
function digesting(body: Incoming['body']): { body: Incoming['body']; digest: Promise<string> } {
  const hash = new crypto.DigestStream('SHA-256')
  const writer = hash.getWriter()
  const digest = hash.digest.then((bytes) => hex(new Uint8Array(bytes)))
  // Nobody asks for it where the upload fails.
  digest.catch(() => undefined)
  const through = new TransformStream<Uint8Array, Uint8Array>({
    async transform(chunk, controller) {
      await writer.write(chunk)
      controller.enqueue(chunk)
    },
    flush: () => writer.close(),
  })
  return { body: body?.pipeThrough(through) ?? null, digest }
}

import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { refusalOfUrl } from '../../../lib/safe-url'
import type { Asking } from '../answer'
import type { Recording } from '../calls/port'
import type { CallRow } from '../calls/table'
import { recordingOf } from './client'

/** After its end a recording is there within so long, or there is none. */
const MOST_WAIT_MS = 5 * 60_000
/** Of an answer that does not say how large it is, so much is held in memory. */
const MOST_UNSIZED = 32 * 1024 * 1024
const HEADERS_MS = 10_000

type Bytes = Exclude<Recording, string>

/** A call’s recording, as Ultravox has it. */
export async function recordingFrom(
  at: Asking,
  call: Pick<CallRow, 'provider_call_id' | 'ended_at' | 'updated_at'>,
): Promise<Recording> {
  const given = await recordingOf(at, call.provider_call_id ?? '', MOST_UNSIZED)
  if (given === null) {
    const since = iso(Date.now() - MOST_WAIT_MS)
    return (call.ended_at ?? call.updated_at) > since ? 'later' : 'none'
  }
  if ('url' in given) return download(at, given.url)
  return { bytes: new Blob([given.bytes]), content_type: plain(given.type) }
}

/** From where Ultravox keeps it; its URL is signed, and asked without the key. It is passed on as it comes. */
async function download({ ctx, account }: Asking, url: string): Promise<Bytes> {
  const refusal = account.own ? await refusalOfUrl(url, ctx.settings) : null
  if (refusal !== null) throw failed(account.name, `The URL of its recording ${refusal}`, null)
  const abort = new AbortController()
  const timer = setTimeout(() => abort.abort(), HEADERS_MS)
  const response = await fetch(url, { redirect: 'manual', signal: abort.signal })
    .catch((cause) => {
      throw failed(account.name, 'Its recording can’t be reached', null, cause)
    })
    .finally(() => clearTimeout(timer))
  const { status, body, headers } = response
  const size = Number(headers.get('Content-Length') ?? Number.NaN)
  if (status !== 200 || !body) {
    await body?.cancel()
    throw failed(account.name, `Its recording answered ${status}`, status)
  }
  const content_type = plain(headers.get('Content-Type') ?? 'audio/wav')
  if (Number.isSafeInteger(size)) return { bytes: { size, stream: () => body }, content_type }
  return { bytes: await blobOf(body, account.name), content_type }
}

async function blobOf(body: ReadableStream<Uint8Array>, name: string): Promise<Blob> {
  const chunks: Uint8Array<ArrayBuffer>[] = []
  let size = 0
  for await (const chunk of body) {
    size += chunk.byteLength
    if (size > MOST_UNSIZED) throw failed(name, `Its recording has more than ${MOST_UNSIZED} bytes`, 200)
    chunks.push(new Uint8Array(chunk))
  }
  return new Blob(chunks)
}

const plain = (type: string): string => type.split(';')[0]?.trim().toLowerCase() || 'audio/wav'

const failed = (provider: string, words: string, status: number | null, cause?: unknown) =>
  problem('provider_failed', words, { details: { provider, status, said: null }, cause })

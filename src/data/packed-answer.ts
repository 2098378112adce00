import { base64, fromBase64, utf8 } from '../lib/encoding'

// A row of D1 ends at 2 MB, and an answer that is kept for its idempotency key may be longer: one that says what is wrong
// with each of a thousand lines says much the same a thousand times.

/** Shorter ones, in characters, are kept as they are. */
const PLAIN = 128 * 1024
/** A row ends somewhat above; that what is sealed grows by a third is reckoned with. */
const MOST = 1_300 * 1024
const PACKED = 'gzip:'

/** An answer as it is kept: packed where it is long; null where even so it is too long. */
export async function packed(body: string): Promise<string | null> {
  if (body.length <= PLAIN) return body
  const stream = new Response(utf8(body)).body?.pipeThrough(new CompressionStream('gzip'))
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer())
  const kept = PACKED + base64(bytes)
  return kept.length <= MOST ? kept : null
}

/** The answer that was kept so; an answer is JSON or empty, and never begins as a packed one does. */
export async function unpacked(kept: string): Promise<string> {
  const bytes = kept.startsWith(PACKED) ? fromBase64(kept.slice(PACKED.length)) : null
  if (bytes === null) return kept
  return new Response(new Response(bytes).body?.pipeThrough(new DecompressionStream('gzip'))).text()
}

import { gunzipSync, gzipSync } from 'node:zlib'
import { base64, fromBase64, text, utf8 } from './encoding'

// A row of D1 ends at 2 MB, and an answer that is kept for its idempotency key may be longer: one that says what is wrong
// with each of a thousand lines says much the same a thousand times.

/** Shorter texts, in characters, are kept as they are. */
const PLAIN = 128 * 1024
/** A row ends somewhat above; that what is sealed grows by a third is reckoned with. */
const MOST = 1_300 * 1024
const PACKED = 'gzip:'

/** A JSON text as it is kept: packed where it is long; null where even so it is too long for a row. */
export function packed(json: string): string | null {
  if (json.length <= PLAIN) return json
  const kept = PACKED + base64(gzipSync(utf8(json)))
  return kept.length <= MOST ? kept : null
}

/** The text that was kept so. */
export function unpacked(kept: string): string {
  const bytes = kept.startsWith(PACKED) ? fromBase64(kept.slice(PACKED.length)) : null
  return bytes === null ? kept : text(gunzipSync(bytes))
}

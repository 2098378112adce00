import { gunzipSync, gzipSync } from 'node:zlib'
import { text, utf8 } from './encoding'

// A row of D1 ends at 2 MB, and an answer that is kept for its idempotency key may be longer: one that says what is wrong
// with each of a thousand lines says much the same a thousand times.

/** Bytes of a text that fit into a row; that what is sealed grows by a third is reckoned with. */
const MOST = 1_300 * 1024
/** Nothing longer is packed: it would be held several times over. */
const MOST_UNPACKED = 8 * 1024 * 1024
const PACKED = 'gzip:'

/** A text as it is kept: packed where it is long; null where even so it is too long for a row. */
export function packed(plain: string): string | null {
  if (plain.length > MOST_UNPACKED) return null
  const bytes = utf8(plain)
  if (bytes.byteLength <= MOST) return plain
  const zipped = gzipSync(bytes)
  return zipped.byteLength <= (MOST * 3) / 4 ? PACKED + Buffer.from(zipped).toString('base64') : null
}

/** The text that was kept so. One that only looks as if it had been packed is itself. */
export function unpacked(kept: string): string {
  if (!kept.startsWith(PACKED)) return kept
  try {
    return text(gunzipSync(Buffer.from(kept.slice(PACKED.length), 'base64')))
  } catch {
    return kept
  }
}

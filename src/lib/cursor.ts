import { createHash } from 'node:crypto'
import { base64url, fromBase64url, text, utf8 } from './encoding'
import { problem } from './problem'

/** Where a list goes on: the sort key and id of the last row that was shown. */
export type Position = { key: string | number; id: string }

/** A list by its hash: filters may be long, and what they say is nobody else's business. */
const nameOf = (list: string): string => createHash('sha256').update(list).digest('base64url').slice(0, 22)

/** An opaque cursor for one list (its name, tenant and filters); it is refused by every other list. */
export function encodeCursor(list: string, position: Position): string {
  return base64url(utf8(JSON.stringify([nameOf(list), position.key, position.id])))
}

/** The position in `cursor`; 422 where it is not one of this list's. */
export function decodeCursor(list: string, cursor: string): Position {
  try {
    const parsed: unknown = JSON.parse(text(fromBase64url(cursor) ?? new Uint8Array()))
    if (Array.isArray(parsed) && parsed.length === 3 && parsed[0] === nameOf(list)) {
      const [, key, id] = parsed
      if ((typeof key === 'string' || typeof key === 'number') && typeof id === 'string') return { key, id }
    }
  } catch {
    // falls through to the refusal
  }
  throw problem.invalid({ cursor: 'must be the next_cursor of this list, with the same filters' })
}

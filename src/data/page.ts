import { decodeCursor, encodeCursor, type Position } from '../lib/cursor'

/** A page of a list, as verbs answer it and `returnsPage` prints it. */
export type Page<T> = { items: readonly T[]; next_cursor: string | null }

/**
 * One page of `list` (its name, tenant and filters): asks `read` for one row more than the page to know whether another
 * follows. Rows are ordered by `keyOf` and id; by default the id alone, which carries the time.
 */
export async function pageOf<T extends { id: string }>(
  list: string,
  input: { limit: number; cursor?: string | undefined },
  read: (after: Position | null, limit: number) => Promise<T[]>,
  keyOf: (row: T) => string | number = (row) => row.id,
): Promise<Page<T>> {
  const after = input.cursor === undefined ? null : decodeCursor(list, input.cursor)
  const rows = await read(after, input.limit + 1)
  const items = rows.slice(0, input.limit)
  const last = items.at(-1)
  const more = rows.length > input.limit && last !== undefined
  return { items, next_cursor: more ? encodeCursor(list, { key: keyOf(last), id: last.id }) : null }
}

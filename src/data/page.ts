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

/** Rows that a page looks at where no index leads to those it wants. */
export const MOST_LOOKED_AT = 5_000

/**
 * One page of a list to whose rows no index leads, ordered by id alone: it looks at `MOST_LOOKED_AT` of them, so it may be
 * shorter than was asked for, or empty, with others to come. `endOf` finds the last of those that it looks at, null where
 * the list ends before; `read` looks no further than that.
 */
export async function pageAmong<T extends { id: string }>(
  list: string,
  input: { limit: number; cursor?: string | undefined },
  endOf: (after: Position | null) => Promise<string | null>,
  read: (after: Position | null, limit: number, end: string | null) => Promise<T[]>,
): Promise<Page<T>> {
  const after = input.cursor === undefined ? null : decodeCursor(list, input.cursor)
  const end = await endOf(after)
  const rows = await read(after, input.limit + 1, end)
  const items = rows.slice(0, input.limit)
  const next = rows.length > input.limit ? (items.at(-1)?.id ?? null) : end
  return { items, next_cursor: next === null ? null : encodeCursor(list, { key: next, id: next }) }
}

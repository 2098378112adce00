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

/** Rows that a page looks at for each that it may show, where no index leads to those that are wanted. */
export const LOOKED_AT_EACH = 5

/**
 * The first `most` rows that are wanted after `from`, among `LOOKED_AT_EACH` times as many, looked through once; `end` is
 * the last of them where others may follow that were not looked at. `read` has the list's order.
 */
export async function lookAmong<T extends { id: string }>(
  most: number,
  from: string | null,
  read: (from: string | null, most: number) => Promise<T[]>,
  wanted: (row: T) => boolean,
  keyOf: (row: T) => string = (row) => row.id,
): Promise<{ rows: T[]; end: string | null }> {
  const found: T[] = []
  let end = from
  // Where nearly all are wanted, the first look has them.
  for (const some of [most, most * (LOOKED_AT_EACH - 1)]) {
    const rows = await read(end, some)
    found.push(...rows.filter(wanted))
    const last = rows.at(-1)
    end = last === undefined ? null : keyOf(last)
    if (rows.length < some || found.length >= most)
      return { rows: found.slice(0, most), end: rows.length < some ? null : end }
  }
  return { rows: found, end }
}

/**
 * One page of a list to whose rows no index leads, ordered by what `keyOf` answers, which no two have; by default by id.
 * Among so many of them, so it may be shorter than was asked for, or empty, with others to come.
 */
export async function pageAmong<T extends { id: string }>(
  list: string,
  input: { limit: number; cursor?: string | undefined },
  read: (from: string | null, most: number) => Promise<T[]>,
  wanted: (row: T) => boolean,
  keyOf: (row: T) => string = (row) => row.id,
): Promise<Page<T>> {
  const after = input.cursor === undefined ? null : decodeCursor(list, input.cursor)
  const { rows, end } = await lookAmong(input.limit + 1, after?.id ?? null, read, wanted, keyOf)
  const items = rows.slice(0, input.limit)
  const last = items.at(-1)
  const next = rows.length > input.limit && last !== undefined ? keyOf(last) : end
  return { items, next_cursor: next === null ? null : encodeCursor(list, { key: next, id: next }) }
}

/**
 * One page of a list that lies in several parts, each in the list's order, newest first: `read` answers with a part's
 * first rows after a position.
 */
export async function pageOfParts<T extends { id: string }, P>(
  list: string,
  input: { limit: number; cursor?: string | undefined },
  parts: readonly P[],
  read: (part: P, after: Position | null, limit: number) => Promise<T[]>,
  keyOf: (row: T) => string,
): Promise<Page<T>> {
  const merged = async (after: Position | null, limit: number) => {
    const found = await Promise.all(parts.map((part) => read(part, after, limit)))
    const positionOf = (row: T): Position => ({ key: keyOf(row), id: row.id })
    return found.flat().sort((one, other) => newestFirst(positionOf(one), positionOf(other)))
  }
  return pageOf(list, input, merged, keyOf)
}

function newestFirst(one: Position, other: Position): number {
  if (one.key !== other.key) return one.key < other.key ? 1 : -1
  return one.id === other.id ? 0 : one.id < other.id ? 1 : -1
}

import { and, gt, gte, lt, type SQL } from 'drizzle-orm'
import type { SQLiteColumn } from 'drizzle-orm/sqlite-core'
import { firstIdAt } from '../lib/ids'

// Of two bounds on one side of a column SQLite goes by the one that is written first, and reads all that lies between
// them: so only the nearer one is asked for.

type Bound = string | null | undefined

const given = (bounds: readonly Bound[]): string[] => bounds.flatMap((bound) => bound || []).sort()

/** That a column is below the lowest of the bounds that there are. */
export function below(column: SQLiteColumn, ...bounds: Bound[]): SQL | undefined {
  const lowest = given(bounds)[0]
  return lowest === undefined ? undefined : lt(column, lowest)
}

/** That a column is above the highest of the bounds that there are. */
export function above(column: SQLiteColumn, ...bounds: Bound[]): SQL | undefined {
  const highest = given(bounds).at(-1)
  return highest === undefined ? undefined : gt(column, highest)
}

type Times = { created_after?: string | undefined; created_before?: string | undefined }

/**
 * What was made between the times, the later one excluded, by the ids that carry them, with what stands before the time in
 * each; and where a page goes on, newest first, what comes after that id.
 */
export function madeBetween(
  id: SQLiteColumn,
  { created_after, created_before }: Times,
  after: string | null = null,
  prefix = '',
): SQL | undefined {
  const idAt = (time: string) => `${prefix}${firstIdAt(Date.parse(time))}`
  return and(
    created_after === undefined ? undefined : gte(id, idAt(created_after)),
    below(id, after, created_before === undefined ? null : idAt(created_before)),
  )
}

import { and, eq, isNotNull, type SQL, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { interactions } from '../interactions/table'
import type { Done, Recent, Tally } from './counting'

/** An interaction with where it stands in the order of commit. */
export type Counted = Done & { seq: number; id: string }

/** What is to be counted: what was done since, and what was deleted. `revision` is 0 where nothing was counted yet. */
export type Undone = { seq: number; revision: number; done: Counted[]; removed: Counted[] }

/** What a batch changes: sums, what users were at, and which deletions are done with. */
export type Counting = {
  tally: Tally
  recents: ReadonlyMap<string, Recent>
  /** Up to which number all is counted then. */
  seq: number
  removed: readonly number[]
  behind: boolean
}

const COLUMNS = {
  seq: interactions.seq,
  id: interactions.id,
  user_id: interactions.user_id,
  item_id: interactions.item_id,
  type: interactions.type,
  value: interactions.value,
  occurred_at: interactions.occurred_at,
  created_at: interactions.created_at,
}

/** What somebody did with items, in the tenant, under `conditions`. Not async: it may go into a batch. */
export const doneBy = (ctx: Context, ...conditions: SQL[]) =>
  ctx.db
    .select({ ...COLUMNS, item_id: sql<string>`${interactions.item_id}` })
    .from(interactions)
    .where(and(eq(interactions.tenant_id, ctx.tenant.id), isNotNull(interactions.item_id), ...conditions))

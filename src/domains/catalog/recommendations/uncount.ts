import { and, asc, desc, eq, gt, lt, lte } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { interactions } from '../interactions/table'
import { count, emptyTally, type Recent, type Tally } from './counting'
import { type Counted, type Counting, doneBy, type Undone } from './done'
import { interactionsRemoved } from './table'

// A deleted interaction is as if it had never been. What a user's interactions come to follows from their order, so those
// around the deleted one are counted once as they are now, and once, taken away, as they were. How far around is bounded:
// what a user was at before and after so many others has no part in it.

const BEFORE = 100
const AFTER = 300
/** Deletions of one user that are taken back at once. */
const MOST_OWN = 200

/** What is to be changed for the first user of whom something was deleted, and for what had not been counted yet. */
export async function takenBack(ctx: Context, { removed, seq }: Undone): Promise<Counting> {
  const tally = emptyTally()
  const recents = new Map<string, Recent>()
  const change = { tally, recents, seq, behind: true }
  const first = removed.find((one) => one.seq <= seq)
  // What was deleted before it was counted is not there to be counted.
  if (!first) return { ...change, removed: removed.map((one) => one.seq) }
  if (first.user_id === null) {
    count(tally, [], first, -1)
    return { ...change, removed: [first.seq] }
  }
  const { rows, own, ended } = await countedAround(ctx, first, first.user_id, seq)
  fold(tally, inOrder([...rows, ...own]), -1)
  const recent = fold(tally, rows, 1)
  // Far enough back it is no longer among what the user was at lately.
  if (ended) recents.set(first.user_id, recent)
  dropNothing(tally)
  return { ...change, removed: own.map((one) => one.seq) }
}

/**
 * The user's deletions from `first` on, and what the user did around them as far as it is counted: what is there, and what
 * was deleted too and has its turn later. Read at one moment, or a deletion between would be missing from both.
 */
async function countedAround(ctx: Context, first: Counted, userId: string, upTo: number) {
  const of = eq(interactions.user_id, userId)
  const [before, after, removed] = await ctx.db.batch([
    doneBy(ctx, of, lt(interactions.id, first.id)).orderBy(desc(interactions.id)).limit(BEFORE),
    doneBy(ctx, of, gt(interactions.id, first.id)).orderBy(asc(interactions.id)).limit(AFTER),
    ctx.db
      .select()
      .from(interactionsRemoved)
      .where(
        and(
          eq(interactionsRemoved.tenant_id, ctx.tenant.id),
          eq(interactionsRemoved.user_id, userId),
          lte(interactionsRemoved.seq, upTo),
        ),
      )
      .orderBy(asc(interactionsRemoved.seq))
      .limit(MOST_OWN + AFTER),
  ])
  const last = Math.max(first.seq, Math.min(lastOf(after, AFTER), lastOf(removed, MOST_OWN + AFTER)))
  const within = (rows: Counted[]) => rows.filter((one) => one.seq <= Math.min(last, upTo))
  const own = within(removed.slice(0, MOST_OWN))
  const rows = inOrder(within([...before, ...after, ...removed.slice(MOST_OWN)]))
  return { rows, own, ended: last === Number.POSITIVE_INFINITY }
}

/** How far rows reach that are at most so many: all the way where there are fewer. */
const lastOf = (rows: readonly Counted[], most: number): number =>
  rows.length < most ? Number.POSITIVE_INFINITY : Math.max(...rows.map(({ seq }) => seq))

const inOrder = (rows: Counted[]): Counted[] => rows.sort((a, b) => a.seq - b.seq)

function fold(tally: Tally, rows: readonly Counted[], sign: 1 | -1): Recent {
  return rows.reduce<Recent>((recent, one) => count(tally, recent, one, sign), [])
}

/** Most of what is counted both ways comes to nothing; what does is not written. */
function dropNothing({ items, pairs }: Tally): void {
  for (const [item, { weight, times }] of items) if (weight === 0 && times === 0) items.delete(item)
  for (const [item, others] of pairs) {
    for (const [other, { weight, times }] of others) if (weight === 0 && times === 0) others.delete(other)
    if (others.size === 0) pairs.delete(item)
  }
}

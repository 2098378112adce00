import { and, asc, eq, gt, inArray, sql } from 'drizzle-orm'
import type { SQLiteColumn } from 'drizzle-orm/sqlite-core'
import { type Change, commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { slices } from '../../../data/insert-rows'
import { Problem, problem } from '../../../lib/problem'
import { interactions } from '../interactions/table'
import { count, emptyTally, type Recent, type Sum, type Tally } from './counting'
import { type Counting, doneBy, type Undone } from './done'
import { MOST_NEAR, type Neighbour, withCounted } from './neighbours'
import { interactionCounts, interactionsRemoved, itemWeights, userRecents } from './table'
import { takenBack } from './uncount'

// Counting reads what was committed after the last that is counted, adds it up here, and writes what it comes to together
// with how far it is, in one batch that holds only while nobody else counted: each interaction is counted once, whatever
// is repeated, lost or done by two at the same time.

/** Interactions of one batch: each may touch a dozen items, whose rows it reads and writes. */
const MOST_AT_ONCE = 50
const MOST_REMOVED = 200
/** How often it is tried again when another counted at the same time. */
const ATTEMPTS = 3

/** Somebody else counted the same tenant's interactions at that moment. */
const OVERTAKEN = problem('conflict', 'These interactions are being counted elsewhere')

/**
 * Counts what the tenant's interactions came to since it was last done, for so long at most; whoever calls again goes on.
 * Answers with whether more is left.
 */
export async function countInteractions(ctx: Context, turnMs: number): Promise<boolean> {
  const until = Date.now() + turnMs
  for (let attempts = 0; Date.now() < until; ) {
    const undone = await undoneOf(ctx)
    if (undone.done.length === 0 && undone.removed.length === 0) return false
    try {
      await write(
        ctx,
        undone,
        undone.removed.length > 0 ? await takenBack(ctx, undone) : await added(ctx, undone),
      )
      attempts = 0
    } catch (error) {
      if (!(error instanceof Problem && error.message === OVERTAKEN.message) || ++attempts === ATTEMPTS)
        throw error
    }
  }
  return true
}

async function undoneOf(ctx: Context): Promise<Undone> {
  const own = eq(interactionCounts.tenant_id, ctx.tenant.id)
  const upTo = sql`coalesce((select c.seq from interaction_counts as c where c.tenant_id = ${ctx.tenant.id}), 0)`
  const [[counted], done, removed] = await ctx.db.batch([
    ctx.db.select().from(interactionCounts).where(own),
    doneBy(ctx, gt(interactions.seq, upTo)).orderBy(asc(interactions.seq)).limit(MOST_AT_ONCE),
    ctx.db
      .select()
      .from(interactionsRemoved)
      .where(eq(interactionsRemoved.tenant_id, ctx.tenant.id))
      .orderBy(asc(interactionsRemoved.seq))
      .limit(MOST_REMOVED),
  ])
  return { seq: counted?.seq ?? 0, revision: counted?.revision ?? 0, done, removed }
}

/** What was done since, added up. */
async function added(ctx: Context, { done, seq }: Undone): Promise<Counting> {
  const users = new Set(done.flatMap(({ user_id }) => user_id ?? []))
  const rows = await ctx.db
    .select()
    .from(userRecents)
    .where(and(eq(userRecents.tenant_id, ctx.tenant.id), oneOf(userRecents.user_id, [...users])))
  const recents = new Map(rows.map(({ user_id, recent }) => [user_id, recent]))
  const tally = emptyTally()
  for (const one of done) {
    const recent = count(tally, recents.get(one.user_id ?? '') ?? [], one)
    if (one.user_id !== null) recents.set(one.user_id, recent)
  }
  const behind = done.length === MOST_AT_ONCE
  return { tally, recents, seq: done.at(-1)?.seq ?? seq, removed: [], behind }
}

/** A column among values, however many. */
const oneOf = (column: SQLiteColumn, values: readonly string[]) =>
  inArray(column, sql`(select value from json_each(${JSON.stringify(values)}))`)

/** Everything in one batch, which fails as a whole where somebody else counted meanwhile. */
async function write(ctx: Context, undone: Undone, counting: Counting): Promise<void> {
  const weights = await weighed(ctx, counting.tally)
  const gone = [...weights].flatMap(([item, row]) => (row.times <= 0 ? item : []))
  const kept = [...weights].filter(([, row]) => row.times > 0)
  await commit(ctx, {
    statements: [
      { statement: moved(ctx, undone, counting), otherwise: OVERTAKEN },
      ...weightRows(ctx, kept),
      ...recentRows(ctx, counting.recents),
      ...removals(ctx, counting, gone),
    ],
    result: undefined,
  })
}

function moved(ctx: Context, { revision }: Undone, { seq, behind }: Counting) {
  const row = { tenant_id: ctx.tenant.id, seq, revision: revision + 1, behind: behind ? 1 : 0 }
  return ctx.db
    .insert(interactionCounts)
    .values(row)
    .onConflictDoUpdate({
      target: interactionCounts.tenant_id,
      set: { seq, revision: row.revision, behind: row.behind },
      setWhere: eq(interactionCounts.revision, revision),
    })
}

type Weights = Sum & { neighbours: Neighbour[]; farther: Neighbour[] }

/** The rows of the items that were touched, as they will be. */
async function weighed(ctx: Context, { items, pairs }: Tally): Promise<Map<string, Weights>> {
  const touched = [...new Set([...items.keys(), ...pairs.keys()])]
  const rows = await ctx.db
    .select()
    .from(itemWeights)
    .where(and(eq(itemWeights.tenant_id, ctx.tenant.id), oneOf(itemWeights.item_id, touched)))
  const known = new Map(rows.map((row) => [row.item_id, row]))
  const weights = new Map<string, Weights>()
  for (const item of touched) {
    const { weight = 0, times = 0, neighbours = [], farther = [] } = known.get(item) ?? {}
    const more = items.get(item) ?? { weight: 0, times: 0 }
    const sum = { weight: Math.max(0, weight + more.weight), times: times + more.times }
    weights.set(item, { ...sum, neighbours, farther })
  }
  for (const [item, counted] of pairs) {
    const row = weights.get(item)
    if (!row) continue
    const all = withCounted(
      [...row.neighbours, ...row.farther],
      counted,
      (other) => weights.get(other)?.weight ?? 0,
    )
    row.neighbours = all.slice(0, MOST_NEAR)
    row.farther = all.slice(MOST_NEAR)
  }
  return weights
}

type Statements = Change<undefined>['statements']

/** Rows as one JSON parameter a statement, each an array of a row's columns. */
const asParameters = (rows: readonly unknown[][]) =>
  slices(rows.map((row) => JSON.stringify(row))).map((slice) => `[${slice.join(',')}]`)

const at = (place: number) => sql.raw(`json_extract(value, '$[${place}]')`)

function weightRows(ctx: Context, weights: readonly (readonly [string, Weights])[]): Statements {
  const rows = weights.map(([item, { weight, times, neighbours, farther }]) => [
    ...[item, weight, times, JSON.stringify(neighbours), JSON.stringify(farther)],
  ])
  return asParameters(rows).map((json) =>
    ctx.db
      .insert(itemWeights)
      .select(
        sql`select ${ctx.tenant.id}, ${at(0)}, ${at(1)}, ${at(2)}, ${at(3)}, ${at(4)} from json_each(${json}) where true`,
      )
      .onConflictDoUpdate({
        target: [itemWeights.tenant_id, itemWeights.item_id],
        set: {
          weight: sql`excluded.weight`,
          times: sql`excluded.times`,
          neighbours: sql`excluded.neighbours`,
          farther: sql`excluded.farther`,
        },
      }),
  )
}

function recentRows(ctx: Context, recents: ReadonlyMap<string, Recent>): Statements {
  const rows = [...recents].map(([user, recent]) => [user, JSON.stringify(recent)])
  return asParameters(rows).map((json) =>
    ctx.db
      .insert(userRecents)
      .select(sql`select ${ctx.tenant.id}, ${at(0)}, ${at(1)} from json_each(${json}) where true`)
      .onConflictDoUpdate({
        target: [userRecents.tenant_id, userRecents.user_id],
        set: { recent: sql`excluded.recent` },
      }),
  )
}

/** What is nothing any more once something was taken back. */
function removals(ctx: Context, { removed, recents }: Counting, gone: readonly string[]): Statements {
  if (removed.length === 0) return []
  const mine = <T extends { tenant_id: SQLiteColumn }>(table: T) => eq(table.tenant_id, ctx.tenant.id)
  const nothing = [...recents].flatMap(([user, recent]) => (recent.length === 0 ? user : []))
  const done = sql`(select value from json_each(${JSON.stringify(removed)}))`
  return [
    ctx.db.delete(itemWeights).where(and(mine(itemWeights), oneOf(itemWeights.item_id, gone))),
    ctx.db.delete(userRecents).where(and(mine(userRecents), oneOf(userRecents.user_id, nothing))),
    ctx.db
      .delete(interactionsRemoved)
      .where(and(mine(interactionsRemoved), inArray(interactionsRemoved.seq, done))),
  ]
}

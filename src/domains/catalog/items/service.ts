import { and, asc, desc, eq, getTableColumns, gte, lt, type SQL, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { type Page, pageOf } from '../../../data/page'
import { find, removal, revise } from '../../../data/revise'
import { madeBetween } from '../../../data/span'
import { defined } from '../../../lib/defined'
import { firstErrors } from '../../../lib/first-errors'
import { firstIdAt } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { digestOf, questionOf, wordsOf } from './found-by'
import type { Line } from './lines'
import type { ChangeItem, Item, ListFilters, NewItem, Upserted } from './schema'
import { ITEM_WORDS, type ItemRow, items } from './table'
import { changedEvents, type Plan, ROWS_OF_BATCH, upsert, wording } from './upsert'

type Put = Item & { was_there: boolean }

/** Makes the item of that `external_id` what is said of it, with its event, in one batch. */
export function putItem(ctx: Context, said: NewItem): Promise<Put> {
  return upsert(ctx, [said], ({ after, counts }) => {
    const row = after.get(said.external_id)
    if (!row) throw new Error('an item was planned, and is not in the plan')
    return { ...row, ...said, was_there: counts.created === 0 }
  })
}

/**
 * The same with many, line by line: of equal names the last one counts. The good ones are kept, `ROWS_OF_BATCH` in a batch;
 * where a request is cut off between two, repeating it finds the first ones unchanged.
 */
export async function putItems(ctx: Context, lines: readonly Line[]): Promise<Upserted> {
  const said = lines.flatMap((line) => ('item' in line ? [line.item] : []))
  const errors = lines.flatMap((line) => ('error' in line ? [line.error] : []))
  let result: Upserted = {
    ...{ lines: lines.length, created: 0, updated: 0, unchanged: 0, failed: errors.length },
    errors: firstErrors(errors),
  }
  if (said.length === 0) return commit(ctx, { statements: [], result })
  for (let at = 0; at < said.length; at += ROWS_OF_BATCH) {
    // Its idempotency key is finished with the last.
    const of = at + ROWS_OF_BATCH < said.length ? { ...ctx, idempotency: null } : ctx
    const before = result
    result = await upsert(of, said.slice(at, at + ROWS_OF_BATCH), ({ counts }) => counted(before, counts))
  }
  return result
}

/** What became of some items more. */
export function counted<T extends Plan['counts']>(before: T, more: Plan['counts']): T {
  return {
    ...before,
    created: before.created + more.created,
    updated: before.updated + more.updated,
    unchanged: before.unchanged + more.unchanged,
  }
}

export async function getItem(ctx: Context, id: string): Promise<Item> {
  const row = await find(ctx, items, id)
  if (!row) throw problem.notFound('item', id)
  return row
}

/** Changes what is named of an item. 404, 412. */
export function updateItem(ctx: Context, id: string, input: ChangeItem): Promise<Item> {
  return revise(ctx, items, 'item', id, (row) => {
    const said: NewItem = { ...saidOf(row), ...defined(input) }
    return {
      set: { ...said, digest: digestOf(said) },
      statements: wording(ctx, [{ id, words: wordsOf(said) }]),
      events: changedEvents([row], 'updated'),
    }
  })
}

const saidOf = ({ external_id, title, category, tags, attributes, available }: ItemRow): NewItem => ({
  ...{ external_id, title, category, tags, available },
  // What is kept was JSON when it came.
  attributes: attributes as NewItem['attributes'],
})

/** Deletes an item; interactions with it stay. 404, 412. */
export async function deleteItem(ctx: Context, id: string): Promise<undefined> {
  const row = await find(ctx, items, id)
  if (!row) throw problem.notFound('item', id)
  return commit(ctx, {
    statements: [removal(ctx, items, 'item', id)],
    events: changedEvents([row], 'deleted'),
    result: undefined,
  })
}

/** Ids carry the time of the request that made them; it may have been committed so much later than another. */
const LATE_MS = 10_000

/**
 * The tenant's items as all filters want them, newest first: without filters by their ids, with filters by the numbers
 * under which the index of words has them, in the order of commit.
 */
export async function listItems(ctx: Context, filters: ListFilters): Promise<Page<ItemRow>> {
  const { limit, cursor, ...by } = filters
  const list = `items:${ctx.tenant.id}:${JSON.stringify(by)}`
  const question = questionOf(ctx.tenant.id, by)
  if (by.external_id !== undefined) {
    const [one] = await ctx.db
      .select()
      .from(items)
      .where(and(between(ctx, by), eq(items.external_id, by.external_id)))
      .limit(1)
    if (!one || question === null) return { items: one ? [one] : [], next_cursor: null }
    const only = { above: one.seq - 1, below: one.seq + 1 }
    return { items: await found(ctx, question, by, only, 1), next_cursor: null }
  }
  if (question === null)
    return pageOf(list, { limit, cursor }, (after, most) =>
      ctx.db
        .select()
        .from(items)
        .where(and(eq(items.tenant_id, ctx.tenant.id), madeBetween(items.id, by, after?.id)))
        .orderBy(desc(items.id))
        .limit(most),
    )
  const within = await spanOf(ctx, by)
  return pageOf(
    list,
    { limit, cursor },
    (after, most) => {
      const below = Math.min(after ? Number(after.key) : LAST, within.below)
      return found(ctx, question, by, { ...within, below }, most)
    },
    ({ seq }) => seq,
  )
}

type Between = Pick<ListFilters, 'created_after' | 'created_before'>

/** The tenant's, of that time. The sign keeps SQLite from going through them by their ids where words lead to them. */
const between = (ctx: Context, { created_after, created_before }: Between, sign = sql``): SQL | undefined =>
  and(
    eq(items.tenant_id, ctx.tenant.id),
    created_after ? sql`${sign}${items.id} >= ${firstIdAt(Date.parse(created_after))}` : undefined,
    created_before ? sql`${sign}${items.id} < ${firstIdAt(Date.parse(created_before))}` : undefined,
  )

/** Numbers of items: from beyond one to before another. */
type Span = { below: number; above: number }
const LAST = Number.MAX_SAFE_INTEGER

/**
 * What the index answers, newest first. It is asked first: its numbers lead to the items, and come in order. It goes by a
 * bound only where that is an integer, and D1 binds every number as a double.
 */
const found = (ctx: Context, question: string, by: Between, { below, above }: Span, most: number) =>
  ctx.db
    .select(getTableColumns(items))
    .from(sql`${WORDS}`)
    .crossJoin(items)
    .where(
      and(
        sql`${WORDS} match ${question}`,
        sql`${WORDS}.rowid < cast(${below} as integer)`,
        sql`${WORDS}.rowid > cast(${above} as integer)`,
        sql`${items.seq} = ${WORDS}.rowid`,
        between(ctx, by, sql`+`),
      ),
    )
    .orderBy(sql`${WORDS}.rowid desc`)
    .limit(most)

const WORDS = sql.identifier(ITEM_WORDS)

/** Between which numbers items of that time lie, so that nothing beyond is looked at; the time itself is asked as well. */
async function spanOf(ctx: Context, { created_after, created_before }: Between): Promise<Span> {
  const seqAt = async (where: SQL, order: SQL): Promise<number | undefined> => {
    const rows = await ctx.db
      .select({ seq: items.seq })
      .from(items)
      .where(and(eq(items.tenant_id, ctx.tenant.id), where))
      .orderBy(order)
      .limit(1)
    return rows[0]?.seq
  }
  const at = (time: string, ms: number): string => firstIdAt(Date.parse(time) + ms)
  const below = created_before && (await seqAt(gte(items.id, at(created_before, LATE_MS)), asc(items.id)))
  const above = created_after && (await seqAt(lt(items.id, at(created_after, -LATE_MS)), desc(items.id)))
  return { below: below || LAST, above: above || 0 }
}

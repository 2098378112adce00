import { and, eq, inArray, sql } from 'drizzle-orm'
import { sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { type Change, commit, type NewEvent } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { insertRows, slices } from '../../../data/insert-rows'
import { iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { eventOf } from '../../events/catalogue'
import { digestOf, wordsOf } from './found-by'
import type { NewItem } from './schema'
import { ITEM_TEXTS, type ItemRow, items } from './table'

// Items come in bulk, and again and again: what is there is asked for first, then a batch writes what is new or otherwise,
// provided that nobody wrote the same items meanwhile. So what became of each is known before it is written, and the
// event, the checkpoint of a job and the answer of an idempotent request go into the same batch.

/** Rows of one batch. */
export const ROWS_OF_BATCH = 500

/** Another wrote the same items between the look and the batch. */
export const RACE = problem('service_unavailable', 'The same items were written by another at that moment', {
  headers: { 'Retry-After': '1' },
})
/** How often what is to be written is decided anew when others write the same items meanwhile. */
const ATTEMPTS = 10
/** Who lost waits up to so long, so that not all come again at once; twice as long after each time. */
const FIRST_WAIT_MS = 10

/** An item as a batch writes it, without what stays as it is. */
export type Kept = Omit<ItemRow, 'seq' | 'tenant_id'> & { words: string }

type Known = Pick<ItemRow, 'id' | 'external_id' | 'digest' | 'version' | 'created_at' | 'updated_at'>

/** What became of each of some items, and what is to be written of them. */
export type Plan = {
  counts: { created: number; updated: number; unchanged: number }
  inserts: Kept[]
  updates: Kept[]
  /** What each item will be, by `external_id`; of an unchanged one just that it is known. */
  after: Map<string, Kept | Known>
}

/** Drizzle’s word for the view of words; not in table.ts, where it would be taken for a table. */
const itemTexts = sqliteTable(ITEM_TEXTS, {
  tenant_id: text().notNull(),
  id: text().notNull(),
  words: text().notNull(),
})

/** Decides what some items (at most `ROWS_OF_BATCH`) change, one after the other: of equal names the last one counts. */
export async function planOf(ctx: Context, said: readonly NewItem[]): Promise<Plan> {
  const known = new Map((await knownOf(ctx, said)).map((row) => [row.external_id, row]))
  const plan: Plan = {
    ...{ inserts: [], updates: [], after: new Map<string, Kept | Known>(known) },
    counts: { created: 0, updated: 0, unchanged: 0 },
  }
  for (const item of said) {
    const before = plan.after.get(item.external_id)
    const digest = digestOf(item)
    if (before?.digest === digest) plan.counts.unchanged++
    else {
      plan.counts[before ? 'updated' : 'created']++
      plan.after.set(item.external_id, keptOf(ctx, item, known.get(item.external_id), digest, before?.id))
    }
  }
  for (const row of plan.after.values()) {
    if (!('words' in row)) continue
    const was = known.get(row.external_id)
    if (!was) plan.inserts.push(row)
    // It may have become what it was.
    else if (was.digest !== row.digest) plan.updates.push(row)
  }
  return plan
}

function keptOf(ctx: Context, item: NewItem, was: Known | undefined, digest: string, id?: string): Kept {
  const now = iso(ctx.now)
  return {
    ...item,
    id: id ?? newId(ctx.now),
    digest,
    version: (was?.version ?? 0) + 1,
    created_at: was?.created_at ?? now,
    updated_at: now,
    words: wordsOf(item),
  }
}

function knownOf(ctx: Context, said: readonly NewItem[]): Promise<Known[]> {
  const { id, external_id, digest, version, created_at, updated_at } = items
  return ctx.db
    .select({ id, external_id, digest, version, created_at, updated_at })
    .from(items)
    .where(and(eq(items.tenant_id, ctx.tenant.id), inArray(external_id, listed(said))))
}

const listed = (rows: readonly Pick<ItemRow, 'external_id'>[]) =>
  sql`(select value from json_each(${JSON.stringify(rows.map(({ external_id }) => external_id))}))`

/** The batch of a plan; it fails with `RACE` where others were faster. */
export function changeOf(
  ctx: Context,
  { inserts, updates }: Plan,
): Pick<Change<never>, 'statements' | 'events'> {
  const rows = [...inserts, ...updates]
  return {
    statements: [...writing(ctx, rows), ...wording(ctx, rows)],
    events: [...changedEvents(inserts, 'created'), ...changedEvents(updates, 'updated')],
  }
}

/** What a statement writes of an item that is there, in place of what was; the rest of it stays. */
const REPLACED = {
  title: sql`excluded.title`,
  category: sql`excluded.category`,
  tags: sql`excluded.tags`,
  attributes: sql`excluded.attributes`,
  available: sql`excluded.available`,
  digest: sql`excluded.digest`,
  version: sql`excluded.version`,
  updated_at: sql`excluded.updated_at`,
}

/** New items, and others in place of what they were; provided that each was as it was when that was decided. */
function writing(ctx: Context, rows: readonly Kept[]): Change<never>['statements'] {
  const printed = rows.map((row) =>
    JSON.stringify([
      ...[row.id, row.external_id, row.title, row.category, JSON.stringify(row.tags)],
      ...[JSON.stringify(row.attributes), Number(row.available), row.digest, row.version],
      ...[row.created_at, row.updated_at],
    ]),
  )
  const fields = Array.from({ length: 11 }, (_, i) => sql.raw(`value ->> ${i}`))
  return slices(printed).flatMap((slice) => {
    const values = sql`select null, ${ctx.tenant.id}, ${sql.join(fields, sql`, `)}
      from json_each(${`[${slice.join(',')}]`}) where true`
    const statement = ctx.db
      .insert(items)
      .select(values)
      .onConflictDoUpdate({
        target: [items.tenant_id, items.external_id],
        set: REPLACED,
        setWhere: sql`items.id = excluded.id and items.version = excluded.version - 1`,
      })
    return [statement, { holds: sql`changes() = ${slice.length}`, otherwise: RACE }]
  })
}

/** The statements that have items found by their words. */
export const wording = (ctx: Context, rows: readonly Pick<Kept, 'id' | 'words'>[]) =>
  insertRows(
    ctx,
    itemTexts,
    rows.map(({ id, words }) => ({ tenant_id: ctx.tenant.id, id, words })),
  )

/** Of an event's payload, which ends at 256 KiB: a name is at most 765 bytes. */
const NAMED_BY_EVENT = 200

/** The events that tell of items; each names many. */
export function changedEvents(
  rows: readonly Pick<ItemRow, 'id' | 'external_id'>[],
  change: 'created' | 'updated' | 'deleted',
): NewEvent[] {
  const events: NewEvent[] = []
  for (let at = 0; at < rows.length; at += NAMED_BY_EVENT) {
    const some = rows.slice(at, at + NAMED_BY_EVENT)
    const named = some.map(({ id, external_id }) => ({ id, item_id: external_id, change }))
    events.push(eventOf('item.updated', { items: named }))
  }
  return events
}

/** Writes some items (at most `ROWS_OF_BATCH`) in one batch; `show` makes of the plan what the verb answers. */
export async function upsert<T>(ctx: Context, said: readonly NewItem[], show: (plan: Plan) => T): Promise<T> {
  return decided(async () => {
    const plan = await planOf(ctx, said)
    return commit(ctx, { ...changeOf(ctx, plan), result: show(plan) })
  })
}

/** What `attempt` answers; tried again where others wrote the same items meanwhile. */
export async function decided<T>(attempt: () => Promise<T>): Promise<T> {
  for (let count = 1; ; count++) {
    try {
      return await attempt()
    } catch (error) {
      if (error !== RACE || count === ATTEMPTS) throw error
      await scheduler.wait(Math.random() * FIRST_WAIT_MS * 2 ** Math.min(count, 6))
    }
  }
}

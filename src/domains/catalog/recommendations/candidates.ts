import { and, eq, type SQL, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { CONSUMED, interactions } from '../interactions/table'
import { listItems } from '../items/service'
import { items as catalogue } from '../items/table'
import { count, type Done, emptyTally, type Recent } from './counting'
import type { Neighbour } from './neighbours'
import type { Weighed } from './ranking'
import type { Filters } from './schema'

/** The last interactions of a user that recommendations are made from, counted or not: one that was just made too. */
const MOST_DONE = 50
/** The most popular items that are looked at for those that pass. */
const MOST_POPULAR = 300
/** Items of one look at the catalogue, and looks: a few more than a caller may exclude. */
const OF_A_LOOK = 100
const MOST_LOOKS = 13

/** What a user did lately. */
export type Past = { recent: Recent; weighed: Map<string, Known> }

/** An item with what was counted of it and what it is called. */
export type Known = Weighed & { title: string | null }

/** A user's last items, and what was counted of each; one statement. */
export async function pastOf(ctx: Context, userId: string): Promise<Past> {
  const rows = await ctx.db.all<Done & CountedRow & { id: string }>(sql`
    with own as materialized (
      select id, user_id, item_id, type, value, occurred_at, created_at from interactions
      where tenant_id = ${ctx.tenant.id} and user_id = ${userId} and item_id is not null
      order by id desc limit ${MOST_DONE})
    select own.*, i.title, w.weight,
      case when own.id in (select max(id) from own group by item_id) then w.neighbours end as neighbours
    from own
    left join item_weights as w on w.tenant_id = ${ctx.tenant.id} and w.item_id = own.item_id
    left join items as i on i.tenant_id = ${ctx.tenant.id} and i.external_id = own.item_id`)
  const tally = emptyTally()
  const recent = rows
    .sort((a, b) => (a.id < b.id ? -1 : 1))
    .reduce<Recent>((before, one) => count(tally, before, one), [])
  return { recent, weighed: new Map(rows.flatMap((row) => counted(row).map((one) => [row.item_id, one]))) }
}

/** What was counted of one item; undefined where nothing was. */
export async function weighedOf(ctx: Context, itemId: string): Promise<Known | undefined> {
  const rows = await ctx.db.all<CountedRow>(sql`
    select w.item_id, i.title, w.weight, w.neighbours
    from item_weights as w left join items as i on i.tenant_id = w.tenant_id and i.external_id = w.item_id
    where w.tenant_id = ${ctx.tenant.id} and w.item_id = ${itemId}`)
  return rows.flatMap(counted)[0]
}

/** Read as it is: what Drizzle does for each column of each row would be most of what it costs. */
type CountedRow = { item_id: string; title: string | null; weight: number; neighbours: string | null }

const counted = ({ item_id, title, weight, neighbours }: CountedRow): Known[] =>
  neighbours === null ? [] : [{ item_id, title, weight, neighbours: JSON.parse(neighbours) as Neighbour[] }]

/** An item that may be recommended, with what it weighs now. */
export type Allowed = { item_id: string; weight: number }

/** Who asks for what: null is nobody in particular. */
export type Wish = { userId: string | null; filters: Filters }

/**
 * Those of `names` that pass the filters and that the user has not consumed. An item that the catalogue lacks passes only
 * where there is no catalogue: it was deleted, or never was one.
 */
export function allowedOf(ctx: Context, names: readonly string[], wish: Wish): Promise<Allowed[]> {
  const from = sql`json_each(${JSON.stringify(names)}) as c
    left join items as i on i.tenant_id = ${ctx.tenant.id} and i.external_id = c.value
    left join item_weights as w on w.tenant_id = ${ctx.tenant.id} and w.item_id = c.value`
  return allowed(ctx, sql`c.value`, from, wish)
}

/** The most popular items but those that are excluded, the most popular first, of those that pass likewise. */
export async function popular(ctx: Context, wish: Wish): Promise<Allowed[]> {
  const without = JSON.stringify(wish.filters.exclude)
  const from = sql`(select item_id, weight from item_weights where tenant_id = ${ctx.tenant.id}
        and item_id not in (select value from json_each(${without}))
      order by weight desc limit ${MOST_POPULAR}) as w
    left join items as i on i.tenant_id = ${ctx.tenant.id} and i.external_id = w.item_id`
  const rows = await allowed(ctx, sql`w.item_id`, from, wish)
  return rows.sort((a, b) => b.weight - a.weight)
}

function allowed(ctx: Context, name: SQL, from: SQL, { userId, filters }: Wish): Promise<Allowed[]> {
  const { category, tags, available = true } = filters
  const uncatalogued =
    category === undefined && tags.length === 0 && available
      ? sql`(i.id is null and not exists (select 1 from items as any_item where any_item.tenant_id = ${ctx.tenant.id} limit 1))`
      : sql`0`
  const all = sql`not exists (select 1 from json_each(${JSON.stringify(tags)}) as wanted
    where wanted.value not in (select value from json_each(i.tags)))`
  const passes = sql`(i.available = ${available ? 1 : 0} and ${category === undefined ? sql`1` : sql`i.category = ${category}`} and ${all})`
  // By an index of its own, so that it holds at once and however long ago that was.
  const consumed =
    userId === null
      ? sql`0`
      : sql`exists (select 1 from interactions as u indexed by interactions_consumed where u.tenant_id = ${ctx.tenant.id}
          and u.user_id = ${userId} and u.item_id = ${name} and ${CONSUMED})`
  return ctx.db.all<Allowed>(sql`select ${name} as item_id, coalesce(w.weight, 0) as weight
    from ${from} where (${uncatalogued} or ${passes}) and not ${consumed}`)
}

/**
 * Items of the catalogue that pass, the newest first, where nobody has chosen anything yet: as they are found, so that who
 * has enough looks no further.
 */
export async function* newest(ctx: Context, wish: Wish): AsyncGenerator<Pick<Allowed, 'item_id'>> {
  const { category, tags, available = true, exclude } = wish.filters
  const without = new Set(exclude)
  let cursor: string | undefined
  for (let looks = 0; looks < MOST_LOOKS; looks++) {
    const page = await listItems(ctx, { limit: OF_A_LOOK, cursor, category, tag: tags, available })
    const names = page.items.flatMap(({ external_id }) => (without.has(external_id) ? [] : external_id))
    // The user may have bought some.
    const allowed = names.length === 0 ? [] : await allowedOf(ctx, names, wish)
    const passes = new Set(allowed.map(({ item_id }) => item_id))
    for (const item_id of names) if (passes.has(item_id)) yield { item_id }
    if (page.next_cursor === null) return
    cursor = page.next_cursor
  }
}

/** What an item is called, and where it belongs; undefined where neither the catalogue nor an interaction knows it. */
export async function namedOf(ctx: Context, itemId: string): Promise<Named | undefined> {
  const named = await ctx.db
    .select({ title: catalogue.title, category: catalogue.category })
    .from(catalogue)
    .where(and(eq(catalogue.tenant_id, ctx.tenant.id), eq(catalogue.external_id, itemId)))
    .get()
  if (named) return named
  const done = await ctx.db
    .select({ id: interactions.id })
    .from(interactions)
    .where(and(eq(interactions.tenant_id, ctx.tenant.id), eq(interactions.item_id, itemId)))
    .limit(1)
  return done.length > 0 ? { title: null, category: null } : undefined
}

export type Named = { title: string | null; category: string | null }

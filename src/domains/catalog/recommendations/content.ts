import { and, eq, inArray, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import type { VectorIndex } from '../../../env'
import { describeError, log } from '../../../lib/log'
import { items } from '../items/table'
import type { Recent } from './counting'
import { embedderOf } from './embed'
import { itemVectors } from './table'
import { between, cosine, unpacked } from './vectors'

/** An item like one of the user's, with how much. */
export type Alike = { item_id: string; score: number; because: string }

/** What is like the items that a user was at lately, by what a model makes of their words, the most like first. */
export type Content = (ctx: Context, recent: Recent) => Promise<Alike[]>

/** The last items of a user that are looked at. */
const MOST_ITEMS = 5
/** Vectorize gives no more at once (developers.cloudflare.com/vectorize/platform/limits). */
const MOST_MATCHES = 100
/** Vectors of a category that are compared where there is no index. */
const MOST_COMPARED = 200

/** Who knows that in this service; null where nobody does. */
export function contentOf(ctx: Context): Content | null {
  if (!embedderOf(ctx)) return null
  const index = ctx.env.VECTORIZE
  return index ? (given, recent) => byIndex(given, index, recent) : byCategory
}

/** What an index of vectors has near. It is asked for nothing that could not be done without: where it fails, there is nothing. */
async function byIndex(ctx: Context, index: VectorIndex, recent: Recent): Promise<Alike[]> {
  try {
    const own = await idsOf(
      ctx,
      recent.slice(0, MOST_ITEMS).map(([item]) => item),
    )
    const names = new Map(own.map(({ id, item_id }) => [id, item_id]))
    const vectors = own.length === 0 ? [] : await index.getByIds([...names.keys()])
    const known = vectors.flatMap(({ id, values }) => {
      const item = names.get(id)
      return item === undefined ? [] : [{ item, vector: [...values] }]
    })
    const middle = between(sharesOf(recent, known))
    if (middle.length === 0) return []
    const { matches } = await index.query(middle, { topK: MOST_MATCHES, namespace: ctx.tenant.id })
    const found = new Map(
      (
        await namesOf(
          ctx,
          matches.map(({ id }) => id),
        )
      ).map(({ id, item_id }) => [id, item_id]),
    )
    const because = recent.find(([item]) => known.some((one) => one.item === item))?.[0] ?? ''
    return matches.flatMap(({ id, score }) => {
      const item_id = found.get(id)
      return item_id === undefined ? [] : [{ item_id, score, because }]
    })
  } catch (error) {
    log.warn('vectors_not_asked', { tenant_id: ctx.tenant.id, cause: describeError(error) })
    return []
  }
}

type Known = { item: string; vector: number[] }

const sharesOf = (recent: Recent, known: readonly Known[]) =>
  recent.flatMap(([item, strength]) => {
    const one = known.find((other) => other.item === item)
    return one ? [{ vector: one.vector, share: strength }] : []
  })

const listed = (values: readonly string[]) => sql`(select value from json_each(${JSON.stringify(values)}))`

const COLUMNS = { id: items.id, item_id: items.external_id }

const idsOf = (ctx: Context, names: readonly string[]) =>
  ctx.db
    .select(COLUMNS)
    .from(items)
    .where(and(eq(items.tenant_id, ctx.tenant.id), inArray(items.external_id, listed(names))))

const namesOf = (ctx: Context, ids: readonly string[]) =>
  ctx.db
    .select(COLUMNS)
    .from(items)
    .where(and(eq(items.tenant_id, ctx.tenant.id), inArray(items.id, listed(ids))))

/** The same without an index: among some of the category of the user's last item that a vector was made of. */
async function byCategory(ctx: Context, recent: Recent): Promise<Alike[]> {
  const own = eq(itemVectors.tenant_id, ctx.tenant.id)
  const names = recent.slice(0, MOST_ITEMS).map(([item]) => item)
  const rows = await ctx.db
    .select()
    .from(itemVectors)
    .where(and(own, inArray(itemVectors.item_id, listed(names))))
  const known = rows.map(({ item_id, vector }) => ({ item: item_id, vector: unpacked(vector) }))
  const middle = between(sharesOf(recent, known))
  const last = names.flatMap((name) => rows.find(({ item_id }) => item_id === name) ?? [])[0]
  if (!last) return []
  const others = await ctx.db
    .select()
    .from(itemVectors)
    .where(and(own, sql`${itemVectors.category} is ${last.category}`))
    .limit(MOST_COMPARED)
  return others
    .filter(({ item_id }) => !names.includes(item_id))
    .map(({ item_id, vector }) => ({
      item_id,
      score: cosine(middle, unpacked(vector)),
      because: last.item_id,
    }))
    .filter(({ score }) => score > 0)
    .sort((a, b) => b.score - a.score)
}

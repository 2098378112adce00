import { and, asc, eq, gt, inArray, sql } from 'drizzle-orm'
import type { SQLiteColumn } from 'drizzle-orm/sqlite-core'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { tenantDatabase } from '../../../data/database'
import { erasedWithTenant } from '../../../data/erasure'
import { insertRows } from '../../../data/insert-rows'
import { itemChanges, items } from '../items/table'
import type { Embed } from './engine'
import { modelEmbeddings } from './models'
import { remoteEmbeddings } from './remote'
import { itemVectors } from './table'
import { packed } from './vectors'

// Items that changed are told to the model that makes vectors of them, in the order in which they were committed. What was
// told is taken off the list together with what came of it; until then, whatever is down, it stays there.

/** Items of one call. */
const MOST_ITEMS = 50
/** Calls of one turn. */
const MOST_CALLS = 10

/** Who makes vectors of items in this service: the remote engine, or Workers AI where an index is bound; null where nobody does. */
export function embedderOf({ settings, env }: Pick<Context, 'settings' | 'env'>): Embed | null {
  if (settings.ML_ENGINE_URL !== '') return remoteEmbeddings
  return env.VECTORIZE && env.AI ? modelEmbeddings : null
}

/**
 * Where a tenant's list is gone on with after a failure: with half as many items, and behind one that fails by itself, so
 * that it holds up no other. Behind the last it begins anew.
 */
type Place = { after: string; most: number }
const START: Place = { after: '', most: MOST_ITEMS }
const places = new Map<string, Place>()

/** Has vectors made of the tenant's items that changed, and forgets those of items that are gone. Answers whether more are left. */
export async function embedChanged(ctx: Context): Promise<boolean> {
  const embed = embedderOf(ctx)
  for (let calls = 0; embed && calls < MOST_CALLS; calls++) {
    const place = places.get(ctx.tenant.id) ?? START
    const changed = await changedItems(ctx, place)
    try {
      if (changed.length > 0) await tell(ctx, embed, changed)
    } catch (error) {
      const [first] = changed
      if (changed.length > 1) places.set(ctx.tenant.id, { ...place, most: changed.length >> 1 })
      else if (first) places.set(ctx.tenant.id, { ...START, after: first.item_id })
      throw error
    }
    if (changed.length === place.most) continue
    places.delete(ctx.tenant.id)
    return place.after !== ''
  }
  return embed !== null
}

const changedItems = (ctx: Context, { after, most }: Place) =>
  ctx.db
    .select({
      seq: itemChanges.seq,
      item_id: itemChanges.item_id,
      id: items.id,
      title: items.title,
      category: items.category,
      tags: items.tags,
      attributes: items.attributes,
      vector: itemVectors.vector,
    })
    .from(itemChanges)
    .leftJoin(
      items,
      and(eq(items.tenant_id, itemChanges.tenant_id), eq(items.external_id, itemChanges.item_id)),
    )
    .leftJoin(
      itemVectors,
      and(eq(itemVectors.tenant_id, itemChanges.tenant_id), eq(itemVectors.item_id, itemChanges.item_id)),
    )
    .where(and(eq(itemChanges.tenant_id, ctx.tenant.id), gt(itemChanges.item_id, after)))
    .orderBy(asc(itemChanges.item_id))
    .limit(most)

type Changed = Awaited<ReturnType<typeof changedItems>>

async function tell(ctx: Context, embed: Embed, changed: Changed): Promise<void> {
  const there = changed.flatMap(({ id, item_id, title, category, tags, attributes }) =>
    id === null
      ? []
      : [{ id, item_id, title: title ?? '', category, tags: tags ?? [], attributes: attributes ?? {} }],
  )
  const described = there.map(({ id: _, ...said }) => said)
  const made = described.length === 0 ? [] : await embed(ctx, described)
  const vectors = new Map(made.map(({ item_id, embedding }) => [item_id, embedding]))
  const index = ctx.env.VECTORIZE
  const rows = there.flatMap(({ id, item_id, category }) => {
    const values = vectors.get(item_id)
    return values ? [{ id, item_id, category, values }] : []
  })
  if (index && rows.length > 0)
    await index.upsert(rows.map(({ id, values }) => ({ id, values, namespace: ctx.tenant.id })))
  const kept = new Set(rows.map(({ id }) => id))
  const gone = changed.flatMap(({ vector }) => (vector !== null && !kept.has(vector) ? vector : []))
  if (index && gone.length > 0) await index.deleteByIds(gone)
  const names = changed.map(({ item_id }) => item_id)
  await commit(ctx, {
    statements: [
      ctx.db
        .delete(itemVectors)
        .where(and(eq(itemVectors.tenant_id, ctx.tenant.id), oneOf(itemVectors.item_id, names))),
      ...insertRows(
        ctx,
        itemVectors,
        rows.map(({ id, item_id, category, values }) => ({
          ...{ tenant_id: ctx.tenant.id, item_id, category },
          // Where an index has it, by what name.
          vector: index ? id : packed(values),
        })),
      ),
      // One that changed meanwhile has another number, and stays on the list.
      ctx.db.delete(itemChanges).where(
        and(
          eq(itemChanges.tenant_id, ctx.tenant.id),
          oneOf(itemChanges.item_id, names),
          oneOf(
            itemChanges.seq,
            changed.map(({ seq }) => seq),
          ),
        ),
      ),
    ],
    result: undefined,
  })
}

const oneOf = (column: SQLiteColumn, values: readonly (string | number)[]) =>
  inArray(column, sql`(select value from json_each(${JSON.stringify(values)}))`)

// While the tenant's rows still say which there are.
erasedWithTenant({
  name: 'vectors',
  keys: async (ctx, after, limit) => {
    if (!ctx.env.VECTORIZE) return []
    const rows = await ctx.db
      .select({ item_id: itemVectors.item_id })
      .from(itemVectors)
      .where(and(eq(itemVectors.tenant_id, ctx.tenant.id), gt(itemVectors.item_id, after)))
      .orderBy(asc(itemVectors.item_id))
      .limit(limit)
    return rows.map(({ item_id }) => item_id)
  },
  erase: async (env, tenantId, itemId) => {
    const row = await tenantDatabase(env, tenantId)
      .select({ vector: itemVectors.vector })
      .from(itemVectors)
      .where(and(eq(itemVectors.tenant_id, tenantId), eq(itemVectors.item_id, itemId)))
      .get()
    if (row) await env.VECTORIZE?.deleteByIds([row.vector])
  },
})

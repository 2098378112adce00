import { env } from 'cloudflare:workers'
import type { Item, Upserted } from '../../../src/domains/catalog/items/schema'
import type { World } from '../../world'
import { call, callJson } from '../../world'

type Answer<T> = Awaited<ReturnType<typeof callJson<T>>>

/** Sends what a developer would: one item, or a list. */
export const put = <T = Item>(world: World, body: unknown, headers: Record<string, string> = {}) =>
  callJson<T>('POST', '/api/v1/items', { token: world.developer.token, body, headers })

/** Sends lines of another type. */
export const send = (
  world: World,
  type: string,
  raw: BodyInit,
  headers: Record<string, string> = {},
): Promise<Answer<Upserted>> =>
  callJson<Upserted>('POST', '/api/v1/items', {
    token: world.developer.token,
    raw,
    headers: { 'Content-Type': type, ...headers },
  })

export const csv = (world: World, text: BodyInit) => send(world, 'text/csv', text)
export const ndjson = (world: World, text: BodyInit) => send(world, 'application/x-ndjson', text)

export const get = (world: World, id: string) =>
  callJson<Item>('GET', `/api/v1/items/${id}`, { token: world.viewer.token })

/** The names of the items that a list answers with, page after page. */
export async function namesOf(world: World, query = ''): Promise<string[]> {
  const names: string[] = []
  let cursor: string | null = null
  do {
    const more: string = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`
    const page = await call('GET', `/api/v1/items?${query}${more}`, { token: world.viewer.token })
    const { data, meta, error } = (await page.json()) as {
      data: Item[]
      meta: { next_cursor: string | null }
      error?: unknown
    }
    if (page.status !== 200) throw new Error(JSON.stringify(error))
    names.push(...data.map(({ external_id }) => external_id))
    cursor = meta.next_cursor
  } while (cursor !== null)
  return names
}

type Named = { id: string; item_id: string; change: string }

/** What the tenant's `item.updated` events name, in order; each event a list. */
export async function announced(world: World): Promise<Named[][]> {
  const { results } = await env.DB.prepare(
    "select data, data_key from events where tenant_id = ? and type = 'item.updated' order by seq",
  )
    .bind(world.tenant.id)
    .all<{ data: string | null; data_key: string | null }>()
  const texts = results.map(
    async ({ data, data_key }) => data ?? (await (await env.FILES.get(data_key ?? ''))?.text()),
  )
  return (await Promise.all(texts)).map((text) => (JSON.parse(text ?? '') as { items: Named[] }).items)
}

/** The names that `item_changes` has, in the order of commit. */
export async function changesOf(world: World, after = 0): Promise<{ seq: number; item_id: string }[]> {
  const { results } = await env.DB.prepare(
    'select seq, item_id from item_changes where tenant_id = ? and seq > ? order by seq',
  )
    .bind(world.tenant.id, after)
    .all<{ seq: number; item_id: string }>()
  return results
}

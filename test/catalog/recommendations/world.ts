import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { tenantDatabase } from '../../../src/data/database'
import { interactions } from '../../../src/domains/catalog/interactions/table'
import { NewItem } from '../../../src/domains/catalog/items/schema'
import { putItems } from '../../../src/domains/catalog/items/service'
import { countLeft } from '../../../src/domains/catalog/recommendations/sweep'
import type { Bindings } from '../../../src/env'
import { iso, newId } from '../../../src/lib/ids'
import { serviceWith } from '../../http/service'
import { callJson, type World } from '../../world'

export const bindings = env as unknown as Bindings

/** What a user did, at some time; the last is now. */
export type Deed = { user_id: string; item_id: string; type?: string; value?: number; occurred_at?: string }

/** Puts interactions into D1 in that order, as if they had been registered. */
export async function did(world: World, deeds: readonly Deed[]): Promise<void> {
  const now = Date.now()
  const rows = deeds.map((deed) => ({
    tenant_id: world.tenant.id,
    id: newId(now),
    type: 'view',
    value: null,
    metadata: {},
    occurred_at: iso(now),
    created_at: iso(now),
    ...deed,
  }))
  const db = tenantDatabase(bindings, world.tenant.id)
  for (let at = 0; at < rows.length; at += 9) await db.insert(interactions).values(rows.slice(at, at + 9))
}

/** The catalogue: names of items, or more of each. */
export async function offers(
  world: World,
  wanted: readonly (string | { external_id: string; [more: string]: unknown })[],
): Promise<void> {
  const said = wanted.map((one) => (typeof one === 'string' ? { external_id: one } : one))
  const items = said.map((one) => NewItem.parse({ title: `The ${one.external_id}`, ...one }))
  await putItems(
    world.ctx,
    items.map((item) => ({ item })),
  )
}

/** Lets everything be counted that is there, as the sweep does. */
export async function counted(): Promise<void> {
  for (let left = 1, turns = 0; left > 0 && turns < 50; turns++) {
    const ctx = createExecutionContext()
    left = await countLeft(bindings, ctx)
    await waitOnExecutionContext(ctx)
  }
}

export type Answer = {
  recommendations: { item_id: string; score: number; reason: string | null }[]
  model: string
  generated_at: string
}

export const recommend = (world: World, body: object, path = '') =>
  callJson<Answer>('POST', `/api/v1/recommendations${path}`, { token: world.viewer.token, body })

/** The names of what is recommended, in order. */
export const names = async (world: World, body: object, path = '') => {
  const { status, data, error } = await recommend(world, body, path)
  if (status !== 200) throw new Error(JSON.stringify(error))
  return data.recommendations.map(({ item_id }) => item_id)
}

type Asked = { path: string; authorization?: string; body: Record<string, unknown> }

/** An engine of its own, and the service that asks it. */
export async function engine(answers: object = {}, more: object = {}) {
  const url = `${(bindings as unknown as { RECEIVER_URL: string }).RECEIVER_URL}/ml/${crypto.randomUUID()}`
  const says = (what: object) => fetch(url, { method: 'PUT', body: JSON.stringify(what) })
  await says(answers)
  const service = serviceWith({ ML_ENGINE_URL: url, ML_ENGINE_TOKEN: 'a-token-of-the-engine', ...more })
  const ask = async (world: World, body: object, path = '') => {
    const answer = await service('POST', `http://localhost:8787/api/v1/recommendations${path}`, {
      token: world.viewer.token,
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    })
    return { status: answer.status, data: ((await answer.json()) as { data: Answer }).data }
  }
  const calls = async () => (await (await fetch(url)).json()) as Asked[]
  return { url, says, ask, calls, service }
}

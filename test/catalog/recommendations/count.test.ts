import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { systemContext } from '../../../src/data/system'
import { countInteractions } from '../../../src/domains/catalog/recommendations/count'
import { type Done, strengthOf } from '../../../src/domains/catalog/recommendations/counting'
import { MOST_KEPT, MOST_NEAR } from '../../../src/domains/catalog/recommendations/neighbours'
import { countLeft, countNudged } from '../../../src/domains/catalog/recommendations/sweep'
import { eventually } from '../../webhooks/receiver'
import { call, makeWorld, type World } from '../../world'
import { bindings, counted, type Deed, did, names } from './world'

const all = async <T = Record<string, unknown>>(world: World, table: string, columns = '*') =>
  (
    await env.DB.prepare(`select ${columns} from ${table} where tenant_id = ? order by 1, 2, 3`)
      .bind(world.tenant.id)
      .all<T>()
  ).results

type Counted = { items: unknown[]; recents: unknown[] }

/** What was counted of a tenant, whoever it is; sums printed as `sum` says, since what is added otherwise is rounded otherwise. */
async function countedOf(
  world: World,
  sum: (weight: number) => unknown = (weight) => weight,
): Promise<Counted> {
  type Row = { item_id: string; weight: number; times: number; neighbours: string; farther: string }
  const weights = await all<Row>(world, 'item_weights', 'item_id, weight, times, neighbours, farther')
  const near = (text: string) => JSON.parse(text) as [string, number, number][]
  const users = await all<{ user_id: string; recent: string }>(world, 'user_recents', 'user_id, recent, 1')
  return {
    items: weights.map(({ item_id, weight, times, neighbours, farther }) => [
      ...[item_id, sum(weight), times],
      [...near(neighbours), ...near(farther)]
        .sort(([one], [other]) => (one < other ? -1 : 1))
        .map(([item, share, often]) => [item, sum(share), often]),
    ]),
    recents: users.map(({ user_id, recent }) => [user_id, JSON.parse(recent)]),
  }
}

const about = (weight: number): unknown => expect.closeTo(weight, 4)

let seed = 7
const random = (below: number) => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
  return Math.floor((seed / 2 ** 32) * below)
}
const TYPES = ['view', 'view', 'click', 'like', 'purchase', 'rating', 'shared']

function randomDeeds(many: number): Deed[] {
  return Array.from({ length: many }, () => {
    const type = TYPES[random(TYPES.length)] ?? 'view'
    const deed = { user_id: `user-${random(6)}`, item_id: `item-${random(25)}`, type }
    const occurred_at = new Date(Date.now() - random(400) * 24 * 3600_000).toISOString()
    return { ...deed, occurred_at, ...(type === 'rating' ? { value: random(7) - 1 } : {}) }
  })
}

const contextOf = (world: World) =>
  systemContext(
    bindings,
    { ...world.ctx.tenant },
    'recommendations',
    (work) => void work.catch(() => undefined),
  )

describe('counting', () => {
  it('counts each interaction once, however it is cut into batches and however often it is tried', async () => {
    const [world, whole] = [await makeWorld(), await makeWorld()]
    const deeds = randomDeeds(230)
    for (let at = 0; at < deeds.length; at += 23) {
      await did(world, deeds.slice(at, at + 23))
      await Promise.all([
        countInteractions(contextOf(world), 5_000),
        countInteractions(contextOf(world), 5_000).catch(() => null),
      ])
      await counted()
    }
    await did(whole, deeds)
    await counted()
    const sums = await countedOf(world)
    expect(sums.items.length).toBeGreaterThan(20)
    expect(sums).toEqual(await countedOf(whole, about))
    await countInteractions(contextOf(world), 5_000)
    expect(await countedOf(world)).toEqual(sums)
  })

  it('of two at the same time one wins, and nothing is counted twice', async () => {
    const world = await makeWorld()
    await did(world, [
      { user_id: 'a', item_id: 'x' },
      { user_id: 'b', item_id: 'x' },
    ])
    await Promise.all(
      Array.from({ length: 6 }, () =>
        countInteractions(contextOf(world), 5_000).catch((error: unknown) => error),
      ),
    )
    expect((await countedOf(world)).items).toEqual([['x', expect.any(Number), 2, []]])
  })

  it('takes back what is deleted, as if it had never been', async () => {
    const [world, without] = [await makeWorld(), await makeWorld()]
    const deeds = randomDeeds(160)
    await did(world, deeds)
    await counted()
    const ids = await all<{ seq: number; id: string }>(world, 'interactions', 'seq, id, 1')
    const gone = new Set(Array.from({ length: 40 }, () => random(ids.length)))
    for (const at of gone) {
      const answer = await call('DELETE', `/api/v1/interactions/${ids[at]?.id}`, {
        token: world.member.token,
      })
      expect(answer.status).toBe(204)
    }
    await counted()
    await did(
      without,
      deeds.filter((_, at) => !gone.has(at)),
    )
    await counted()
    expect(await countedOf(world)).toEqual(await countedOf(without, about))
    expect(await all(world, 'interactions_removed', 'seq, id, 1')).toEqual([])
  })

  it('takes back more of a user than is taken back at once, and leaves alone what others did with the same items', async () => {
    const [world, without] = [await makeWorld(), await makeWorld()]
    const deeds = randomDeeds(60).map((deed) => ({ ...deed, user_id: `other-${deed.user_id}` }))
    const gone = Array.from({ length: 450 }, (_, i) => ({ user_id: 'me', item_id: `item-${(i * 7) % 25}` }))
    await did(world, [...deeds, ...gone])
    await counted()
    await env.DB.prepare("delete from interactions where tenant_id = ? and user_id = 'me'")
      .bind(world.tenant.id)
      .run()
    await counted()
    await did(without, deeds)
    await counted()
    expect(await countedOf(world)).toEqual(await countedOf(without, about))
    expect(await all(world, 'interactions_removed', 'seq, id, 1')).toEqual([])
  })

  it('does not count what was deleted before it was counted, and leaves nothing of what is all gone', async () => {
    const world = await makeWorld()
    await did(world, [
      { user_id: 'a', item_id: 'x', type: 'purchase' },
      { user_id: 'a', item_id: 'y' },
    ])
    const remove = () =>
      env.DB.prepare('delete from interactions where tenant_id = ?').bind(world.tenant.id).run()
    await remove()
    await counted()
    const nothing = { items: [], recents: [] }
    expect(await countedOf(world)).toEqual(nothing)
    await did(world, [
      { user_id: 'a', item_id: 'x', type: 'purchase' },
      { user_id: 'a', item_id: 'y' },
    ])
    await counted()
    expect((await countedOf(world)).items.length).toBe(2)
    await remove()
    await counted()
    expect(await countedOf(world)).toEqual(nothing)
  })

  it('has a purchase that was deleted recommended again', async () => {
    const world = await makeWorld()
    await did(world, [
      ...['x', 'y'].map((item_id) => ({ user_id: 'other', item_id })),
      { user_id: 'me', item_id: 'x' },
      { user_id: 'me', item_id: 'y', type: 'purchase' },
    ])
    await counted()
    expect(await names(world, { user_id: 'me' })).toEqual(['x'])
    await env.DB.prepare("delete from interactions where tenant_id = ? and type = 'purchase'")
      .bind(world.tenant.id)
      .run()
    await counted()
    expect(await names(world, { user_id: 'me' })).toEqual(['y', 'x'])
  })

  it('follows an interaction that is registered by itself', async () => {
    const world = await makeWorld()
    for (const item_id of ['x', 'y'])
      for (const user_id of ['a', 'b'])
        await call('POST', '/api/v1/interactions', {
          token: world.member.token,
          body: { type: 'view', user_id, item_id },
        })
    const sums = await eventually(async () => {
      const { items } = await countedOf(world)
      return items.length === 2 && items.every((one) => (one as unknown[])[2] === 2) ? items : null
    })
    expect(sums[0]).toEqual(['x', expect.any(Number), 2, [['y', expect.any(Number), 2]]])
  })

  it('by a nudge that says that there are none asks D1 nothing', async () => {
    const asked: unknown[] = []
    const DB = {
      prepare: (sql: string) => {
        asked.push(sql)
        return env.DB.prepare(sql)
      },
    }
    const bare = { ...bindings, DB } as unknown as typeof bindings
    const ctx = createExecutionContext()
    await countNudged(bare, [{ tenant_id: 'none', event_ids: ['msg_1'], types: ['chat.created'] }], ctx)
    await waitOnExecutionContext(ctx)
    expect(asked).toEqual([])
  })

  it('that failed is on the list of the next sweep, and others are counted all the same', async () => {
    const [world, other] = [await makeWorld(), await makeWorld()]
    await counted()
    await did(world, [{ user_id: 'a', item_id: 'x' }])
    await did(other, [{ user_id: 'a', item_id: 'x' }])
    let failing = true
    const prepare = (sql: string) => {
      const statement = env.DB.prepare(sql)
      const bind = (...params: unknown[]) => {
        if (failing && /^insert into "item_weights"/.test(sql) && params.includes(world.tenant.id))
          throw new Error('D1 is not well')
        return statement.bind(...params)
      }
      return { bind }
    }
    const DB = { prepare, batch: env.DB.batch.bind(env.DB) }
    const ctx = createExecutionContext()
    expect(await countLeft({ ...bindings, DB } as never, ctx)).toBeGreaterThan(0)
    expect((await countedOf(other)).items.length).toBe(1)
    expect((await countedOf(world)).items).toEqual([])
    failing = false
    await counted()
    expect((await countedOf(world)).items.length).toBe(1)
  })

  it('keeps no more of an item than a row can hold, the nearest first', async () => {
    const world = await makeWorld()
    const others = Array.from({ length: 180 }, (_, i) => `other-${i}`)
    await did(world, [
      ...others.flatMap((item_id, i) => [
        { user_id: `u${i}`, item_id: 'hub' },
        { user_id: `u${i}`, item_id },
      ]),
      ...others.slice(0, 5).flatMap((item_id, i) => [
        { user_id: `v${i}`, item_id: 'hub' },
        { user_id: `v${i}`, item_id },
      ]),
    ])
    await counted()
    const hub = (
      await all<{ item_id: string; neighbours: string; farther: string }>(world, 'item_weights')
    ).find(({ item_id }) => item_id === 'hub')
    const near = JSON.parse(hub?.neighbours ?? '[]') as [string][]
    expect([near.length, JSON.parse(hub?.farther ?? '[]').length]).toEqual([MOST_NEAR, MOST_KEPT - MOST_NEAR])
    expect(
      near
        .slice(0, 5)
        .map(([item]) => item)
        .sort(),
    ).toEqual(others.slice(0, 5))
  })

  it('takes a rating by its value, and words that it does not know as a view', () => {
    const done = (type: string, value: number | null = null) => strengthOf({ type, value } as Done)
    expect([done('view'), done('click'), done('like'), done('purchase'), done('toString')]).toEqual([
      1, 2, 3, 5, 1,
    ])
    expect([done('rating', 4.5), done('rating', 9), done('rating', -1), done('rating')]).toEqual([
      4.5, 5, 0, 0,
    ])
  })
})

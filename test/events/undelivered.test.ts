import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { tenantDatabase } from '../../src/data/database'
import type { Event } from '../../src/domains/events/schema'
import { undelivered } from '../../src/domains/events/undelivered'
import type { Bindings } from '../../src/env'
import { newId } from '../../src/lib/ids'
import { connect, deliveriesOf, pass, send } from '../webhooks/deliver'
import { eventually } from '../webhooks/receiver'
import { callJson, makeWorld, type World } from '../world'

const list = (world: World, query = '') =>
  callJson<Event[]>('GET', `/api/v1/events?delivery=undelivered${query}`, { token: world.developer.token })

const idsOf = async (world: World, query = '') => (await list(world, query)).data.map(({ id }) => id)

/** Events of a minute ago with a delivery each, in the states given; answers with their ids, newest first. */
async function insert(world: World, states: string[], type = 'a.b', channel = 'x'): Promise<string[]> {
  const now = Date.now() - 60_000
  const rows = states.map((status) => ({ id: newId(now), status }))
  await env.DB.batch([
    env.DB.prepare(
      `insert into events (tenant_id, id, type, channels, data, dispatched, timestamp)
       select ?1, 'msg_' || (value ->> 'id'), ?3, json_array(?4), '{}', 1, '2026-01-31T10:00:00.000Z' from json_each(?2)`,
    ).bind(world.tenant.id, JSON.stringify(rows), type, channel),
    env.DB.prepare(
      `insert into deliveries (tenant_id, id, event_id, event_type, endpoint_id, status, created_at)
       select ?1, substr(value ->> 'id', 1, 30) || n.value, 'msg_' || (value ->> 'id'), ?3, ?4, value ->> 'status', 'x'
       from json_each(?2), json_each('["aaaaaa","bbbbbb","cccccc"]') as n`.replaceAll(
        'value ->>',
        'json_each.value ->>',
      ),
    ).bind(world.tenant.id, JSON.stringify(rows), type, newId(now)),
  ])
  return rows.map(({ id }) => `msg_${id}`).reverse()
}

describe('events that have not arrived', { timeout: 30_000 }, () => {
  it('are those of which a delivery is pending, held, failed or exhausted', async () => {
    const world = await makeWorld()
    const { endpoint } = await connect(world, [{}])
    const down = await connect(world, [{ status: 500 }], { event_types: ['order.shipped', 'order.lost'] })
    const both = await send(world)
    await send(world, 'order.nobody')
    await eventually(
      async () => (await deliveriesOf(world, `endpoint_id=${endpoint.id}&status=delivered`)).length === 1,
    )
    await eventually(async () => (await deliveriesOf(world, `event_id=${both}`)).length === 2)
    expect(await idsOf(world)).toEqual([both])
    const states = ['pending', 'delivered', 'held', 'failed', 'cancelled', 'exhausted']
    const made = await insert(world, states)
    const open = made.filter((_, i) => !['delivered', 'cancelled'].includes(states.toReversed()[i] ?? ''))
    expect(await idsOf(world)).toEqual([both, ...open])
    await env.DB.prepare(`update deliveries set status = 'delivered' where tenant_id = ? and endpoint_id = ?`)
      .bind(world.tenant.id, down.endpoint.id)
      .run()
    expect(await idsOf(world)).toEqual(open)
    await pass(world, endpoint.id)
  })

  it('are listed page by page among thousands that have, and with other filters', async () => {
    const world = await makeWorld()
    const old = await insert(world, ['held', 'failed'], 'a.rare', 'y')
    await insert(
      world,
      Array.from({ length: 1_500 }, () => 'delivered'),
    )
    const new_ = await insert(
      world,
      Array.from({ length: 5 }, () => 'exhausted'),
    )
    const all = [...new_, ...old]
    const paged: string[] = []
    for (let cursor = ''; ; ) {
      const page = await list(world, `&limit=2${cursor}`)
      paged.push(...page.data.map(({ id }) => id))
      if (page.meta.next_cursor === null) break
      cursor = `&cursor=${page.meta.next_cursor}`
    }
    expect(paged).toEqual(all)
    expect(await idsOf(world, '&type=a.rare')).toEqual(old)
    expect(await idsOf(world, '&channel=y&limit=1')).toEqual(old.slice(0, 1))
    expect(await idsOf(world, '&type=a.none')).toEqual([])
    const at = (id: string) => new Date(Number.parseInt(id.slice(4, 17).replace('-', ''), 16)).toISOString()
    const [newest = '', oldest = ''] = [all[0], all.at(-1)]
    expect(await idsOf(world, `&created_after=${at(newest)}`)).toContain(newest)
    expect(await idsOf(world, `&created_before=${at(oldest)}`)).toEqual([])
    const later = new Date(Date.parse(at(newest)) + 1).toISOString()
    expect(await idsOf(world, `&created_after=${later}`)).toEqual([])
    expect(await idsOf(world, `&created_before=${later}`)).toEqual(all)
  })

  it('of a type that is rare among them are found at once; among those on their way, so many a page', async () => {
    const world = await makeWorld()
    const rare = await insert(world, ['failed'], 'a.rare')
    await insert(
      world,
      Array.from({ length: 200 }, () => 'held'),
    )
    const found = await list(world, '&type=a.rare')
    expect([found.data.map(({ id }) => id), found.meta.next_cursor]).toEqual([rare, null])
    await insert(
      world,
      Array.from({ length: 300 }, () => 'pending'),
    )
    const first = await list(world, '&type=a.rare')
    expect(first.data).toEqual([])
    const second = await list(world, `&type=a.rare&cursor=${first.meta.next_cursor}`)
    expect([second.data.map(({ id }) => id), second.meta.next_cursor]).toEqual([rare, null])
  })

  it('cost a page no more with a large backlog than with a small one', async () => {
    const world = await makeWorld()
    await insert(world, ['held'])
    const read = async () => {
      let rows = 0
      const prepare = (sql: string) => ({
        bind: (...params: unknown[]) => ({
          all: async () => {
            const result = await env.DB.prepare(sql)
              .bind(...params)
              .all()
            rows += result.meta.rows_read
            return result
          },
        }),
      })
      const counted = { ...env, DB: { prepare } as unknown as D1Database } as unknown as Bindings
      const ctx = { ...world.ctx, env: counted, db: tenantDatabase(counted, world.tenant.id) }
      expect(await undelivered(ctx, {}, { before: null, from: null, most: 11 })).toHaveLength(11)
      return rows
    }
    await insert(
      world,
      Array.from({ length: 20 }, () => 'held'),
    )
    const few = await read()
    await insert(
      world,
      Array.from({ length: 3_000 }, (_, i) => (i % 2 ? 'held' : 'delivered')),
    )
    expect(await read()).toBeLessThanOrEqual(few + 20)
  })
})

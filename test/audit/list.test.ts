import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { databaseThrough } from '../../src/data/database'
import { listAudit } from '../../src/domains/audit/service'
import { call, callJson, makeWorld, type World } from '../world'
import { byHand, makeLogless, record } from './kit'

type Entry = { seq: number; action: string; actor_id: string; created_at: string } & Record<string, unknown>

async function list(world: World, query = '') {
  const { status, data, meta, error } = await callJson<Entry[]>('GET', `/api/v1/audit${query}`, {
    token: world.admin.token,
  })
  return { status, data, error, next: meta?.next_cursor as string | null }
}

const seqs = (entries: Entry[]) => entries.map(({ seq }) => seq)

/** Rows from `first` to `last`, a minute apart since the first of 2026; every thousandth is a rare one. */
const grown = (world: World, first: number, last: number) =>
  byHand(
    world,
    `insert into audit_log (tenant_id, seq, id, actor_kind, actor_id, action, resource, resource_id, request_id, created_at)
     select ?1, value, '00000000-0000-7000-8000-000000000000', 'system', 'worker', 'thing.change',
       iif(value % 1000 = 0, 'rarity', 'thing'), 'thing-' || value, 'req_' || value,
       strftime('%Y-%m-%dT%H:%M:%fZ', '2026-01-01', (value * 60) || ' seconds')
     from json_each('[${Array.from({ length: last - first + 1 }, (_, i) => first + i).join()}]')`,
  )

describe('the list of what was done', () => {
  it('shows who did what from where, what it changed, and in which request', async () => {
    const world = await makeWorld()
    const before = Date.now() - 1_000
    const made = await callJson<{ id: string }>('POST', '/api/v1/agents', {
      token: world.developer.token,
      headers: {
        'X-Request-ID': 'req_of_a_test',
        'User-Agent': 'audit-test',
        'CF-Connecting-IP': '203.0.113.99',
      },
      body: { name: 'Ada', kind: 'echo' },
    })
    const { data } = await list(world)
    expect(data[0]).toMatchObject({
      seq: 2,
      ...{ actor_kind: 'user', actor_id: world.developer.user.id, action: 'agent.create', resource: 'agent' },
      ...{ impersonator_kind: null, impersonator_id: null, impersonator_tenant_id: null, before: null },
      ...{
        resource_id: made.data.id,
        request_id: 'req_of_a_test',
        user_agent: 'audit-test',
        address: '203.0.113.99',
      },
      after: { name: 'Ada' },
    })
    const at = Date.parse(data[0]?.created_at ?? '')
    expect([at >= before, at <= Date.now() + 1_000]).toEqual([true, true])
  })

  it('shows whoever stood behind the actor', async () => {
    const [world, platform] = [await makeLogless(), await makeWorld()]
    const { id } = platform.admin.user
    const impersonator = {
      kind: 'user',
      id,
      tenant_id: platform.tenant.id,
      role: 'admin',
      partner_id: null,
    } as const
    await record({ ...world.ctx, impersonator })
    expect((await list(world)).data).toMatchObject([
      {
        ...{ actor_kind: 'user', actor_id: world.admin.user.id, impersonator_kind: 'user' },
        ...{ impersonator_id: platform.admin.user.id, impersonator_tenant_id: platform.tenant.id },
      },
    ])
  })

  it('goes back page by page, and misses nothing that comes meanwhile', async () => {
    const world = await makeLogless()
    for (let i = 0; i < 7; i++) await record(world.ctx, { i })
    const first = await list(world, '?limit=3')
    expect(seqs(first.data)).toEqual([7, 6, 5])
    await record(world.ctx)
    const second = await list(world, `?limit=3&cursor=${first.next}`)
    expect(seqs(second.data)).toEqual([4, 3, 2])
    const third = await list(world, `?limit=3&cursor=${second.next}`)
    expect([seqs(third.data), third.next]).toEqual([[1], null])
    const wrong = await list(world, `?limit=3&action=thing.change&cursor=${first.next}`)
    expect([wrong.status, wrong.error.details.fields]).toEqual([
      422,
      { cursor: expect.stringContaining('same filters') },
    ])
  })

  it('is chosen by who, what, which, when and in which request', async () => {
    const world = await makeLogless()
    await grown(world, 1, 3_000)
    await record(world.ctx, {}, 'thing.rename')
    const cases: [string, number[]][] = [
      [`?actor=${world.admin.user.id}`, [3001]],
      ['?actor=worker&limit=2', [3000, 2999]],
      ['?action=thing.rename', [3001]],
      ['?resource=rarity', [3000, 2000, 1000]],
      ['?resource_id=thing-17', [17]],
      ['?resource=rarity&resource_id=thing-17', []],
      ['?request_id=req_42', [42]],
      ['?created_before=2026-01-01T00:03:00Z', [2, 1]],
      ['?created_after=2026-01-01T00:03:00Z&created_before=2026-01-01T00:05:00Z', [4, 3]],
      ['?created_after=2026-01-01T05:03:00%2B05:00&created_before=2026-01-01T00:05:00Z', [4, 3]],
      ['?created_before=2025-01-01T00:00:00Z', []],
      ['?created_after=2030-01-01T00:00:00Z', []],
      ['?created_after=2026-01-01T00:00:00Z&resource=rarity&limit=1', [3000]],
    ]
    for (const [query, expected] of cases)
      expect([query, seqs((await list(world, query)).data)]).toEqual([query, expected])
    for (const query of ['?actor=', '?created_after=yesterday', '?verb=rename', '?limit=101'])
      expect([query, (await list(world, query)).status]).toEqual([query, 422])
  })

  it('is chosen by time where rows are missing too', async () => {
    const world = await makeLogless()
    await grown(world, 1, 64)
    await byHand(world, 'delete from audit_log where tenant_id = ? and seq in (16, 32, 33, 48)')
    const { data } = await list(
      world,
      '?created_after=2026-01-01T00:31:00Z&created_before=2026-01-01T00:36:00Z',
    )
    expect(seqs(data)).toEqual([35, 34, 31])
  })

  it('looks at so many rows and no more, however long the log is', { timeout: 60_000 }, async () => {
    const reads = async (world: World, query: object) => {
      const meta: number[] = []
      const counting = {
        prepare: (sql: string) => env.DB.prepare(sql),
        batch: async (statements: D1PreparedStatement[]) => env.DB.batch(statements),
      }
      const measured = async (sql: string, params: unknown[]) => {
        const answer = await counting
          .prepare(sql)
          .bind(...params)
          .all()
        meta.push(answer.meta.rows_read)
        return answer.results
      }
      const door = {
        ...counting,
        prepare: (sql: string) => ({
          bind: (...params: unknown[]) => ({
            raw: async () => (await measured(sql, params)).map((row) => Object.values(row)),
            all: async () => ({ results: await measured(sql, params) }),
          }),
        }),
      }
      const db = databaseThrough(door as never, world.tenant.id)
      const page = await listAudit({ ...world.ctx, db }, { limit: 20, ...query } as never)
      return {
        rows: meta.reduce((a, b) => a + b, 0),
        items: page.items.length,
        more: page.next_cursor !== null,
      }
    }
    const [small, large] = [await makeLogless(), await makeLogless()]
    await grown(small, 1, 100)
    for (let i = 0; i < 30; i++) await grown(large, i * 1000 + 1, (i + 1) * 1000)
    for (const query of [
      ...[{}, { actor: 'worker' }, { action: 'thing.change' }, { resource_id: 'thing-50' }],
      ...[{ resource: 'nothing' }, { request_id: 'nobody' }],
    ]) {
      const [few, many] = [await reads(small, query), await reads(large, query)]
      expect([query, few.rows]).toEqual([query, many.rows])
      expect(many.rows).toBeLessThanOrEqual(24)
    }
    // By halving: one row for each doubling of the log.
    const span = { created_after: '2026-01-01T01:00:00.000Z', created_before: '2026-01-01T01:10:00.000Z' }
    expect(await reads(large, span)).toMatchObject({ items: 10, more: false })
    expect((await reads(large, span)).rows).toBeLessThan(100)
    const collected: number[] = []
    let cursor: string | null = null
    do {
      const page = await list(large, `?resource=rarity&limit=4${cursor === null ? '' : `&cursor=${cursor}`}`)
      collected.push(...seqs(page.data))
      cursor = page.next
    } while (cursor !== null)
    expect(collected).toEqual(Array.from({ length: 30 }, (_, i) => (30 - i) * 1000))
  })

  it('shows what was written by hand too, and the rest beside it', async () => {
    const world = await makeLogless()
    for (let i = 0; i < 5; i++) await record(world.ctx, { i })
    await byHand(
      world,
      "update audit_log set actor_kind = 'root', created_at = 'x', id = 'x' where tenant_id = ? and seq = 1",
      "update audit_log set before = 'no json', after = '[1]' where tenant_id = ? and seq = 2",
      "update audit_log set action = x'00', before = x'00' where tenant_id = ? and seq = 3",
      'update audit_log set seq = 3.5 where tenant_id = ? and seq = 4',
      `insert into audit_log (tenant_id, seq, id, actor_kind, action, resource, resource_id, created_at)
       select tenant_id, 'x', id, actor_kind, action, resource, resource_id, created_at from audit_log
       where tenant_id = ? and seq = 5`,
    )
    const first = await list(world, '?limit=3')
    expect([first.status, seqs(first.data)]).toEqual([200, [5, 3.5, 3]])
    const { data } = await list(world, `?limit=3&cursor=${first.next}`)
    expect(data).toMatchObject([
      { seq: 2, before: { unreadable: 'no json' }, after: { unreadable: '[1]' } },
      { seq: 1, actor_kind: 'root', created_at: 'x', id: 'x' },
    ])
    const file = await call('GET', '/api/v1/audit/export', { token: world.admin.token })
    const lines = (await file.text()).trimEnd().split('\n')
    expect(lines.map((line) => JSON.parse(line).seq)).toEqual([1, 2, 3, 3.5, 5])
    const csv = await call('GET', '/api/v1/audit/export?format=csv', { token: world.admin.token })
    expect((await csv.text()).trimEnd().split('\r\n')).toHaveLength(6)
  })

  it('refuses a cursor that somebody made up', async () => {
    const world = await makeLogless()
    for (let i = 0; i < 3; i++) await record(world.ctx)
    const { next } = await list(world, '?limit=1')
    const [name] = JSON.parse(atob((next ?? '').replaceAll('-', '+').replaceAll('_', '/')))
    const cursor = btoa(JSON.stringify([name, 'x', '']))
      .replaceAll('+', '-')
      .replaceAll('/', '_')
    const { status } = await list(world, `?limit=1&cursor=${cursor.replaceAll('=', '')}`)
    expect(status).toBe(422)
  })

  it('is the tenant’s own, and of those who may read it', async () => {
    const [world, other] = [await makeLogless(), await makeLogless()]
    await record(world.ctx)
    expect((await list(other)).data).toEqual([])
    const cursor = (await list(world, '?limit=1')).next
    expect(cursor).toBe(null)
    expect((await call('GET', '/api/v1/audit', { token: world.viewer.token })).status).toBe(200)
    expect((await call('GET', '/api/v1/audit')).status).toBe(401)
  })
})

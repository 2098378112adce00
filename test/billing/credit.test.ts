import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { commit } from '../../src/data/commit'
import { contextFor } from '../../src/data/system'
import { monthByKind, monthOf } from '../../src/domains/billing/invoices/monthly'
import { booked } from '../../src/domains/billing/ledger'
import { getBalance, listTransactions } from '../../src/domains/billing/service'
import { rowsRead } from '../rows-read'
import { callJson, makePlatformAdmin, makeWorld, type Person, requestContext, type World } from '../world'

type Row = { kind: string; amount: number; balance_after: number; reference: string | null }

let operator: Person
beforeAll(async () => {
  operator = await makePlatformAdmin()
})

const grant = (world: World, body: unknown) =>
  callJson('POST', `/api/platform/tenants/${world.tenant.id}/credits`, { token: operator.token, body })
const balanceOf = async (world: World) =>
  (await callJson<{ balance: number }>('GET', '/api/v1/billing/balance', { token: world.viewer.token })).data
const rowsOf = async (world: World, query = '') =>
  (
    await callJson<Row[]>('GET', `/api/v1/billing/transactions${query}`, { token: world.viewer.token })
  ).data.map(({ kind, amount, balance_after, reference }) => [kind, amount, balance_after, reference])

/** Books as what spends credit does, each in a request of its own. */
function book(world: World, kind: 'spend' | 'reserve' | 'release', amount: number, reference?: string) {
  const ctx = contextFor(requestContext(), world.ctx.tenant, world.ctx.principal)
  return commit(ctx, { statements: booked(ctx, { kind, amount, reference }), result: null })
}

describe('a tenant’s credit', () => {
  it('is nothing at first', async () => {
    const world = await makeWorld()
    expect(await balanceOf(world)).toEqual({ balance: 0, updated_at: null })
    expect(await rowsOf(world)).toEqual([])
  })

  it('is granted by the platform, under one reference once', async () => {
    const world = await makeWorld()
    const { status, data } = await grant(world, { amount: 500, reference: 'welcome' })
    expect([status, data]).toMatchObject([201, { kind: 'grant', amount: 500, reference: 'welcome' }])
    const again = await grant(world, { amount: 500, reference: 'welcome' })
    expect([again.status, again.error.code]).toEqual([409, 'already_exists'])
    expect((await grant(world, { amount: 20 })).status).toBe(201)
    expect((await grant(world, { amount: 20 })).status).toBe(201)
    expect((await balanceOf(world)).balance).toBe(540)
    expect(await rowsOf(world)).toEqual([
      ['grant', 20, 540, null],
      ['grant', 20, 520, null],
      ['grant', 500, 500, 'welcome'],
    ])
    expect(await rowsOf(world, '?reference=welcome')).toEqual([['grant', 500, 500, 'welcome']])
    expect(await rowsOf(world, '?kind=spend')).toEqual([])
    const { data: log } = await callJson<{ action: string }[]>('GET', '/api/v1/audit?action=credit.grant', {
      token: world.admin.token,
    })
    expect(log).toHaveLength(3)
  })

  it('is not granted by a tenant, to nobody, or in other numbers', async () => {
    const world = await makeWorld()
    const path = `/api/platform/tenants/${world.tenant.id}/credits`
    expect((await callJson('POST', path, { token: world.admin.token, body: { amount: 1 } })).status).toBe(403)
    const nobody = await callJson('POST', `/api/platform/tenants/${crypto.randomUUID()}/credits`, {
      token: operator.token,
      body: { amount: 1 },
    })
    expect(nobody.status).toBe(404)
    for (const amount of [0, -5, 1.5, 1e12, '10', null]) {
      const { status, error } = await grant(world, { amount })
      expect([status, Object.keys(error.details.fields ?? {})]).toEqual([422, ['amount']])
    }
    expect(await rowsOf(world)).toEqual([])
  })

  it('never falls below zero, however many spend at once', async () => {
    const world = await makeWorld()
    await grant(world, { amount: 40 })
    const spent = await Promise.allSettled(Array.from({ length: 100 }, () => book(world, 'spend', -1)))
    const refusals = spent.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []))
    expect(refusals).toHaveLength(60)
    expect(new Set(refusals.map(({ code, status }) => `${status} ${code}`))).toEqual(
      new Set(['409 insufficient_credit']),
    )
    expect((await balanceOf(world)).balance).toBe(0)
    // Each row follows the one before it.
    const { results } = await env.DB.prepare(
      'select seq, balance_after from credit_transactions where tenant_id = ? order by seq',
    )
      .bind(world.tenant.id)
      .all<{ seq: number; balance_after: number }>()
    expect(results.map(({ seq }) => seq)).toEqual(Array.from({ length: 41 }, (_, i) => i + 1))
    expect(results.map((row) => row.balance_after)).toEqual(Array.from({ length: 41 }, (_, i) => 40 - i))
  })

  it('is reserved and released in one go, each once', async () => {
    const world = await makeWorld()
    await grant(world, { amount: 100 })
    await book(world, 'reserve', -80, 'call:1')
    await expect(book(world, 'reserve', -30, 'call:2')).rejects.toMatchObject({
      code: 'insufficient_credit',
      details: { needed: 30 },
    })
    const ctx = contextFor(requestContext(), world.ctx.tenant, world.ctx.principal)
    const settle = () =>
      commit(ctx, {
        statements: [
          ...booked(ctx, { kind: 'release', amount: 80, reference: 'call:1' }),
          ...booked(ctx, { kind: 'spend', amount: -25, reference: 'call:1' }),
        ],
        result: null,
      })
    await settle()
    await expect(settle()).rejects.toThrow()
    expect(await rowsOf(world)).toEqual([
      ['spend', -25, 75, 'call:1'],
      ['release', 80, 100, 'call:1'],
      ['reserve', -80, 20, 'call:1'],
      ['grant', 100, 100, null],
    ])
  })

  it('costs the same to read with 10 transactions and with 10,000', async () => {
    const [few, many] = [await makeWorld(), await makeWorld()]
    for (const [world, count] of [
      [few, 10],
      [many, 10_000],
    ] as const)
      await env.DB.prepare(
        `with recursive n(i) as (select 1 union all select i + 1 from n where i < ?2)
         insert into credit_transactions (tenant_id, seq, id, kind, amount, balance_after, reference, created_at)
         select ?1, i, lower(hex(randomblob(16))), iif(i = 1, 'grant', 'spend'), 1, i, 'of-' || i, '2026-01-01T00:00:00.000Z' from n`,
      )
        .bind(world.tenant.id, count)
        .run()
    const reads = {
      balance: (ctx: World['ctx']) => getBalance(ctx),
      transactions: (ctx: World['ctx']) => listTransactions(ctx, { limit: 5 }),
      spent: (ctx: World['ctx']) => listTransactions(ctx, { limit: 5, kind: 'spend' }),
      granted: (ctx: World['ctx']) => listTransactions(ctx, { limit: 5, kind: 'grant' }),
      one: (ctx: World['ctx']) => listTransactions(ctx, { limit: 5, reference: 'of-7' }),
      month: (ctx: World['ctx']) => monthByKind(ctx, '2026-01'),
    }
    for (const [name, read] of Object.entries(reads)) {
      const [one, other] = [await rowsRead(few.ctx, read), await rowsRead(many.ctx, read)]
      // The first row beyond may count, or not.
      expect([name, Math.abs(other - one) <= 1]).toEqual([name, true])
    }
    expect((await monthByKind(many.ctx, '2026-01')).get('spend')).toEqual({
      transactions: 9_999,
      amount: 9_999,
    })
  })

  it('is read by kind and time, page by page, and each transaction is on one page', async () => {
    const world = await makeWorld()
    const at = (minute: number) => `2026-03-01T10:${String(minute).padStart(2, '0')}:00.000Z`
    // As many as two at the same moment, and one that was committed late.
    const times = [1, 1, 2, 4, 3, 5, 5, 6]
    const insert = env.DB.prepare(
      `insert into credit_transactions (tenant_id, seq, id, kind, amount, balance_after, created_at)
       values (?, ?, ?, ?, 1, ?, ?)`,
    )
    await env.DB.batch(
      times.map((minute, i) =>
        insert.bind(
          ...[
            world.tenant.id,
            i + 1,
            crypto.randomUUID(),
            i % 2 === 0 ? 'grant' : 'purchase',
            i + 1,
            at(minute),
          ],
        ),
      ),
    )
    const pages = async (query: string) => {
      const found: number[] = []
      for (let cursor = '', pages = 0; pages < 20; pages++) {
        const path = `/api/v1/billing/transactions?limit=2&${query}${cursor}`
        const { status, data, meta } = await callJson<{ balance_after: number }[]>('GET', path, {
          token: world.viewer.token,
        })
        expect(status).toBe(200)
        found.push(...data.map(({ balance_after }) => balance_after))
        if (meta.next_cursor === null) return found
        cursor = `&cursor=${meta.next_cursor}`
      }
      throw new Error('there is always another page')
    }
    expect(await pages('')).toEqual([8, 7, 6, 5, 4, 3, 2, 1])
    expect(await pages('kind=grant')).toEqual([7, 5, 3, 1])
    expect(await pages(`created_after=${at(2)}&created_before=${at(6)}`)).toEqual([7, 6, 4, 5, 3])
    expect(await pages(`kind=purchase&created_after=${at(4)}`)).toEqual([8, 6, 4])
    expect(await pages(`created_before=${at(1)}`)).toEqual([])
    const wrong = await callJson('GET', '/api/v1/billing/transactions?created_after=yesterday', {
      token: world.viewer.token,
    })
    expect([wrong.status, Object.keys(wrong.error.details.fields ?? {})]).toEqual([422, ['created_after']])
  })

  it('is what its months say, after whatever was booked at once', async () => {
    const world = await makeWorld()
    await grant(world, { amount: 50 })
    await Promise.allSettled(
      Array.from({ length: 60 }, (_, i) => book(world, i % 3 === 0 ? 'reserve' : 'spend', -1, `of-${i}`)),
    )
    const months = await monthByKind(world.ctx, monthOf(Date.now()))
    const sum = [...months.values()].reduce((all, { amount }) => all + amount, 0)
    expect([sum, (await balanceOf(world)).balance]).toEqual([0, 0])
  })

  it('can’t be changed afterwards', async () => {
    const world = await makeWorld()
    await grant(world, { amount: 10 })
    const change = env.DB.prepare('update credit_transactions set balance_after = 99 where tenant_id = ?')
    await expect(change.bind(world.tenant.id).run()).rejects.toThrow(/append-only/)
    expect((await balanceOf(world)).balance).toBe(10)
  })
})

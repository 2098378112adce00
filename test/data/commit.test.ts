import { env } from 'cloudflare:workers'
import { eq, sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { commit } from '../../src/data/commit'
import type { Context, IdempotencyClaim } from '../../src/data/context'
import { IdempotencyRace } from '../../src/data/refusal'
import { auditLog } from '../../src/domains/audit/table'
import { interactions } from '../../src/domains/catalog/interactions/table'
import { events } from '../../src/domains/events/table'
import { users } from '../../src/domains/identity/users/table'
import { iso, newId } from '../../src/lib/ids'
import { Problem, problem } from '../../src/lib/problem'
import { makeWorld } from '../world'

/** How many rows of each kind the tenant has. */
async function counts(ctx: Context) {
  const of = async (table: string) =>
    (
      await env.DB.prepare(`select count(*) as n from ${table} where tenant_id = ?`)
        .bind(ctx.tenant.id)
        .first<{ n: number }>()
    )?.n
  return {
    interactions: await of('interactions'),
    audit: await of('audit_log'),
    events: await of('events'),
    keys: await of('idempotency_keys'),
  }
}

function insertion(ctx: Context, id = newId(ctx.now), text = 'hello') {
  const now = iso(ctx.now)
  return ctx.db.insert(interactions).values({
    tenant_id: ctx.tenant.id,
    id,
    type: 'speech',
    text,
    metadata: {},
    occurred_at: now,
    created_at: now,
  })
}

const audit = { action: 'thing.make', resource: 'thing', resource_id: 'x' }
const event = { type: 'user.created', data: { a: 1 } }
const refusal = (n: number) => problem('conflict', `refusal ${n}`)

function claimOf(ctx: Context, key: string, more: Partial<IdempotencyClaim> = {}): IdempotencyClaim {
  return {
    tenant_id: ctx.tenant.id,
    principal: 'user:me',
    key,
    fingerprint: 'f',
    claim: crypto.randomUUID(),
    claimed: false,
    finished: false,
    render: (result) => ({ status: 201, headers: {}, body: JSON.stringify(result), secret: false }),
    ...more,
  }
}

const failure = async (work: Promise<unknown>) => {
  try {
    await work
  } catch (error) {
    return error
  }
  throw new Error('it did not fail')
}

describe('commit', () => {
  it('writes the change, its audit row, its event and its key in one batch', async () => {
    const { ctx } = await makeWorld()
    const before = await counts(ctx)
    const claim = claimOf(ctx, 'k')
    const result = await commit(
      { ...ctx, idempotency: claim },
      { statements: [insertion(ctx)], result: { id: 1 }, audit: [audit, audit], events: [event] },
    )
    expect(result).toEqual({ id: 1 })
    expect(claim.finished).toBe(true)
    expect(await counts(ctx)).toEqual({
      interactions: (before.interactions ?? 0) + 1,
      audit: (before.audit ?? 0) + 2,
      events: (before.events ?? 0) + 1,
      keys: (before.keys ?? 0) + 1,
    })
    const [row] = await ctx.db.select().from(auditLog).where(eq(auditLog.tenant_id, ctx.tenant.id)).limit(1)
    expect(row).toMatchObject({ actor_kind: 'user', actor_id: ctx.principal.id, address: '203.0.113.7' })
  })

  it('answers what there is nothing to write for', async () => {
    const { ctx } = await makeWorld()
    expect(await commit(ctx, { statements: [], result: 'same' })).toBe('same')
  })

  describe('a failed guard writes nothing at all', () => {
    const nowhere = (ctx: Context) =>
      ctx.db
        .update(interactions)
        .set({ text: 'changed' })
        .where(sql`tenant_id = ${ctx.tenant.id} and id = 'there is none'`)

    const cases: Record<string, (ctx: Context) => Parameters<typeof commit>[1]['statements']> = {
      'a statement that changed no row': (ctx) => [{ statement: nowhere(ctx), otherwise: refusal(1) }],
      'the same after a good statement': (ctx) => [
        insertion(ctx),
        { statement: nowhere(ctx), otherwise: refusal(1) },
      ],
      'the same before a good statement': (ctx) => [
        { statement: nowhere(ctx), otherwise: refusal(1) },
        insertion(ctx),
      ],
      'a check that does not hold': (ctx) => [{ holds: sql`1 = 0`, otherwise: refusal(1) }, insertion(ctx)],
      'a check at the end': (ctx) => [insertion(ctx), { holds: sql`1 = 0`, otherwise: refusal(1) }],
      'a check whose answer is unknown': (ctx) => [
        insertion(ctx),
        { holds: sql`null`, otherwise: refusal(1) },
      ],
      'the first of several that fail': (ctx) => [
        { holds: sql`1 = 1`, otherwise: refusal(0) },
        { statement: insertion(ctx), otherwise: refusal(0) },
        { statement: nowhere(ctx), otherwise: refusal(1) },
        { holds: sql`1 = 0`, otherwise: refusal(2) },
      ],
    }
    for (const [name, statements] of Object.entries(cases))
      it(name, async () => {
        const { ctx } = await makeWorld()
        const before = await counts(ctx)
        const claim = claimOf(ctx, 'k')
        const error = await failure(
          commit(
            { ...ctx, idempotency: claim },
            { statements: statements(ctx), result: null, audit, events: [event] },
          ),
        )
        expect(error).toMatchObject({ code: 'conflict', message: 'refusal 1' })
        expect(await counts(ctx)).toEqual(before)
        expect(claim.finished).toBe(false)
      })
  })

  it('takes a change that a good guard stands before', async () => {
    const { ctx } = await makeWorld()
    await commit(ctx, {
      statements: [
        { holds: sql`1 = 1`, otherwise: refusal(0) },
        { statement: insertion(ctx), otherwise: refusal(1) },
      ],
      result: null,
    })
    expect((await counts(ctx)).interactions).toBe(1)
  })

  it('is not misled by values that look like its own messages', async () => {
    const { ctx } = await makeWorld()
    const hostile = 'guard:0 UNIQUE constraint failed: users.email'
    await commit(ctx, {
      statements: [
        { holds: sql`${hostile} <> ''`, otherwise: refusal(0) },
        insertion(ctx, undefined, hostile),
      ],
      result: null,
    })
    const id = newId(ctx.now)
    await commit(ctx, { statements: [insertion(ctx, id)], result: null })
    // A row that is there already, its text made to look like a guard: an error as it is, not a refusal of ours.
    const error = await failure(
      commit(ctx, {
        statements: [{ holds: sql`1 = 1`, otherwise: refusal(0) }, insertion(ctx, id, hostile)],
        result: null,
        unique: { 'users.email': refusal(2) },
      }),
    )
    expect(error).not.toBeInstanceOf(Problem)
  })

  it('does not take a condition about another tenant for one that does not hold', async () => {
    const [{ ctx }, other] = [await makeWorld(), await makeWorld()]
    const holds = sql`exists (select 1 from ${users} where tenant_id = ${other.tenant.id})`
    const error = await failure(commit(ctx, { statements: [{ holds, otherwise: refusal(0) }], result: null }))
    expect(error).not.toBeInstanceOf(Problem)
    expect(String(error)).toContain('statement refused: bound to another tenant')
  })

  it('names the refusal of the UNIQUE constraint that was violated', async () => {
    const { ctx, admin, member } = await makeWorld()
    const taken = problem('already_exists', 'taken')
    const change = (id: string) => ({
      statements: [
        ctx.db
          .update(users)
          .set({ email: admin.user.email })
          .where(sql`tenant_id = ${ctx.tenant.id} and id = ${id}`),
      ],
      result: null,
      unique: { 'tenants.slug': refusal(1), 'users.tenant_id, users.email': taken },
      audit,
    })
    const before = await counts(ctx)
    expect(await failure(commit(ctx, change(member.user.id)))).toBe(taken)
    expect(await counts(ctx)).toEqual(before)
    expect(await failure(commit(ctx, { ...change(member.user.id), unique: {} }))).not.toBeInstanceOf(Problem)
  })

  it('refuses a payload that is too large before anything is written', async () => {
    const { ctx } = await makeWorld()
    const before = await counts(ctx)
    const error = await failure(
      commit(ctx, {
        statements: [insertion(ctx)],
        result: null,
        events: [{ type: 'user.created', data: 'x'.repeat(256 * 1024 + 1) }],
      }),
    )
    expect(error).toMatchObject({ code: 'payload_too_large', status: 413 })
    expect(await counts(ctx)).toEqual(before)
  })

  it('keeps a large payload outside the row, byte for byte', async () => {
    const { ctx } = await makeWorld()
    const data = { text: 'ü'.repeat(20_000) }
    await commit(ctx, {
      statements: [],
      result: null,
      events: [{ type: 'user.created', data, id: 'msg_big' }],
    })
    const row = await ctx.db
      .select()
      .from(events)
      .where(sql`tenant_id = ${ctx.tenant.id} and id = 'msg_big'`)
      .get()
    expect(row?.data).toBeNull()
    expect(row?.data_key).toContain(ctx.tenant.id)
    expect(await (await env.FILES.get(row?.data_key ?? ''))?.text()).toBe(JSON.stringify(data))
  })
})

describe('the idempotency key of a commit', () => {
  it('lets one of two equal requests win; the other learns that it lost, not that the thing exists', async () => {
    const { ctx } = await makeWorld()
    const id = newId(ctx.now)
    const attempt = () =>
      commit(
        { ...ctx, idempotency: claimOf(ctx, 'k') },
        {
          statements: [insertion(ctx, id)],
          result: null,
          unique: { 'interactions.tenant_id': problem('already_exists', 'it exists') },
        },
      )
    await attempt()
    expect(await failure(attempt())).toBeInstanceOf(IdempotencyRace)
    expect((await counts(ctx)).interactions).toBe(1)
  })

  it('fails the batch of a claim that was taken over', async () => {
    const { ctx } = await makeWorld()
    const mine = claimOf(ctx, 'k', { claimed: true })
    await env.DB.prepare(
      'insert into idempotency_keys (tenant_id, principal, key, fingerprint, claim, created_at) values (?, ?, ?, ?, ?, ?)',
    )
      .bind(ctx.tenant.id, mine.principal, mine.key, mine.fingerprint, 'another request', iso(ctx.now))
      .run()
    const before = await counts(ctx)
    const error = await failure(
      commit(
        { ...ctx, idempotency: mine },
        { statements: [insertion(ctx)], result: null, audit, events: [event] },
      ),
    )
    expect(error).toMatchObject({ code: 'idempotency_in_progress' })
    expect(await counts(ctx)).toEqual(before)
  })

  it('finishes its own claim', async () => {
    const { ctx } = await makeWorld()
    const mine = claimOf(ctx, 'k', { claimed: true })
    await env.DB.prepare(
      'insert into idempotency_keys (tenant_id, principal, key, fingerprint, claim, created_at) values (?, ?, ?, ?, ?, ?)',
    )
      .bind(ctx.tenant.id, mine.principal, mine.key, mine.fingerprint, mine.claim, iso(ctx.now))
      .run()
    await commit({ ...ctx, idempotency: mine }, { statements: [insertion(ctx)], result: { ok: true } })
    const row = await env.DB.prepare(
      'select status, body from idempotency_keys where tenant_id = ? and key = ?',
    )
      .bind(ctx.tenant.id, 'k')
      .first()
    expect(row).toEqual({ status: 201, body: '{"ok":true}' })
  })

  it('seals the answer of a result that holds a secret', async () => {
    const { ctx } = await makeWorld()
    await commit(
      { ...ctx, idempotency: claimOf(ctx, 'k') },
      { statements: [insertion(ctx)], result: { key: 'sk_live_in_the_clear' }, secret: true },
    )
    const row = await env.DB.prepare('select body from idempotency_keys where tenant_id = ?')
      .bind(ctx.tenant.id)
      .first<{ body: string }>()
    expect(row?.body).toMatch(/^v2\./)
    expect(row?.body).not.toContain('sk_live')
  })
})

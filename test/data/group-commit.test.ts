import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { describe, expect, it, vi } from 'vitest'
import { type Change, commit } from '../../src/data/commit'
import type { Context, IdempotencyClaim } from '../../src/data/context'
import { IdempotencyRace } from '../../src/data/refusal'
import { RequestSession } from '../../src/data/session'
import { contextFor } from '../../src/data/system'
import type { Bindings } from '../../src/env'
import { newId } from '../../src/lib/ids'
import { problem } from '../../src/lib/problem'
import { call, callJson, makeWorld, requestContext, type World } from '../world'

/** D1 whose batches begin when they are let go; a batch may also be lost on its way, or its answer. */
function heldDatabase() {
  const batches: { size: number; letGo: () => void; lose: (when: 'before' | 'after') => void }[] = []
  const withSession = (from: D1SessionConstraint) => {
    const session = env.DB.withSession(from)
    const batch = async (statements: D1PreparedStatement[]) => {
      const fate = await new Promise<'written' | 'before' | 'after'>((resolve) => {
        batches.push({ size: statements.length, letGo: () => resolve('written'), lose: resolve })
      })
      const lost = new Error('D1_ERROR: Network connection lost.')
      if (fate === 'before') throw lost
      const results = await session.batch(statements)
      if (fate === 'after') throw lost
      return results
    }
    return {
      prepare: (text: string) => session.prepare(text),
      batch,
      getBookmark: () => session.getBookmark(),
    }
  }
  const bindings = {
    ...env,
    DB: { withSession, prepare: (text: string) => env.DB.prepare(text) },
  } as unknown as Bindings
  /** A request of its own of that tenant. */
  const request = ({ tenant, ctx }: World, idempotency: IdempotencyClaim | null = null): Context => {
    const made = requestContext({ env: bindings, idempotency })
    const session = new RequestSession(bindings, made.settings, null)
    return contextFor({ ...made, session }, { ...ctx.tenant, id: tenant.id }, ctx.principal)
  }
  const begun = (count: number) =>
    vi.waitFor(() => expect(batches.length).toBeGreaterThanOrEqual(count), 10_000)
  return { batches, request, begun }
}

const eventId = () => `msg_${newId(Date.now())}`
const eventOf = (id: string, statements: Change<string>['statements'] = []): Change<string> => ({
  statements,
  shared: true,
  events: [{ id, type: 'thing.happened', data: { id } }],
  result: id,
})

/** The ids of the tenant's events, in the order of commit. */
async function written({ tenant }: World): Promise<string[]> {
  const { results } = await env.DB.prepare(
    `select id from events where tenant_id = ? and type = 'thing.happened' order by seq`,
  )
    .bind(tenant.id)
    .all<{ id: string }>()
  return results.map(({ id }) => id)
}

const refused = problem('conflict', 'it does not hold')
const claimOf = (world: World, key: string): IdempotencyClaim => ({
  ...{ tenant_id: world.tenant.id, principal: 'user:me', key, fingerprint: 'f' },
  ...{ claim: crypto.randomUUID(), claimed: false, finished: false },
  render: (result) => ({ status: 201, headers: {}, body: JSON.stringify(result), secret: false }),
})

describe('commits that share a batch', () => {
  it('go with the next where one is under way, in the order in which they came', async () => {
    const [one, other] = [await makeWorld(), await makeWorld()]
    const { batches, request, begun } = heldDatabase()
    const [first, ...ids] = Array.from({ length: 8 }, eventId) as [string, ...string[]]
    const all = [commit(request(one), eventOf(first))]
    await begun(1)
    for (const id of ids) {
      all.push(commit(request(one), eventOf(id)))
      all.push(commit(request(other), eventOf(eventId())))
      await scheduler.wait(1)
    }
    batches[0]?.letGo()
    await begun(2)
    batches[1]?.letGo()
    expect((await Promise.all(all))[0]).toBe(first)
    expect(batches.map(({ size }) => size)).toEqual([1, 14])
    expect(await written(one)).toEqual([first, ...ids])
    expect(await written(other)).toHaveLength(7)
  })

  it('stand or fail by themselves: one that is refused takes none along', async () => {
    const world = await makeWorld()
    const { batches, request, begun } = heldDatabase()
    const [first, good, bad, better] = Array.from({ length: 4 }, eventId) as [string, string, string, string]
    const running = [commit(request(world), eventOf(first))]
    await begun(1)
    running.push(
      commit(
        request(world),
        eventOf(good, [{ holds: sql`1 = 1`, otherwise: problem('conflict', 'another') }]),
      ),
      commit(request(world), eventOf(bad, [{ holds: sql`1 = 0`, otherwise: refused }])),
      commit(request(world), eventOf(better)),
    )
    const outcomes = Promise.allSettled(running)
    batches[0]?.letGo()
    await begun(2)
    batches[1]?.letGo()
    await begun(5)
    for (const { letGo } of batches.slice(2)) letGo()
    expect((await outcomes).map((one) => (one.status === 'fulfilled' ? one.value : one.reason))).toEqual([
      ...[first, good, refused, better],
    ])
    expect((await written(world)).sort()).toEqual([first, good, better].sort())
  })

  it('with equal idempotency keys in one batch are made once, and the others beside them stand', async () => {
    const world = await makeWorld()
    const { batches, request, begun } = heldDatabase()
    const ids = Array.from({ length: 4 }, eventId) as [string, string, string, string]
    const running = [commit(request(world), eventOf(ids[0]))]
    await begun(1)
    const [mine, yours] = [claimOf(world, 'same'), claimOf(world, 'same')]
    running.push(
      commit(request(world, mine), eventOf(ids[1])),
      commit(request(world, yours), eventOf(ids[2])),
      commit(request(world, claimOf(world, 'another')), eventOf(ids[3])),
    )
    const outcomes = Promise.allSettled(running)
    for (let at = 0; at < 5; at++) {
      await begun(at + 1)
      batches[at]?.letGo()
    }
    const lost = (await outcomes).flatMap((one) => (one.status === 'rejected' ? [one.reason] : []))
    expect(lost).toEqual([expect.any(IdempotencyRace)])
    expect([mine, yours].filter(({ finished }) => finished)).toHaveLength(1)
    const kept = await written(world)
    expect(kept).toHaveLength(3)
    expect(kept).toContain(ids[3])
    expect(kept.filter((id) => id === ids[1] || id === ids[2])).toHaveLength(1)
  })

  it.each(['before', 'after'] as const)(
    'are not said again where the connection was lost %s they were written',
    async (when) => {
      const world = await makeWorld()
      const { batches, request, begun } = heldDatabase()
      const ids = Array.from({ length: 3 }, eventId) as [string, string, string]
      const running = [commit(request(world), eventOf(ids[0]))]
      await begun(1)
      running.push(...ids.slice(1).map((id) => commit(request(world), eventOf(id))))
      const outcomes = Promise.allSettled(running)
      batches[0]?.letGo()
      await begun(2)
      batches[1]?.lose(when)
      expect((await outcomes).map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected'])
      expect(batches).toHaveLength(2)
      expect(await written(world)).toEqual(when === 'after' ? ids : ids.slice(0, 1))
    },
  )

  it('do not wait for a batch that died with the request that sent it', async () => {
    const world = await makeWorld()
    const { batches, request, begun } = heldDatabase()
    const [dead, next] = [eventId(), eventId()]
    void commit(request(world), eventOf(dead)).catch(() => undefined)
    await begun(1)
    const done = commit(request(world), eventOf(next))
    await begun(2)
    batches[1]?.letGo()
    expect(await done).toBe(next)
    expect(await written(world)).toEqual([next])
  })

  it('are fifty at most; what is more goes beside them', async () => {
    const world = await makeWorld()
    const { batches, request, begun } = heldDatabase()
    const all = Array.from({ length: 52 }, () => commit(request(world), eventOf(eventId())))
    await begun(2)
    expect(batches.map(({ size }) => size)).toEqual([1, 50])
    for (const { letGo } of batches) letGo()
    await begun(3)
    batches[2]?.letGo()
    await Promise.all(all)
    expect(batches[2]?.size).toBe(1)
    expect(await written(world)).toHaveLength(52)
  })
})

describe('events of requests at the same time', () => {
  const post = (world: World, data: unknown, headers: Record<string, string> = {}) =>
    call('POST', '/api/v1/events', {
      token: world.developer.token,
      body: { type: 'thing.happened', data },
      headers,
    })

  it('are written in fewer batches than they are, each answered for itself', async () => {
    const worlds = await Promise.all([makeWorld(), makeWorld()])
    for (const world of worlds) expect((await post(world, { first: true })).status).toBe(201)
    const batch = vi.spyOn(Object.getPrototypeOf(env.DB.withSession()), 'batch')
    const answers = await Promise.all(
      Array.from({ length: 40 }, async (_, n) => {
        const answer = await post(worlds[n % 2] as World, { n }, { 'Idempotency-Key': `key-${n}` })
        return { n, bookmark: answer.headers.get('X-D1-Bookmark'), ...((await answer.json()) as Sent) }
      }),
    )
    const batches = batch.mock.calls.length
    batch.mockRestore()
    for (const { n, data, bookmark } of answers) {
      expect(data).toMatchObject({ tenant_id: worlds[n % 2]?.tenant.id, data: { n } })
      expect(bookmark).toMatch(/^[0-9a-f]{8}-/)
    }
    expect(batches).toBeGreaterThan(0)
    expect(batches).toBeLessThan(40)
    for (const [i, world] of worlds.entries()) {
      const mine = answers.filter(({ n }) => n % 2 === i).map(({ data }) => data.id)
      expect((await written(world)).slice(1).sort()).toEqual(mine.sort())
    }
  })

  it('are refused alone where a type was changed meanwhile', async () => {
    const world = await makeWorld()
    const { token } = world.developer
    const body = {
      ...{ name: 'thing.happened', description: '', validation: 'enforce' },
      schema: { type: 'object', required: ['n'] },
    }
    await post(world, {})
    expect((await callJson('POST', '/api/v1/webhooks/event-types', { token, body })).status).toBe(201)
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, n) => post(world, n % 3 === 0 ? {} : { n })),
    )
    expect(answers.map(({ status }) => status)).toEqual(
      Array.from({ length: 12 }, (_, n) => (n % 3 === 0 ? 422 : 201)),
    )
    expect(await written(world)).toHaveLength(1 + 8)
  })
})

type Sent = { data: { id: string; tenant_id: string; data: unknown } }

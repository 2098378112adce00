import { createExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { Hono } from 'hono'
import { afterEach, describe, expect, it, vi } from 'vitest'
import * as z from 'zod'
import { createInteraction } from '../../src/domains/catalog/interactions/service'
import { idempotency } from '../../src/domains/metering/idempotency/middleware'
import { authenticated } from '../../src/domains/tenancy/authorize'
import type { Bindings } from '../../src/env'
import type { AppEnv } from '../../src/http/app-env'
import { requestContext } from '../../src/http/context'
import { problemResponse } from '../../src/http/problems'
import { body, doc, open, returns } from '../../src/http/route'
import { expectError } from '../http/expect-error'
import { serviceWith } from '../http/service'
import { call, callJson, makeWorld, type World } from '../world'

// http.md: neither a race nor a crash makes a thing twice. A crash is played by whatever would not happen any more.

afterEach(() => {
  vi.restoreAllMocks()
  vi.useRealTimers()
})

const newKey = () => crypto.randomUUID()
const replayed = (answer: Response) => answer.headers.get('Idempotency-Replayed')
const stored = async (key: string) =>
  (
    await env.DB.prepare('select * from idempotency_keys where key = ?')
      .bind(key)
      .all<Record<string, unknown>>()
  ).results
const texts = async (world: World) =>
  (
    await env.DB.prepare('select text from interactions where tenant_id = ? order by id')
      .bind(world.tenant.id)
      .all<{ text: string }>()
  ).results.map(({ text }) => text)
const events = (world: World) =>
  env.DB.prepare("select count(*) as n from events where tenant_id = ? and type = 'interaction.created'")
    .bind(world.tenant.id)
    .first<number>('n')
const age = (key: string, ms: number) =>
  env.DB.prepare('update idempotency_keys set created_at = ? where key = ?')
    .bind(new Date(Date.now() - ms).toISOString(), key)
    .run()

/** D1 whose answer to a write is lost, so often: what was written stands, and nobody hears of it. */
function losingAnswers(times: number, message = 'D1_ERROR: Network connection lost.') {
  return {
    prepare: (sql: string) => env.DB.prepare(sql),
    batch: async (statements: D1PreparedStatement[]) => {
      const results = await env.DB.batch(statements)
      const wrote = results.some(({ meta }) => meta.changes > 0)
      if (wrote && times-- > 0) throw new Error(message)
      return results
    },
  }
}

const quietly = () => vi.spyOn(console, 'error').mockImplementation(() => undefined)

describe('a crash between the commit and the answer', { timeout: 20_000 }, () => {
  const say = (service: ReturnType<typeof serviceWith>, world: World, key: string) =>
    service('POST', 'http://localhost:8787/api/v1/interactions', {
      token: world.member.token,
      headers: { 'X-Idempotency-Key': key, 'Content-Type': 'application/json' },
      body: '{"text":"once"}',
    })

  it('does not make a second thing: the repeat gets the answer that was on its way', async () => {
    quietly()
    const world = await makeWorld()
    const key = newKey()
    // The isolate is gone after its batch: whoever asked hears nothing.
    const { promise: never } = Promise.withResolvers<never>()
    const DB = {
      prepare: (sql: string) => env.DB.prepare(sql),
      batch: async (statements: D1PreparedStatement[]) => {
        const results = await env.DB.batch(statements)
        if (results.some(({ meta }) => meta.changes > 0)) await never
        return results
      },
    }
    void say(serviceWith({ DB }), world, key)
    await vi.waitUntil(async () => (await texts(world)).length === 1)
    const service = serviceWith({})
    const again = await say(service, world, key)
    expect([again.status, replayed(again)]).toEqual([201, 'true'])
    expect(await texts(world)).toEqual(['once'])
    expect(await events(world)).toBe(1)
    const { data } = (await again.json()) as { data: { id: string } }
    expect((await call('GET', `/api/v1/interactions/${data.id}`, { token: world.member.token })).status).toBe(
      200,
    )
  })

  it('of D1’s own answer is told apart from a failure: what was committed is answered', async () => {
    quietly()
    const world = await makeWorld()
    const key = newKey()
    const first = await say(serviceWith({ DB: losingAnswers(1) }), world, key)
    expect([first.status, replayed(first)]).toEqual([201, 'true'])
    const again = await say(serviceWith({}), world, key)
    expect(await again.text()).toBe(await first.text())
    expect(await texts(world)).toEqual(['once'])
  })

  it('leaves what is kept outside of D1 as it was committed', async () => {
    quietly()
    const world = await makeWorld()
    const agent = await callJson<{ id: string }>('POST', '/api/v1/agents', {
      token: world.admin.token,
      body: { name: 'Pictured', kind: 'echo' },
    })
    const form = new FormData()
    form.set('file', new Blob([PNG], { type: 'image/png' }), 'a.png')
    const sent = new Request('http://localhost/', { method: 'POST', body: form })
    const raw = await sent.clone().arrayBuffer()
    const answer = await serviceWith({ DB: losingAnswers(1) })(
      'POST',
      `http://localhost:8787/api/v1/agents/${agent.data.id}/avatar`,
      {
        token: world.admin.token,
        headers: {
          'X-Idempotency-Key': newKey(),
          'Content-Type': sent.headers.get('Content-Type') ?? '',
          'Content-Length': String(raw.byteLength),
        },
        body: raw,
      },
    )
    expect([answer.status, replayed(answer)]).toEqual([200, 'true'])
    const picture = await call('GET', `/api/v1/agents/${agent.data.id}/avatar`, { token: world.admin.token })
    expect([picture.status, (await picture.arrayBuffer()).byteLength]).toEqual([200, PNG.byteLength])
  })
})

const PNG = Uint8Array.from(
  atob('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='),
  (char) => char.charCodeAt(0),
)

type Outside = (text: string) => Promise<void>

/** A service with one route, which calls something outside and then commits; the caller is `world`'s admin. */
function calling(world: World, outside: Outside) {
  const app = new Hono<AppEnv>()
  app.onError((error, c) => problemResponse(c, error))
  app.use(requestContext())
  app.use((c, next) => {
    const { tenant, principal, impersonator, db } = world.ctx
    c.set('ctx', { ...c.get('request'), tenant, principal, impersonator, db })
    return next()
  })
  app.use(idempotency)
  app.post(
    '/call',
    doc('Calls out', { idempotency: 'claimed' }),
    authenticated(),
    body(z.strictObject({ text: z.string() })),
    returns(201, z.object({ id: z.string(), text: z.string().nullable() })),
    async (c) => {
      const { text } = c.req.valid('json')
      await outside(text)
      return c.var.reply(await createInteraction(c.var.ctx, { text } as never))
    },
  )
  return (key: string, text = 'once') =>
    app.fetch(
      new Request('http://localhost:8787/call', {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', 'Idempotency-Key': key },
        body: JSON.stringify({ text }),
      }),
      env as unknown as Bindings,
      createExecutionContext(),
    )
}

/** Holds each call until it is let go, in order. */
function gates() {
  const held: (() => void)[] = []
  const outside: Outside = () => new Promise<void>((resolve) => held.push(resolve))
  const until = (count: number) => vi.waitUntil(() => held.length >= count)
  return { outside, held, until }
}

describe('a route that calls out and commits', { timeout: 20_000 }, () => {
  it('finishes its claim in the batch of its change', async () => {
    const world = await makeWorld()
    const key = newKey()
    const send = calling(world, async () => {})
    const first = await send(key)
    expect([first.status, replayed(first)]).toEqual([201, null])
    expect((await stored(key)).map(({ status }) => status)).toEqual([201])
    const again = await send(key)
    expect([again.status, replayed(again), await again.text()]).toEqual([201, 'true', await first.text()])
    expect(again.headers.get('Location')).toBe(first.headers.get('Location'))
    expect(await texts(world)).toEqual(['once'])
  })

  it('calls out once, and makes one thing, for fifty at once', async () => {
    const world = await makeWorld()
    const key = newKey()
    let calls = 0
    const send = calling(world, async () => {
      calls += 1
      await scheduler.wait(50)
    })
    const answers = await Promise.all(Array.from({ length: 50 }, () => send(key)))
    expect(calls).toBe(1)
    expect(await texts(world)).toEqual(['once'])
    expect(answers.filter(({ status }) => status === 201).length).toBeGreaterThan(0)
    for (const answer of answers)
      if (answer.status !== 201) {
        expect(answer.headers.get('Retry-After')).toBe('1')
        await expectError(answer, 'idempotency_in_progress')
      }
  })

  it('that crashed between its claim and its commit frees the key after 60 s, and not before', async () => {
    const world = await makeWorld()
    const key = newKey()
    const { outside, until } = gates()
    // Nobody lets it go: it is gone.
    void calling(world, outside)(key)
    await until(1)
    expect((await stored(key)).map(({ status }) => status)).toEqual([null])
    const send = calling(world, async () => {})
    await expectError(send(key), 'idempotency_in_progress')
    await age(key, 59_000)
    const early = await send(key)
    expect(early.headers.get('Retry-After')).toBe('1')
    await expectError(early, 'idempotency_in_progress')
    // Another request has no claim to it, however long it waits.
    await age(key, 60_001)
    await expectError(send(key, 'another'), 'idempotency_key_reused')
    const late = await send(key)
    expect([late.status, replayed(late)]).toEqual([201, null])
    expect(await texts(world)).toEqual(['once'])
    expect(replayed(await send(key))).toBe('true')
  })

  it('is free after 60 s for one alone, of fifty that come then', async () => {
    const world = await makeWorld()
    const key = newKey()
    const { outside, until } = gates()
    void calling(world, outside)(key)
    await until(1)
    await age(key, 60_001)
    let calls = 0
    const send = calling(world, async () => {
      calls += 1
      await scheduler.wait(50)
    })
    const answers = await Promise.all(Array.from({ length: 50 }, () => send(key)))
    expect([calls, await texts(world)]).toEqual([1, ['once']])
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([201, 409]))
  })

  it('slower than 60 s fails its batch once it was taken over, and answers what the other made', async () => {
    const world = await makeWorld()
    const key = newKey()
    const { outside, held, until } = gates()
    const slow = calling(world, outside)(key)
    await until(1)
    await age(key, 60_001)
    const second = await calling(world, async () => {})(key)
    expect([second.status, replayed(second)]).toEqual([201, null])
    held[0]?.()
    const late = await slow
    expect([late.status, replayed(late), await late.text()]).toEqual([201, 'true', await second.text()])
    expect(await texts(world)).toEqual(['once'])
    expect(await events(world)).toBe(1)
  })

  it('slower than 60 s fails its batch too while the one that took over is at it still', async () => {
    const world = await makeWorld()
    const key = newKey()
    const { outside, held, until } = gates()
    const send = calling(world, outside)
    const slow = send(key)
    await until(1)
    await age(key, 60_001)
    const second = send(key)
    await until(2)
    held[0]?.()
    const late = await slow
    expect(late.headers.get('Retry-After')).toBe('1')
    await expectError(late, 'idempotency_in_progress')
    expect(await texts(world)).toEqual([])
    held[1]?.()
    expect((await second).status).toBe(201)
    expect(await texts(world)).toEqual(['once'])
    expect(await events(world)).toBe(1)
  })

  it('slower than 60 s that fails after it was taken over leaves the other’s claim alone', async () => {
    quietly()
    const world = await makeWorld()
    const key = newKey()
    const failing: ((error: Error) => void)[] = []
    const slow = calling(world, () => new Promise((_, reject) => failing.push(reject)))(key)
    await vi.waitUntil(() => failing.length === 1)
    await age(key, 60_001)
    const { outside, held, until } = gates()
    const second = calling(world, outside)(key)
    await until(1)
    failing[0]?.(new Error('the outside is away'))
    await expectError(slow, 'internal_error')
    expect((await stored(key)).map(({ status }) => status)).toEqual([null])
    await expectError(calling(world, async () => {})(key), 'idempotency_in_progress')
    held[0]?.()
    expect((await second).status).toBe(201)
    expect(await texts(world)).toEqual(['once'])
  })

  it('keeps what it answered where it changed nothing in D1, sealed, with the headers to go on with', async () => {
    const world = await makeWorld()
    const key = newKey()
    let calls = 0
    const app = new Hono<AppEnv>()
    app.onError((error, c) => problemResponse(c, error))
    app.use(requestContext())
    app.use(idempotency)
    app.post(
      '/call',
      doc('Calls out', { idempotency: 'claimed' }),
      open(),
      returns(201, z.object({ id: z.string(), secret: z.string(), version: z.number() })),
      (c) => c.var.reply({ id: world.tenant.id, secret: `unheard of ${++calls}`, version: 7 }),
    )
    const send = () =>
      app.fetch(
        new Request('http://localhost:8787/call', { method: 'POST', headers: { 'Idempotency-Key': key } }),
        env as unknown as Bindings,
        createExecutionContext(),
      )
    const first = await send()
    const again = await send()
    expect([again.status, replayed(again), calls]).toEqual([201, 'true', 1])
    for (const name of ['ETag', 'Location', 'Cache-Control', 'Content-Type'])
      expect([name, again.headers.get(name)]).toEqual([name, first.headers.get(name) ?? 'sent'])
    expect(await again.text()).toBe(await first.text())
    const [row] = await stored(key)
    expect(JSON.stringify(row)).not.toContain('unheard of')
    expect(row?.body).toMatch(/^v2\./)
  })

  it('gives the key back at once where the outside failed', async () => {
    quietly()
    const world = await makeWorld()
    const key = newKey()
    const failing = calling(world, async () => {
      throw new Error('the outside is away')
    })
    await expectError(failing(key), 'internal_error')
    expect(await stored(key)).toEqual([])
    expect((await calling(world, async () => {})(key)).status).toBe(201)
  })
})

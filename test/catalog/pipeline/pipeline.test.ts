import { env } from 'cloudflare:workers'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import { readGauges } from '../../../src/data/gauges'
import { allSweeps, dueNext } from '../../../src/data/sweeping'
import { cutBatches } from '../../../src/domains/catalog/pipeline/cut'
import { sendDue } from '../../../src/domains/catalog/pipeline/send'
import { type Bindings, settingsOf } from '../../../src/env'
import { newId } from '../../../src/lib/ids'
import type { Seen, Step } from '../../receiver/hooks'
import { callJson, makeWorld, type World } from '../../world'

type Batch = { tenant_id: string; batch_id: string; interactions: { id: string; text: string | null }[] }

const PATH = '/internal/pipeline/interactions'
const defer = () => undefined

/** A data pipeline of one's own; its path lies in the key by which the receiver tells its plans apart. */
async function makePipeline(...steps: Step[]) {
  const name = crypto.randomUUID()
  const at = (path: string) => `${env.RECEIVER_URL}/hook/${path}?key=${name}${PATH}`
  const plan = (...next: Step[]) => fetch(at('plan'), { method: 'POST', body: JSON.stringify(next) })
  const seen = async () => (await (await fetch(at('seen'))).json()) as Seen[]
  const taken = async () => (await seen()).map(({ body }) => JSON.parse(body) as Batch)
  await plan(...steps)
  const DATA_PIPELINE_URL = `${env.RECEIVER_URL}/hook/to?key=${name}`
  const bindings = { ...env, DATA_PIPELINE_URL, DATA_PIPELINE_TOKEN: 'the-token' } as unknown as Bindings
  return { bindings, plan, seen, taken, send: () => sendDue(bindings, defer) }
}

/** What other tests left is theirs. */
beforeEach(async () => {
  await env.DB.batch([
    env.DB.prepare('delete from pipeline_batches'),
    env.DB.prepare(
      `insert into followers (name, seq) select 'pipeline', coalesce(max(seq), 0) from interactions where true
        on conflict (name) do update set seq = excluded.seq`,
    ),
    env.DB.prepare(`delete from followers where name = 'pipeline.away'`),
  ])
})

async function rows(world: World, count: number, over: { text?: string; metadata?: object } = {}) {
  const now = new Date().toISOString()
  const ids = Array.from({ length: count }, () => newId(Date.now()))
  await env.DB.prepare(
    `insert into interactions (tenant_id, id, type, text, metadata, occurred_at, created_at)
      select ?1, value, 'view', ?2, ?3, ?4, ?4 from json_each(?5)`,
  )
    .bind(world.tenant.id, over.text ?? null, JSON.stringify(over.metadata ?? {}), now, JSON.stringify(ids))
    .run()
  return ids
}

const left = async () =>
  (
    await env.DB.prepare('select * from pipeline_batches order by first_seq').all<{
      id: string
      failures: number
      refusal: string | null
      next_at: string
      size: number
    }>()
  ).results

/** As if the time had come. */
const makeDue = () =>
  env.DB.prepare(
    `update pipeline_batches set next_at = '2026-01-01T00:00:00.' || printf('%03dZ', rowid % 1000)`,
  ).run()

describe('batches', () => {
  it('carry each interaction once, as it reads back, with the token', async () => {
    const world = await makeWorld()
    const pipeline = await makePipeline({ status: 202 })
    const { token } = world.member
    const said = await callJson<{ id: string }>('POST', '/api/v1/interactions', {
      token,
      body: { text: 'Hello', speaker_id: 'caller-17', metadata: { line: 2 } },
    })
    expect(said.status).toBe(201)
    expect(await pipeline.send()).toBe(false)
    const [one, ...others] = await pipeline.seen()
    expect(others).toEqual([])
    expect(one?.method).toBe('POST')
    expect(one?.headers).toMatchObject({
      authorization: 'Bearer the-token',
      'content-type': 'application/json',
      traceparent: expect.stringMatching(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/),
    })
    const { data } = await callJson('GET', `/api/v1/interactions/${said.data.id}`, { token })
    expect(await pipeline.taken()).toEqual([
      {
        tenant_id: world.tenant.id,
        batch_id: expect.stringMatching(/^[0-9a-f]{32}$/),
        interactions: [expect.objectContaining(data)],
      },
    ])
    // It was taken: nothing more comes.
    expect([await pipeline.send(), await left(), (await pipeline.seen()).length]).toEqual([false, [], 1])
  })

  it('go where the contract says', async () => {
    const world = await makeWorld()
    await rows(world, 1)
    const bindings = { ...env, DATA_PIPELINE_URL: 'https://pipeline.example.com/' } as unknown as Bindings
    const spy = vi.spyOn(globalThis, 'fetch').mockResolvedValue(new Response(null, { status: 204 }))
    try {
      await sendDue(bindings, defer)
      const [url, init] = spy.mock.calls[0] ?? []
      expect(url).toBe(`https://pipeline.example.com${PATH}`)
      expect(init).toMatchObject({ method: 'POST', redirect: 'manual' })
      expect(new Headers(init?.headers).has('Authorization')).toBe(false)
    } finally {
      spy.mockRestore()
    }
  })

  it('have at most 500 interactions, of one tenant, in the order of commit', async () => {
    const [one, other] = await Promise.all([makeWorld(), makeWorld()])
    const pipeline = await makePipeline({ status: 200 })
    const ids = [...(await rows(one, 700)), ...(await rows(one, 600))]
    const others = await rows(other, 3)
    await pipeline.send()
    const taken = await pipeline.taken()
    const of = (world: World) => taken.filter(({ tenant_id }) => tenant_id === world.tenant.id)
    expect(Math.max(...taken.map(({ interactions }) => interactions.length))).toBe(500)
    const sent = of(one).flatMap(({ interactions }) => interactions.map(({ id }) => id))
    expect(sent.toSorted()).toEqual(ids.toSorted())
    expect(of(other).map(({ interactions }) => interactions.map(({ id }) => id))).toEqual([others])
    expect(new Set(taken.map(({ batch_id }) => batch_id)).size).toBe(taken.length)
  })

  it('are some megabytes at most', async () => {
    const world = await makeWorld()
    const pipeline = await makePipeline({ status: 200 })
    await rows(world, 30, { text: 'ü'.repeat(50_000) })
    await pipeline.send()
    const sizes = (await pipeline.seen()).map(({ body }) => new TextEncoder().encode(body).byteLength)
    expect(sizes.length).toBeGreaterThan(2)
    expect(Math.max(...sizes)).toBeLessThan(1_200_000)
  })

  it('are the same when they are sent again, but for what was deleted', async () => {
    const world = await makeWorld()
    const pipeline = await makePipeline({ status: 503 })
    const [first = '', second] = await rows(world, 2)
    await pipeline.send()
    // Committed after the batch was made: it comes with another.
    await rows(world, 1)
    const { token } = world.member
    await callJson('DELETE', `/api/v1/interactions/${first}`, { token })
    await pipeline.plan({ status: 200 })
    await makeDue()
    await pipeline.send()
    const [one, again, other] = await pipeline.taken()
    expect(again?.batch_id).toBe(one?.batch_id)
    expect(one?.interactions.map(({ id }) => id)).toEqual([first, second])
    expect(again?.interactions.map(({ id }) => id)).toEqual([second])
    expect(other?.interactions.length).toBe(1)
    expect(await left()).toEqual([])
  })

  it('of which nothing is left are sent to nobody', async () => {
    const world = await makeWorld()
    const pipeline = await makePipeline({ status: 503 })
    const [id] = await rows(world, 1)
    await pipeline.send()
    await callJson('DELETE', `/api/v1/interactions/${id}`, { token: world.member.token })
    await makeDue()
    await pipeline.send()
    expect([(await pipeline.seen()).length, await left()]).toEqual([1, []])
  })
})

describe('a pipeline that is away', () => {
  it('gets one batch to see whether it is back, later each time, and then all', async () => {
    const [one, other] = await Promise.all([makeWorld(), makeWorld()])
    const pipeline = await makePipeline({ status: 500 })
    await rows(one, 2)
    await rows(other, 2)
    const waits: number[] = []
    for (const _ of [1, 2, 3]) {
      await makeDue()
      const before = Date.now()
      expect(await pipeline.send()).toBe(false)
      const batches = await left()
      expect(batches.map(({ refusal }) => refusal)).toEqual([null, null])
      waits.push(Math.round((Math.min(...batches.map((b) => Date.parse(b.next_at))) - before) / 1_000))
    }
    expect(waits).toEqual([5, 10, 20])
    expect((await pipeline.seen()).length).toBe(3)
    // Not before its time.
    await pipeline.send()
    expect((await pipeline.seen()).length).toBe(3)
    await pipeline.plan({ status: 200 })
    await makeDue()
    await pipeline.send()
    expect([(await pipeline.seen()).length, await left()]).toEqual([5, []])
  })

  it('is waited for as long as it asks', async () => {
    const world = await makeWorld()
    const pipeline = await makePipeline({ status: 429, headers: { 'Retry-After': '120' } })
    await rows(world, 1)
    const before = Date.now()
    await pipeline.send()
    const [batch] = await left()
    expect(Math.round((Date.parse(batch?.next_at ?? '') - before) / 1_000)).toBe(120)
    // The sweeper sleeps no longer than that; what others have to do may be due before.
    expect(await dueNext(pipeline.bindings)).toBeLessThanOrEqual(Date.parse(batch?.next_at ?? ''))
  })

  it('keeps what is committed waiting where it is, once some batches wait', async () => {
    const world = await makeWorld()
    const pipeline = await makePipeline({ status: 500 })
    for (let n = 0; n < 60; n++) {
      await rows(world, 1)
      await pipeline.send()
    }
    const waiting = await left()
    expect(waiting.length).toBe(50)
    const gauges = await readGauges(pipeline.bindings, Date.now())
    expect(gauges).toMatchObject({ pipeline_interactions_waiting: 60, pipeline_batches_refused: 0 })
    expect(gauges.pipeline_oldest_seconds).toBeGreaterThan(0)
    await pipeline.plan({ status: 200 })
    await makeDue()
    while (await pipeline.send());
    const ids = (await pipeline.taken()).flatMap(({ interactions }) => interactions.map(({ id }) => id))
    expect(new Set(ids).size).toBe(60)
  })

  it('was tried when a crash came: the batch comes again by itself', async () => {
    const world = await makeWorld()
    const pipeline = await makePipeline({ status: 200 })
    await rows(world, 1)
    // As the row stands between the claim and the answer.
    const cut = await makePipeline({ status: 500 })
    await cut.send()
    const claimed = new Date(Date.now() + 30_000).toISOString()
    await env.DB.prepare('update pipeline_batches set failures = 0, next_at = ?').bind(claimed).run()
    await pipeline.send()
    expect(await pipeline.seen()).toEqual([])
    await makeDue()
    await pipeline.send()
    expect((await pipeline.taken())[0]?.batch_id).toBe((await cut.taken())[0]?.batch_id)
  })

  it('is not asked by two at once for the same batch', async () => {
    const world = await makeWorld()
    const pipeline = await makePipeline({ status: 200, delay_ms: 200 } as Step)
    await rows(world, 5)
    await Promise.all([pipeline.send(), pipeline.send(), pipeline.send()])
    expect([(await pipeline.seen()).length, await left()]).toEqual([1, []])
  })
})

describe('a batch that the pipeline will not take', () => {
  it('waits by itself, is never dropped, and holds up nobody', async () => {
    const [bad, good] = await Promise.all([makeWorld(), makeWorld()])
    const pipeline = await makePipeline({ status: 422, body: 'unknown type' } as Step)
    await rows(bad, 1)
    await pipeline.send()
    await pipeline.plan({ status: 200 })
    await rows(good, 1)
    await pipeline.send()
    const [batch, ...others] = await left()
    expect(others).toEqual([])
    expect(batch).toMatchObject({ failures: 1, refusal: expect.stringMatching(/^422/) })
    expect(Date.parse(batch?.next_at ?? '') - Date.now()).toBeGreaterThan(50_000)
    expect((await readGauges(pipeline.bindings, Date.now())).pipeline_batches_refused).toBe(1)
    await makeDue()
    await pipeline.send()
    expect(await left()).toEqual([])
  })

  it('is known by others being taken, where it makes the pipeline fail', async () => {
    const [bad, good] = await Promise.all([makeWorld(), makeWorld()])
    const pipeline = await makePipeline({ status: 500 })
    await rows(bad, 1)
    await pipeline.send()
    for (const _ of ['the second failure', 'the third']) {
      await rows(good, 1)
      await cutBatches(pipeline.bindings, 0)
      // The other one first: the one that failed is due a moment later.
      await pipeline.plan({ status: 200 }, { status: 500 })
      const due = new Date().toISOString()
      await env.DB.prepare('update pipeline_batches set next_at = ? where failures > 0').bind(due).run()
      await pipeline.send()
    }
    const [batch, ...others] = await left()
    expect([batch, others]).toMatchObject([{ failures: 3, refusal: 'answered 500' }, []])
    // It alone waits: the next is sent at once.
    await pipeline.plan({ status: 200 })
    await rows(good, 1)
    await pipeline.send()
    expect((await left()).map(({ id }) => id)).toEqual([batch?.id])
  })

  it('is not taken for one where the pipeline comes and goes', async () => {
    const world = await makeWorld()
    const pipeline = await makePipeline({ status: 503 })
    await rows(world, 1)
    for (let n = 0; n < 5; n++) {
      await makeDue()
      await pipeline.send()
    }
    expect(await left()).toMatchObject([{ failures: 5, refusal: null }])
    // Once something was taken, the next time begins with a short wait.
    await pipeline.plan({ status: 200 }, { status: 503 })
    await makeDue()
    await pipeline.send()
    await rows(world, 1)
    const before = Date.now()
    await pipeline.send()
    const [batch] = await left()
    expect(Math.round((Date.parse(batch?.next_at ?? '') - before) / 1_000)).toBe(5)
  })
})

describe('without a pipeline', () => {
  it('no batch is made, and there is nothing to wait for', async () => {
    const world = await makeWorld()
    await rows(world, 3)
    const off = { ...env, DATA_PIPELINE_URL: '' } as unknown as Bindings
    const sweep = allSweeps().get('pipeline_behind')
    const ctx = { waitUntil: defer }
    expect(await sweep?.(off, ctx, Date.now())).toBe(0)
    expect([await left(), await readGauges(off, Date.now())]).toEqual([[], {}])
  })

  it('its token alone is a mistake, and the settings say so', () => {
    const wrong = { ...env, DATA_PIPELINE_TOKEN: 'secret' } as unknown as Bindings
    expect(() => settingsOf(wrong)).toThrowError('misconfigured')
  })
})

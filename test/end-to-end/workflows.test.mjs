// Workflows by a real clock and through `kill -9`: each event makes one run, each run tells once, a schedule starts while
// nobody calls, and a step that takes long is asked once.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { call, must, signUp, startReceiver, startService, waitFor } from './harness.mjs'

const EVENTS = 40
const KILLS = 3

async function all(service, key, route) {
  const rows = []
  for (let cursor = null; ; ) {
    const query = `limit=100${cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`}`
    const { status, data, meta } = await call(service, 'GET', `${route}?${query}`, { as: key })
    assert.equal(status, 200)
    rows.push(...data)
    cursor = meta.next_cursor
    if (cursor === null) return rows
  }
}

/** Sends event `n` until it is accepted. */
async function send(service, key, n) {
  const options = {
    as: key,
    body: { type: 'parcel.sent', data: { n } },
    headers: { 'Idempotency-Key': `sent-${n}` },
  }
  for (;;) {
    const answer = await call(service, 'POST', '/api/v1/events', options).catch(() => null)
    if (answer?.status === 201) return
    await wait(200)
  }
}

test(`workflows, killed ${KILLS} times`, { timeout: 300_000 }, async (t) => {
  const service = await startService(t)
  const { key } = await signUp(service)
  const make = (body) => must(service, 'POST', '/api/v1/workflows', { as: key, body })

  await t.test('each event makes one run, which tells once, whatever is killed', async (t) => {
    const slowly = async (_request, response) => {
      await wait(Math.random() * 60)
      response.end('ok')
    }
    const receiver = await startReceiver(t, slowly)
    const workflow = await make({
      name: 'Parcels',
      triggers: [{ type: 'event', event_type: 'parcel.*', filter: { path: 'n', exists: true } }],
      steps: [
        { name: 'call', type: 'http', url: receiver.url, body: { n: '{{input.n}}' } },
        { name: 'pause', type: 'wait', seconds: 1 },
        { name: 'tell', type: 'webhook', event_type: 'told.once', data: { n: '{{input.n}}' } },
      ],
    })
    const sending = Promise.all(
      Array.from({ length: EVENTS }, async (_, n) => {
        await wait(n * 120)
        await send(service, key, n)
      }),
    )
    for (let kill = 0; kill < KILLS; kill++) {
      await wait(1_200)
      await service.restart()
    }
    await sending
    const route = `/api/v1/workflows/${workflow.id}/runs`
    const runs = () => all(service, key, route)
    await waitFor(
      async () => {
        const made = await runs()
        return made.length >= EVENTS && made.every(({ status }) => status === 'completed')
      },
      90_000,
      'every run completed',
    )
    const numbers = Array.from({ length: EVENTS }, (_, n) => n)
    const sorted = (list) => list.sort((one, other) => one - other)
    assert.deepEqual(sorted((await runs()).map(({ input }) => input.input.n)), numbers)
    const { data: told } = await call(service, 'GET', '/api/v1/events?type=told.once&limit=100', { as: key })
    assert.deepEqual(sorted(told.map(({ data }) => data.n)), numbers)
    const keys = new Map()
    for (const { headers, body } of receiver.requests) {
      const { n } = JSON.parse(body)
      keys.set(n, new Set([...(keys.get(n) ?? []), headers['idempotency-key']]))
    }
    for (const n of numbers) assert.equal(keys.get(n)?.size, 1, `the calls of ${n} have one key`)
    const repeated = receiver.requests.length - EVENTS
    t.diagnostic(`${repeated} calls were repeated, under the same key`)
  })

  await t.test('a step that takes longer than an alarm is asked once', async (t) => {
    const receiver = await startReceiver(t, async (_request, response) => {
      await wait(20_000)
      response.end('at last')
    })
    const workflow = await make({ name: 'Slow', steps: [{ name: 'call', type: 'http', url: receiver.url }] })
    const { id } = await must(service, 'POST', `/api/v1/workflows/${workflow.id}/start`, {
      as: key,
      body: {},
    })
    const run = () => must(service, 'GET', `/api/v1/workflows/${workflow.id}/runs/${id}`, { as: key })
    await waitFor(async () => (await run()).status === 'completed', 40_000, 'the run')
    const { steps } = await run()
    assert.deepEqual([steps[0].output.body, steps[0].attempts, receiver.requests.length], ['at last', 1, 1])
  })

  await t.test('a schedule starts runs while nobody calls', async (t) => {
    const receiver = await startReceiver(t)
    const { next_run_at, id } = await make({
      name: 'Each minute',
      triggers: [{ type: 'schedule', cron: '* * * * *' }],
      steps: [{ name: 'call', type: 'http', url: receiver.url, body: '{{trigger.scheduled_for}}' }],
    })
    // So long that nothing but the clock wakes it.
    await receiver.received(2, 150_000)
    const [first, second] = receiver.requests
    assert.equal(first.body, next_run_at)
    assert.ok(first.at - Date.parse(next_run_at) < 8_000, `late by ${first.at - Date.parse(next_run_at)} ms`)
    assert.equal(Date.parse(second.body) - Date.parse(first.body), 60_000)
    const runs = await all(service, key, `/api/v1/workflows/${id}/runs`)
    assert.equal(runs.length, receiver.requests.length)
  })
})

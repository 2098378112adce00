// `kill -9` of everything, again and again, while events are accepted at a steady rate: each event reaches each endpoint
// that takes it, is made once whatever its sender had to repeat, and the log of attempts is what the receivers saw.
// `npm run bench:webhooks -- --only=crash` runs this at its full size.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { call, must, setLimits, signUp, startReceiver, startService, waitFor } from './harness.mjs'

const EVENTS = Number(process.env.CRASH_EVENTS ?? 400)
const RATE = Number(process.env.CRASH_RATE ?? 100)
const KILLS = Number(process.env.CRASH_KILLS ?? 3)

/** What is accepted while all are busy takes this long to arrive, whatever the machine. */
const PATIENCE_MS = 60_000 + EVENTS * 30

const TYPES = ['crash.odd', 'crash.even']

/** Sends event `n` until it is accepted, always under the same key; answers its id. */
async function sendUntilAccepted(service, key, n, sending) {
  const body = { type: TYPES[n % 2], data: { n }, subject: `subject-${n % 7}` }
  const headers = { 'X-Idempotency-Key': `crash-${n}` }
  for (;;) {
    try {
      const { status, data, error } = await call(service, 'POST', '/api/v1/events', {
        as: key,
        body,
        headers,
      })
      if (status === 201) return data.id
      // Another request under this key may be under way, or have been when the service was killed.
      assert.equal(error.code, 'idempotency_in_progress', JSON.stringify(error))
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error
      sending.repeated += 1
    }
    await wait(300)
  }
}

/** Sends all events at RATE, whether those before are accepted or not; `accepted[n]` is the id of the n-th. */
async function sendAll(service, key, sending) {
  const started = Date.now()
  const shots = []
  for (let n = 0; n < EVENTS; n++) {
    await wait(Math.max(0, started + (n * 1000) / RATE - Date.now()))
    shots.push(
      sendUntilAccepted(service, key, n, sending).then((id) => {
        sending.accepted[n] = id
        sending.count += 1
      }),
    )
  }
  await Promise.all(shots)
}

/** Numbers of accepted events at which the service is killed, anywhere between the first and the last. */
function momentsOfKills() {
  const part = EVENTS / KILLS
  return Array.from({ length: KILLS }, (_, n) => Math.floor((n + 0.05 + Math.random() * 0.9) * part))
}

/** Every row of a list. */
async function all(service, key, route) {
  const rows = []
  for (let cursor = null; ; ) {
    const query = `limit=100${cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`}`
    const joined = `${route}${route.includes('?') ? '&' : '?'}${query}`
    const { status, data, meta } = await call(service, 'GET', joined, { as: key })
    assert.equal(status, 200)
    rows.push(...data)
    cursor = meta.next_cursor
    if (cursor === null) return rows
  }
}

/** Runs `work` for each of `items`, sixteen at once. */
async function each(items, work) {
  const queue = [...items]
  const lane = async () => {
    for (let item = queue.pop(); item !== undefined; item = queue.pop()) await work(item)
  }
  await Promise.all(Array.from({ length: 16 }, lane))
}

const nameOf = (event, number) => `${event} ${number}`

test(`kill -9, ${KILLS} times while ${EVENTS} events are accepted`, { timeout: 900_000 }, async (t) => {
  const service = await startService(t)
  const { key, tenant } = await signUp(service)
  await setLimits(service, tenant.id, {
    ...{ requests_per_minute: 1_000_000, requests_per_hour: 50_000_000, requests_per_day: 1_000_000_000 },
    deliveries_per_second: 10_000,
  })
  const get = (route) => must(service, 'GET', route, { as: key })

  // Answers take a moment, so that a kill finds attempts under way.
  const slowly = async (_request, response) => {
    await wait(Math.random() * 30)
    response.end('ok')
  }
  const failed = new Set()
  /** Every tenth event fails at first. */
  const moody = async (request, response, body) => {
    const { id, data } = JSON.parse(body)
    response.statusCode = data.n % 10 === 0 && !failed.has(id) ? 500 : 200
    failed.add(id)
    await slowly(request, response)
  }
  const endpoints = []
  for (const [respond, event_types] of [
    [slowly, ['crash.*']],
    [slowly, ['crash.even']],
    [moody, ['crash.odd', 'crash.even']],
    [slowly, ['something.else']],
  ]) {
    const receiver = await startReceiver(t, respond)
    // An attempt that is not cut off is answered, however busy the machine is.
    const body = { url: receiver.url, event_types, timeout_ms: 30_000 }
    const { id } = await must(service, 'POST', '/api/v1/webhooks', { as: key, body })
    const takes = (n) => event_types.includes('crash.*') || event_types.includes(TYPES[n % 2])
    endpoints.push({ id, receiver, takes })
  }

  const sending = { accepted: [], count: 0, repeated: 0 }
  const done = sendAll(service, key, sending)
  done.catch(() => {})
  for (const moment of momentsOfKills()) {
    await Promise.race([done, waitFor(() => sending.count >= moment, PATIENCE_MS, `${moment} accepted`)])
    await service.restart()
  }
  await done
  const requests = () => endpoints.reduce((sum, { receiver }) => sum + receiver.requests.length, 0)
  t.diagnostic(`${sending.repeated} requests had to be repeated, ${requests()} deliveries had come by then`)
  const numbers = Array.from({ length: EVENTS }, (_, n) => n)

  await t.test('every accepted event reaches every endpoint that takes it', async () => {
    const missing = () =>
      endpoints.map(({ receiver, takes }) => {
        const arrived = new Set(receiver.requests.map(({ headers }) => headers['webhook-id']))
        return numbers.filter((n) => takes(n) && !arrived.has(sending.accepted[n]))
      })
    await waitFor(() => missing().every(({ length }) => length === 0), PATIENCE_MS).catch(() => {})
    assert.deepEqual(missing(), [[], [], [], []])
    assert.equal(endpoints[3].receiver.requests.length, 0)
  })

  await t.test('each was made once, however often it was sent', async () => {
    const kept = (await all(service, key, '/api/v1/events'))
      .filter(({ type }) => TYPES.includes(type))
      .map(({ id }) => id)
    assert.deepEqual(kept.sort(), [...sending.accepted].sort())
  })

  await t.test('every delivery ends as delivered', async () => {
    const open = async () =>
      (await call(service, 'GET', '/api/v1/deliveries?status=pending', { as: key })).data
    await waitFor(async () => (await open()).length === 0, PATIENCE_MS, 'the last delivery to end')
    const deliveries = await all(service, key, '/api/v1/deliveries')
    const expected = endpoints.reduce((sum, { takes }) => sum + numbers.filter(takes).length, 0)
    assert.equal(deliveries.length, expected)
    assert.deepEqual([...new Set(deliveries.map(({ status }) => status))], ['delivered'])
  })

  await t.test('the log of attempts is what the receivers saw', async () => {
    let cut = 0
    let twice = 0
    for (const { id: endpoint, receiver } of endpoints) {
      const logged = []
      const cutOff = new Set()
      await each(await all(service, key, `/api/v1/webhooks/${endpoint}/deliveries`), async ({ id }) => {
        const { event_id, attempt_count, attempts } = await get(`/api/v1/deliveries/${id}`)
        assert.equal(attempt_count, attempts.length)
        for (const [n, { number, response_status, error }] of attempts.entries()) {
          assert.equal(number, n + 1)
          if (response_status !== null) logged.push(`${nameOf(event_id, number)} ${response_status}`)
          else {
            assert.match(error, /^interrupted: /)
            cutOff.add(nameOf(event_id, number))
          }
        }
        assert.equal(attempts.at(-1).response_status, 200)
      })
      const seen = receiver.requests.map(({ headers, status }) => {
        const { 'webhook-id': event, 'webhook-attempt': number } = headers
        return { event, attempt: nameOf(event, number), status }
      })
      const attempts = seen.map(({ attempt }) => attempt)
      assert.equal(new Set(attempts).size, attempts.length, 'no attempt was made twice')
      // An attempt that a kill cut off may have arrived; whatever else arrived is in the log, as it was answered.
      const whole = seen.filter(({ attempt }) => !cutOff.has(attempt))
      assert.deepEqual(whole.map(({ attempt, status }) => `${attempt} ${status}`).sort(), logged.sort())
      // So what was taken twice was under way when it was cut off.
      const taken = new Set()
      for (const { event, attempt, status } of seen.filter((one) => one.status === 200)) {
        if (taken.has(event)) twice += 1
        if (!cutOff.has(attempt)) {
          assert.equal(status, 200)
          assert.ok(!taken.has(`${event} for good`), `${event} was taken for good twice`)
          taken.add(`${event} for good`)
        }
        taken.add(event)
      }
      cut += cutOff.size
    }
    t.diagnostic(`${cut} attempts were cut off; ${twice} events came to an endpoint twice for that`)
  })
})

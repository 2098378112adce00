// `kill -9` of everything in the middle of work, and a start on what is left: nothing accepted may be missing.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import {
  call,
  freePort,
  must,
  readEvents,
  setLimits,
  signUp,
  startReceiver,
  startService,
  waitFor,
} from './harness.mjs'

const WRITERS = 8
/** Interactions that are accepted before the kill. */
const ENOUGH = 150
/** The kill comes by then: before the second attempts, which are five seconds after the first. */
const AT_LATEST_MS = 3_000

/** Posts interactions one after the other until the service is gone; adds the ids of those answered 201. */
async function writeUntilGone(service, key, name, accepted) {
  for (let n = 0; ; n++) {
    try {
      const body = { text: `${name}, number ${n}` }
      accepted.push((await must(service, 'POST', '/api/v1/interactions', { as: key, body })).id)
    } catch (error) {
      // Only the kill may end it, never a refusal.
      assert.doesNotMatch(error.message, /answered \d/)
      return
    }
  }
}

/** Every row of a list. */
async function all(service, key, route) {
  const rows = []
  for (let cursor = null; ; ) {
    const query = `limit=100${cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`}`
    const { status, data, meta } = await call(
      service,
      'GET',
      `${route}${route.includes('?') ? '&' : '?'}${query}`,
      { as: key },
    )
    assert.equal(status, 200)
    rows.push(...data)
    cursor = meta.next_cursor
    if (cursor === null) return rows
  }
}

const WORDS = Array.from({ length: 60 }, (_, n) => `word${n} `)
const WHOLE = WORDS.join('')

/** An agent that says a word every 50 ms. */
const talker = async (_request, response) => {
  response.writeHead(200, { 'Content-Type': 'text/event-stream' })
  for (const content of WORDS) {
    response.write(`data: ${JSON.stringify({ content })}\n\n`)
    await wait(50)
  }
  response.end('data: [DONE]\n\n')
}

/** What a reader got until the end, or until its connection broke. */
async function readAll(response, events) {
  try {
    for await (const event of readEvents(response)) events.push(event)
  } catch {
    // The kill.
  }
}

/** The first events of a stream, which is then left. */
async function firstEvents(response, count) {
  const events = []
  for await (const event of readEvents(response)) {
    events.push(event)
    if (events.length === count) break
  }
  return events
}

const textOf = (events) =>
  events.map(({ data }) => (data.type === 'message' ? data.data.content : '')).join('')

const wordsIn = (text) => text.split(' ').length

test('kill -9 in the middle of work', { timeout: 600_000 }, async (t) => {
  const service = await startService(t)
  const { key, login, tenant } = await signUp(service)
  // What is accepted in three seconds is more than a starter's twenty deliveries a second send in half a minute.
  await setLimits(service, tenant.id, { deliveries_per_second: 1_000 })
  const get = (route) => must(service, 'GET', route, { as: key })
  const post = (route, body, headers) => must(service, 'POST', route, { as: key, body, headers })

  // Webhooks: one receiver that is up, one that is down until the service has gone, one that wants other events.
  const up = await startReceiver(t)
  const idle = await startReceiver(t)
  const downAt = await freePort()
  const upId = (await post('/api/v1/webhooks', { url: up.url, event_types: ['interaction.created'] })).id
  const downUrl = `http://127.0.0.1:${downAt}/`
  const downId = (await post('/api/v1/webhooks', { url: downUrl, event_types: ['interaction.*'] })).id
  await post('/api/v1/webhooks', { url: idle.url, event_types: ['api_key.*'] })

  // A chat whose agent talks for three seconds.
  const agent = await startReceiver(t, talker)
  const { id: agent_id } = await post('/api/v1/agents', { name: 'Talker', webhook_url: agent.url })
  const chat = `/api/v1/chats/${(await post('/api/v1/chats', { agent_id })).id}`
  const send = () =>
    fetch(`${service.url}${chat}/messages`, {
      method: 'POST',
      headers: { 'X-API-Key': key, 'Content-Type': 'application/json' },
      body: JSON.stringify({ content: 'Talk!', client_message_id: 'the one' }),
    })
  const stream = (cursor) =>
    fetch(`${service.url}${chat}/stream`, {
      headers: { 'X-API-Key': key, ...(cursor ? { 'Last-Event-ID': cursor } : {}) },
      signal: AbortSignal.timeout(60_000),
    })

  const watched = []
  const sent = []
  const accepted = []
  const working = [
    stream().then((response) => readAll(response, watched)),
    send().then((response) => readAll(response, sent)),
    ...Array.from({ length: WRITERS }, (_, n) => writeUntilGone(service, key, `writer ${n}`, accepted)),
  ]
  const enough = () => accepted.length >= ENOUGH && wordsIn(textOf(sent)) > 20
  await waitFor(enough, AT_LATEST_MS).catch(() => {})
  await service.kill()
  const deliveredBefore = up.requests.length
  const down = await startReceiver(t, undefined, downAt)
  await Promise.all(working)
  await service.start()
  t.diagnostic(
    `${accepted.length} accepted before the kill, ${deliveredBefore} delivered to the first endpoint`,
  )

  await t.test('every event that was accepted reaches every endpoint that it is for', async () => {
    assert.ok(accepted.length >= 20)
    const missing = (receiver) => {
      const arrived = new Set(receiver.requests.map(({ body }) => JSON.parse(body).data.interaction_id))
      return accepted.filter((id) => !arrived.has(id))
    }
    const arrived = () => missing(up).length + missing(down).length === 0
    // One that failed ten times in a row is probed after half a minute, and then gets what was held.
    await waitFor(arrived, 60_000).catch(() => {})
    assert.deepEqual(missing(up), [])
    assert.deepEqual(missing(down), [])
    assert.equal(idle.requests.length, 0)
  })

  await t.test('nothing arrives that is not kept', async () => {
    const kept = new Set((await all(service, key, '/api/v1/interactions')).map(({ id }) => id))
    assert.ok(accepted.every((id) => kept.has(id)))
    for (const { body } of [...up.requests, ...down.requests])
      assert.ok(kept.has(JSON.parse(body).data.interaction_id))
  })

  await t.test('the log of attempts is what the receivers saw', async () => {
    const open = async () => {
      const some = await Promise.all(
        ['pending', 'held'].map((status) => all(service, key, `/api/v1/deliveries?status=${status}`)),
      )
      return some.flat()
    }
    await waitFor(async () => (await open()).length === 0, 20_000, 'the last delivery to end')
    for (const [receiver, endpoint] of [
      [up, upId],
      [down, downId],
    ]) {
      const answered = []
      const cutOff = new Set()
      for (const { id } of await all(service, key, `/api/v1/webhooks/${endpoint}/deliveries`)) {
        const { event_id, status, attempt_count, attempts } = await get(`/api/v1/deliveries/${id}`)
        assert.equal(status, 'delivered')
        assert.equal(attempt_count, attempts.length)
        for (const [n, { number, response_status, error }] of attempts.entries()) {
          assert.equal(number, n + 1)
          assert.equal(response_status, error === null ? 200 : null)
          if (error === null) answered.push(`${event_id} ${number}`)
          else if (error.startsWith('interrupted: ')) cutOff.add(`${event_id} ${number}`)
          else assert.match(error, /^network: /)
        }
        assert.equal(attempts.at(-1).error, null)
      }
      const seen = receiver.requests.map(
        ({ headers }) => `${headers['webhook-id']} ${headers['webhook-attempt']}`,
      )
      assert.equal(new Set(seen).size, seen.length, 'no attempt was made twice')
      // An attempt that the kill cut off may have arrived; whatever else arrived is in the log, and was answered.
      assert.deepEqual(seen.filter((one) => !cutOff.has(one)).sort(), answered.sort())
    }
  })

  let kept

  await t.test('a chat keeps what was written of an answer, as interrupted', async () => {
    const { messages } = await get(chat)
    assert.deepEqual(
      messages.map(({ role, status }) => `${role} ${status}`),
      ['user complete', 'assistant interrupted'],
    )
    kept = messages[1].content
    assert.ok(WHOLE.startsWith(kept) && kept !== WHOLE)
    // A row is written every 250 ms, which is five words; a machine that is busy with all of this takes longer.
    assert.ok(wordsIn(textOf(sent)) - wordsIn(kept) <= 30, `kept “${kept}” of “${textOf(sent)}”`)
    assert.equal(messages[1].metadata.error.code, 'interrupted')
    // The list of chats hears of it too.
    await waitFor(async () => (await get('/api/v1/chats'))[0].title === 'Talk!', 5_000, 'the title')
  })

  await t.test('its stream tells so with an error event', async () => {
    const replayed = await send()
    assert.equal(replayed.headers.get('Idempotency-Replayed'), 'true')
    const events = []
    await readAll(replayed, events)
    assert.equal(textOf(events), kept)
    const { type, data } = events.at(-1).data
    assert.equal(type, 'error')
    assert.equal(data.code, 'interrupted')
    assert.equal(data.retryable, true)
    assert.equal(events.filter((event) => ['done', 'error'].includes(event.data.type)).length, 1)
    assert.equal(agent.requests.length, 1, 'the agent is not asked again')

    const logged = (await get(`${chat}/events?limit=100`)).at(-1)
    assert.equal(logged.type, 'error')
    assert.equal(logged.data.code, 'interrupted')
  })

  await t.test('an old cursor gets one reset, and a new message works', async () => {
    assert.match(watched.at(-1).id, /^e1-/)
    const events = []
    const reading = stream(watched.at(-1).id).then((response) => readAll(response, events))
    await waitFor(() => events.length > 0, 5_000, 'the reset')
    assert.equal(events[0].data.type, 'reset')
    assert.match(events[0].id, /^e2-/)
    const { run, messages } = events[0].data.data
    assert.equal(run, null)
    assert.equal(messages.at(-1).status, 'interrupted')
    assert.equal(messages.at(-1).content, kept)

    const json = { Accept: 'application/json' }
    const again = await post(`${chat}/messages`, { content: 'And now?' }, json)
    assert.equal(again.messages[1].content, WHOLE)
    await waitFor(() => events.at(-1).data.type === 'done', 5_000, 'the end of the new answer')
    assert.equal(textOf(events), WHOLE)
    assert.equal(events.filter(({ data }) => data.type === 'reset').length, 1)
    assert.ok(events.every(({ id }) => id.startsWith('e2-')))

    // In the new epoch a cursor is exact again.
    assert.deepEqual(await firstEvents(await stream(events[5].id), 3), events.slice(6, 9))
    await service.kill()
    await reading
  })

  await t.test('another start keeps all of it', async () => {
    const requests = [up.requests.length, down.requests.length]
    await service.restart()
    const { messages } = await get(chat)
    assert.deepEqual(
      messages.map(({ status }) => status),
      ['complete', 'interrupted', 'complete', 'complete'],
    )
    assert.equal(messages[1].content, kept)
    assert.equal(messages[3].content, WHOLE)
    const [snapshot] = await firstEvents(await stream(), 1)
    assert.equal(snapshot.data.type, 'snapshot')
    assert.match(snapshot.id, /^e2-/, 'nothing was cut off, so nothing begins anew')

    const interactions = await all(service, key, '/api/v1/interactions')
    assert.ok(accepted.every((id) => interactions.some((interaction) => interaction.id === id)))
    const deliveries = await all(service, key, '/api/v1/deliveries')
    assert.equal(deliveries.length, 2 * interactions.length)
    assert.ok(deliveries.every(({ status }) => status === 'delivered'))
    assert.deepEqual([up.requests.length, down.requests.length], requests)

    const { access_token: token } = await post('/api/v1/auth/login', login)
    assert.equal((await must(service, 'GET', '/api/v1/auth/me', { as: token })).email, login.email)
  })
})

// `kill -9` while keyed requests are under way, and every one of them again: each made one thing, or makes it now.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { call, must, signUp, startReceiver, startService, waitFor } from './harness.mjs'

const WRITERS = 8
/** Kills, each in the middle of work. */
const ROUNDS = 3
/** Requests that are answered before a kill. */
const ENOUGH = 40

test('requests with a key, cut off by a kill -9', { timeout: 600_000 }, async (t) => {
  const service = await startService(t)
  const { key } = await signUp(service)
  const sent = []
  const answered = new Map()

  const post = (one) =>
    call(service, 'POST', '/api/v1/interactions', {
      as: key,
      headers: { 'Idempotency-Key': one.key },
      body: { text: one.text },
    })

  async function writeUntilGone(name) {
    for (let n = 0; ; n++) {
      const one = { key: randomUUID(), text: `${name}, number ${n}` }
      sent.push(one)
      let answer
      try {
        answer = await post(one)
      } catch {
        // The kill: nobody knows whether it was done.
        return
      }
      assert.equal(answer.status, 201, JSON.stringify(answer.json))
      answered.set(one.key, answer.data.id)
    }
  }

  for (let round = 0; round < ROUNDS; round++) {
    const until = answered.size + ENOUGH
    const writing = Array.from({ length: WRITERS }, (_, n) => writeUntilGone(`round ${round} writer ${n}`))
    await waitFor(() => answered.size >= until, 20_000, 'enough answers').finally(() => service.kill())
    await Promise.all(writing)
    await service.start()
  }
  const cutOff = sent.filter((one) => !answered.has(one.key))

  await t.test('each is one thing, whatever became of its answer', async () => {
    assert.ok(cutOff.length > 0)
    const ids = new Map()
    let already = 0
    for (const one of sent) {
      const answer = await post(one)
      assert.equal(answer.status, 201, JSON.stringify(answer.json))
      ids.set(one.key, answer.data.id)
      const replayed = answer.headers.get('Idempotency-Replayed') === 'true'
      if (answered.has(one.key)) {
        assert.equal(replayed, true)
        assert.equal(answer.data.id, answered.get(one.key))
      } else if (replayed) already += 1
    }
    t.diagnostic(
      `${sent.length} sent, ${cutOff.length} without an answer, of which ${already} had been committed`,
    )
    const kept = []
    for (let cursor = ''; cursor !== null; ) {
      const query = `limit=100${cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`}`
      const page = await call(service, 'GET', `/api/v1/interactions?${query}`, { as: key })
      kept.push(...page.data)
      cursor = page.meta.next_cursor
    }
    assert.deepEqual(kept.map(({ id }) => id).sort(), [...ids.values()].sort())
    assert.deepEqual(kept.map(({ text }) => text).sort(), sent.map(({ text }) => text).sort())
  })

  await t.test('a call to the outside that was cut off holds its key for the while', async (t) => {
    // It never answers.
    const receiver = await startReceiver(t, () => new Promise(() => {}))
    const { id } = await must(service, 'POST', '/api/v1/webhooks', {
      as: key,
      body: { url: receiver.url, event_types: ['order.shipped'] },
    })
    const again = { as: key, headers: { 'Idempotency-Key': randomUUID() }, body: {} }
    const hanging = call(service, 'POST', `/api/v1/webhooks/${id}/test`, again).catch(() => null)
    await waitFor(() => receiver.requests.length === 1, 10_000, 'the call')
    await service.restart()
    assert.equal(await hanging, null)
    const refused = await call(service, 'POST', `/api/v1/webhooks/${id}/test`, again)
    assert.equal(refused.status, 409)
    assert.equal(refused.error.code, 'idempotency_in_progress')
    assert.equal(refused.headers.get('Retry-After'), '1')
    assert.equal(receiver.requests.length, 1)
  })
})

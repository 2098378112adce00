// Interactions are posted, go to the data pipeline and are counted by day while everything is killed (`kill -9`), twice,
// and the pipeline fails now and then: what was accepted arrives, batches are what they were, and each counts once.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { call, must, setLimits, signUp, startReceiver, startService, waitFor } from './harness.mjs'

const WRITERS = 6
/** Interactions that are accepted before each kill. */
const ENOUGH = 80

/** Posts interactions one after the other until the service is gone; adds the ids of those answered 201. */
async function writeUntilGone(service, key, name, accepted) {
  for (let n = 0; ; n++) {
    try {
      const body = { type: 'view', user_id: `user-${name}`, item_id: `item-${n}` }
      accepted.push((await must(service, 'POST', '/api/v1/interactions', { as: key, body })).id)
    } catch (error) {
      // Only the kill may end it, never a refusal.
      assert.doesNotMatch(error.message, /answered \d/)
      return
    }
  }
}

async function idsOfAll(service, key) {
  const ids = []
  for (let cursor = ''; cursor !== null; ) {
    const at = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`
    const { data, meta } = await call(service, 'GET', `/api/v1/interactions?limit=100${at}`, { as: key })
    ids.push(...data.map(({ id }) => id))
    cursor = meta.next_cursor
  }
  return ids
}

test('interactions, killed twice: to the data pipeline at least once, counted exactly once', {
  timeout: 600_000,
}, async (t) => {
  let isWell = false
  const pipeline = await startReceiver(t, (_request, response) => {
    // Away for a second, there for three.
    response.writeHead(isWell || Math.floor(Date.now() / 1_000) % 4 !== 0 ? 202 : 503).end()
  })
  const service = await startService(t, {
    vars: { DATA_PIPELINE_URL: pipeline.url, DATA_PIPELINE_TOKEN: 'the-token-of-the-pipeline' },
  })
  const { tenant, key } = await signUp(service, 'killed')
  await setLimits(service, tenant.id, {
    ...{ requests_per_minute: 1_000_000, requests_per_hour: 50_000_000, requests_per_day: 1_000_000_000 },
  })
  const accepted = []
  for (let kills = 1; kills <= 2; kills++) {
    const writers = Array.from({ length: WRITERS }, (_, n) =>
      writeUntilGone(service, key, `${kills}-${n}`, accepted),
    )
    await waitFor(() => accepted.length >= ENOUGH * kills, 180_000, 'enough interactions')
    await service.kill()
    await Promise.all(writers)
    await service.start()
  }
  isWell = true
  const arrived = () =>
    new Set(
      pipeline.requests
        .filter(({ status }) => status === 202)
        .flatMap(({ body }) => JSON.parse(body).interactions.map(({ id }) => id)),
    )
  const kept = await idsOfAll(service, key)
  await waitFor(() => kept.every((id) => arrived().has(id)), 90_000, 'every interaction at the pipeline')
  assert.deepEqual(
    accepted.filter((id) => !kept.includes(id)),
    [],
  )
  const batches = new Map()
  for (const { headers, path, body } of pipeline.requests) {
    assert.equal(path, '/internal/pipeline/interactions')
    assert.equal(headers.authorization, 'Bearer the-token-of-the-pipeline')
    const { batch_id, interactions } = JSON.parse(body)
    const ids = interactions.map(({ id }) => id).join()
    assert.equal(batches.get(batch_id) ?? ids, ids, 'a batch is the same each time')
    batches.set(batch_id, ids)
  }
  // No interaction is in two batches.
  const inBatches = [...batches.values()].flatMap((ids) => ids.split(','))
  assert.equal(new Set(inBatches).size, inBatches.length)
  const { totals } = await must(service, 'GET', '/api/v1/analytics/interactions', { as: key })
  assert.deepEqual(totals, { interactions: kept.length, said: 0, done: kept.length })
  const metrics = async () => (await fetch(`${service.url}/metrics`)).text()
  // A batch that was taken as the kill came, and not written down, has its turn again half a minute later.
  await waitFor(async () => /^pipeline_interactions_waiting 0$/m.test(await metrics()), 60_000, 'no backlog')
})

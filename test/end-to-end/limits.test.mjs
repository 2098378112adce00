// A tenant's minute in a real runtime: exactly as many as the limit, also over a `kill -9` in its middle.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { call, newAddress, setLimits, signUp, startService } from './harness.mjs'

const CONNECTIONS = 16

/** Sends so many requests over 16 connections; answers how many had each status. */
async function fire(service, key, count, headers = {}) {
  const seen = {}
  let left = count
  const connection = async () => {
    while (left > 0) {
      left -= 1
      const { status } = await call(service, 'GET', '/api/v1/webhooks/event-types?built_in=true', {
        as: key,
        headers,
      })
      seen[status] = (seen[status] ?? 0) + 1
    }
  }
  await Promise.all(Array.from({ length: CONNECTIONS }, connection))
  return seen
}

test('limits', { timeout: 600_000 }, async (t) => {
  const service = await startService(t, { vars: { LOG_LEVEL: 'error' } })

  await t.test('of 1,500 requests by 16 connections 1,000 are answered, each time', async () => {
    for (let run = 0; run < 3; run++) {
      const { key } = await signUp(service)
      const started = Date.now()
      const seen = await fire(service, key, 1_500)
      assert.ok(Date.now() - started < 55_000, 'the machine is too slow for this to tell anything')
      assert.deepEqual(seen, { 200: 1_000, 429: 500 })
    }
  })

  await t.test('five logins a minute, from an address', async () => {
    const { login } = await signUp(service)
    const headers = { 'CF-Connecting-IP': newAddress() }
    const seen = []
    for (let n = 0; n < 7; n++)
      seen.push((await call(service, 'POST', '/api/v1/auth/login', { headers, body: login })).status)
    assert.deepEqual(seen, [200, 200, 200, 200, 200, 429, 429])
  })

  await t.test('a kill in the middle of a minute makes it no longer', async () => {
    const { key } = await signUp(service)
    const started = Date.now()
    const before = await fire(service, key, 600)
    assert.deepEqual(before, { 200: 600 })
    await service.restart()
    const after = await fire(service, key, 700)
    assert.ok(Date.now() - started < 55_000, 'the machine is too slow for this to tell anything')
    const admitted = 600 + (after[200] ?? 0)
    t.diagnostic(`${admitted} admitted over the kill`)
    assert.ok(admitted <= 1_000, `${admitted} were admitted`)
    // What was lent and not reported counts as spent: half of what was free at the most.
    assert.ok(admitted >= 750, `only ${admitted} were admitted`)
    const limits = await call(service, 'GET', '/api/v1/usage/limits', { as: key })
    const minute = limits.data.windows.find(({ window }) => window === 'minute')
    assert.equal(minute.remaining, 0)
  })

  await t.test('streams that a kill cut off are not counted for ever', async () => {
    const { key, tenant } = await signUp(service)
    await setLimits(service, tenant.id, { open_streams: 2 })
    const agent = await call(service, 'POST', '/api/v1/agents', {
      as: key,
      body: { name: 'Echo', kind: 'echo' },
    })
    const open = async () => {
      const chat = await call(service, 'POST', '/api/v1/chats', {
        as: key,
        body: { agent_id: agent.data.id },
      })
      const abort = new AbortController()
      const answer = await fetch(`${service.url}/api/v1/chats/${chat.data.id}/stream`, {
        headers: { 'X-API-Key': key },
        signal: abort.signal,
      })
      t.after(() => abort.abort())
      return answer.status
    }
    assert.deepEqual([await open(), await open(), await open()], [200, 200, 429])
    await service.restart()
    assert.deepEqual([await open(), await open(), await open()], [200, 200, 429])
  })
})

// What a tenant used: every request that was sent is counted, and a `kill -9` costs the last ten seconds at most.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { call, must, signUp, startService } from './harness.mjs'

const CONNECTIONS = 16
const REQUESTS = 3_000
/** Longer than what may be lost. */
const STEADY_MS = 16_000
const LOST_MS = 10_000

const total = (rows) => rows.reduce((sum, { requests }) => sum + requests, 0)
const usage = (service, token, query = '') => must(service, 'GET', `/api/v1/usage${query}`, { as: token })

test('usage', { timeout: 600_000 }, async (t) => {
  const service = await startService(t)

  await t.test('counts a run of requests to the last one', async () => {
    const { token, key } = await signUp(service)
    const before = total(await usage(service, token))
    const answered = new Map()
    let sent = 0
    let bytes = 0
    const connect = async () => {
      while (sent < REQUESTS) {
        const n = sent++
        const path =
          n % 10 === 0
            ? `/api/v1/interactions/${crypto.randomUUID()}`
            : '/api/v1/webhooks/event-types?built_in=true'
        const answer = await fetch(service.url + path, { headers: { 'X-API-Key': key } })
        const body = await answer.arrayBuffer()
        bytes += body.byteLength
        answered.set(answer.status, (answered.get(answer.status) ?? 0) + 1)
      }
    }
    await Promise.all(Array.from({ length: CONNECTIONS }, connect))

    // Over its limit the tenant is refused, which is a request as well.
    const keys = await usage(service, token, '?group_by=api_key')
    const ofKey = keys.find(({ principal }) => principal === 'api_key')
    assert.equal(ofKey.requests, REQUESTS)
    assert.equal(ofKey.response_size_bytes, bytes)
    assert.equal(ofKey.errors, REQUESTS - (answered.get(200) ?? 0))
    assert.equal(ofKey.request_size_bytes, 0)
    const statuses = await usage(service, token, '?group_by=status')
    for (const [status, count] of answered)
      if (status !== 200) assert.equal(statuses.find((row) => row.status === status)?.requests, count)
    // The first look, the key's requests and the two looks before this one.
    assert.equal(total(await usage(service, token)), before + 1 + REQUESTS + 2)
  })

  await t.test('knows after a kill what was answered ten seconds before', async () => {
    const { token, key } = await signUp(service)
    const answeredAt = []
    const until = Date.now() + STEADY_MS
    while (Date.now() < until) {
      await must(service, 'GET', '/api/v1/interactions', { as: key })
      answeredAt.push(Date.now())
      await wait(25)
    }
    const killedAt = Date.now()
    await service.restart()
    const rows = await usage(service, token, '?group_by=api_key')
    const counted = rows.find(({ principal }) => principal === 'api_key')?.requests ?? 0
    const owed = answeredAt.filter((at) => at < killedAt - LOST_MS).length
    assert.ok(owed > 50, `only ${owed} requests were owed`)
    assert.ok(counted >= owed, `${counted} of ${owed} requests that were ten seconds old are counted`)
    assert.ok(counted <= answeredAt.length, `${counted} are counted, ${answeredAt.length} were sent`)
  })

  await t.test('says when a key was used last', async () => {
    const { token, key } = await signUp(service)
    const [made] = await must(service, 'GET', '/api/v1/auth/api-keys', { as: token })
    assert.equal(made.last_used_at, null)
    const from = Date.now()
    await call(service, 'GET', '/api/v1/interactions', { as: key })
    let used = null
    for (let i = 0; i < 30 && used === null; i++) {
      await wait(500)
      used = (await must(service, 'GET', `/api/v1/auth/api-keys/${made.id}`, { as: token })).last_used_at
    }
    assert.ok(Date.parse(used) >= from - 1_000 && Date.parse(used) <= Date.now(), `used at ${used}`)
  })
})

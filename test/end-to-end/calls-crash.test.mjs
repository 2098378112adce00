// Calls are placed and go on while everything is killed (`kill -9`), twice: none stays for ever, each ends once, and the
// credit that was held for it is given back once.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { grantCredit, listAll, must, setLimits, signUp, startService, waitFor } from './harness.mjs'

const WRITERS = 4
/** Calls that are accepted before each kill. */
const ENOUGH = 60
const CREDIT = 1_000_000

/** Places calls one after the other until the service is gone; adds the ids of those answered 201. */
async function callUntilGone(service, key, agent_id, accepted) {
  for (let n = 0; ; n++) {
    // Most are answered, some are not, and some lines are busy.
    const to = `+1415555${['0123', '0123', '0123', '0001', '0002'][n % 5]}`
    try {
      accepted.push((await must(service, 'POST', '/api/v1/calls', { as: key, body: { agent_id, to } })).id)
    } catch (error) {
      // Only the kill may end it, never a refusal.
      assert.doesNotMatch(error.message, /answered \d/)
      return
    }
  }
}

test('calls, killed twice: each ends once, and is settled once', { timeout: 600_000 }, async (t) => {
  const service = await startService(t, { vars: { CALL_PROVIDER: 'simulated', CALL_SIMULATED_SPEED: '8' } })
  const { tenant, key } = await signUp(service, 'calling')
  await setLimits(service, tenant.id, {
    ...{ requests_per_minute: 1_000_000, requests_per_hour: 50_000_000, requests_per_day: 1_000_000_000 },
  })
  await grantCredit(service, tenant.id, CREDIT)
  const body = { name: 'Caller', kind: 'echo', greeting: 'Hello' }
  const agent = await must(service, 'POST', '/api/v1/agents', { as: key, body })
  const accepted = []
  for (let kills = 1; kills <= 2; kills++) {
    const writers = Array.from({ length: WRITERS }, () => callUntilGone(service, key, agent.id, accepted))
    await waitFor(() => accepted.length >= ENOUGH * kills, 180_000, 'enough calls')
    await service.kill()
    await Promise.all(writers)
    await service.start()
  }

  let calls = []
  const areOver = async () => {
    calls = await listAll(service, '/api/v1/calls', { as: key })
    return calls.every(
      ({ status, recording_url }) =>
        ['failed', 'no_answer'].includes(status) || (status === 'completed' && recording_url !== null),
    )
  }
  await waitFor(areOver, 180_000, 'the end of every call')
  const known = new Set(calls.map(({ id }) => id))
  assert.deepEqual(
    accepted.filter((id) => !known.has(id)),
    [],
  )

  const events = await listAll(service, '/api/v1/events?type=call.ended', { as: key })
  assert.equal(events.length, calls.length)
  assert.equal(new Set(events.map(({ data }) => data.call_id)).size, calls.length)
  const started = await listAll(service, '/api/v1/events?type=call.started', { as: key })
  assert.equal(started.length, calls.filter(({ status }) => status === 'completed').length)

  const ledger = (await listAll(service, '/api/v1/billing/transactions', { as: key })).reverse()
  let balance = 0
  for (const { amount, balance_after } of ledger) {
    balance += amount
    assert.equal(balance_after, balance)
  }
  const of = (kind) => ledger.filter((row) => row.kind === kind)
  assert.equal(of('release').length, calls.length)
  assert.equal(
    of('reserve').reduce((sum, { amount }) => sum + amount, 0),
    -of('release').reduce((sum, { amount }) => sum + amount, 0),
  )
  const cost = calls.reduce((sum, one) => sum + one.cost, 0)
  assert.ok(cost > 0)
  assert.equal(balance, CREDIT - cost)

  for (const { id } of calls.filter(({ status }) => status === 'completed').slice(0, 5)) {
    const turns = await must(service, 'GET', `/api/v1/calls/${id}/transcript`, { as: key })
    assert.deepEqual(
      turns.map(({ position }) => position),
      [0, 1, 2, 3, 4],
    )
    const { url, size } = await must(service, 'GET', `/api/v1/calls/${id}/recording`, { as: key })
    const played = await fetch(url)
    assert.equal(played.status, 200)
    assert.equal((await played.arrayBuffer()).byteLength, size)
  }
})

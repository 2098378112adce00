// `kill -9` of everything in the middle of a campaign, again and again: everybody is called, and nobody twice.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { call, grantCredit, listAll, must, setLimits, signUp, startService, waitFor } from './harness.mjs'

const CONTACTS = 150
/** Who does not answer is called once more, at once. */
const UNANSWERED = 10
const CREDIT = 100_000
/** Everything is killed when so many are left to be called. */
const KILLS = [120, 70, 20]

const number = (n) =>
  n < UNANSWERED ? `+1415${String(n + 200)}0001` : `+1415555${String(n + 1_000).padStart(4, '0')}`

test('a campaign, killed in the middle: nobody is called twice', { timeout: 600_000 }, async (t) => {
  const service = await startService(t, { vars: { CALL_PROVIDER: 'simulated', CALL_SIMULATED_SPEED: '20' } })
  const { tenant, key } = await signUp(service, 'campaign')
  await setLimits(service, tenant.id, { requests_per_minute: 100_000, requests_per_hour: 1_000_000 })
  await grantCredit(service, tenant.id, CREDIT)
  const agent = await must(service, 'POST', '/api/v1/agents', {
    ...{ as: key, body: { name: 'Caller', kind: 'echo', greeting: 'Hello' } },
  })
  const { id } = await must(service, 'POST', '/api/v1/campaigns', {
    ...{ as: key, body: { name: 'Renewals', agent_id: agent.id } },
  })
  const path = `/api/v1/campaigns/${id}`
  const contacts = Array.from({ length: CONTACTS }, (_, n) => ({ phone: number(n) }))
  const added = await must(service, 'POST', `${path}/contacts`, { as: key, body: { contacts } })
  assert.equal(added.created, CONTACTS)
  const schedule = {
    ...{ start_at: new Date().toISOString(), timezone: 'UTC', calls_per_minute: 300 },
    ...{ calling_hours: { from: '00:00', to: '24:00' }, retries: 1, retry_delay_minutes: 0 },
  }
  const { job_id } = await must(service, 'POST', `${path}/schedule`, { as: key, body: schedule })
  const read = () => must(service, 'GET', path, { as: key })
  const until = (is, what) =>
    waitFor(
      () =>
        read().then(is, (error) => {
          // A connection from before the kill may be cut off; an answer is none.
          assert.doesNotMatch(error.message, /answered \d/)
          return false
        }),
      180_000,
      what,
    )
  for (const left of KILLS) {
    await until(({ contacts }) => contacts.pending <= left, `${left} left`)
    await service.restart()
  }
  await until(({ status }) => status === 'completed', 'the end of the campaign')

  const seen = await read()
  assert.deepEqual(seen.contacts, {
    ...{ total: CONTACTS, pending: 0, calling: 0, failed: 0 },
    ...{ completed: CONTACTS - UNANSWERED, no_answer: UNANSWERED },
  })
  const calls = await listAll(service, `/api/v1/calls?campaign_id=${id}`, { as: key })
  const times = new Map()
  for (const { to } of calls) times.set(to, (times.get(to) ?? 0) + 1)
  for (let n = 0; n < CONTACTS; n++)
    assert.equal(times.get(number(n)), n < UNANSWERED ? 2 : 1, `calls to ${number(n)}`)
  assert.equal(times.size, CONTACTS)
  // By its places, a fifth of a second apart: none was taken before its time.
  const placed = calls.map(({ created_at }) => Date.parse(created_at)).sort((a, b) => a - b)
  for (const [i, at] of placed.entries())
    assert.ok(at >= placed[0] + (i - 1) * 200 - 5_000, `call ${i} at ${at - placed[0]} ms`)
  const job = await must(service, 'GET', `/api/v1/jobs/${job_id}`, { as: key })
  assert.deepEqual([job.status, job.progress, job.result.contacts], ['completed', 100, seen.contacts])

  // What was held was given back, and what was spent is what the calls cost.
  const ledger = await listAll(service, '/api/v1/billing/transactions', { as: key })
  const sum = (kind) => ledger.filter((row) => row.kind === kind).reduce((all, row) => all + row.amount, 0)
  assert.equal(sum('reserve') + sum('release'), 0)
  assert.equal(
    -sum('spend'),
    calls.reduce((all, one) => all + (one.cost ?? 0), 0),
  )
  const { data: events } = await call(service, 'GET', '/api/v1/events?type=campaign.completed', { as: key })
  assert.equal(events.length, 1)
})

// A rule that is true, and a service that is killed around the minute at which it is looked at: one alert, once announced.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { must, signUp, startService, waitFor } from './harness.mjs'

test('an alert survives a kill -9, and is raised once', { timeout: 300_000 }, async (t) => {
  const service = await startService(t)
  const { token } = await signUp(service, 'acme')
  const rule = {
    name: 'Any',
    metric: 'deliveries_failed',
    comparison: 'gte',
    threshold: 0,
    window_minutes: 1,
  }
  const made = await must(service, 'POST', '/api/v1/alerts/rules', { as: token, body: rule })
  // It is answered, and known to nobody's memory.
  await service.restart()
  const alerts = () => must(service, 'GET', '/api/v1/alerts', { as: token })
  const events = () => must(service, 'GET', '/api/v1/events?type=alert.raised', { as: token })
  // Killed again and again over the moment at which the minute is looked at, with nobody asking for anything meanwhile.
  for (let round = 0; round < 2; round++) {
    await wait(20_000 + Math.random() * 10_000)
    await service.restart()
  }
  const isThere = async () => {
    await wait(1_000)
    return (await alerts()).length > 0
  }
  await waitFor(isThere, 120_000, 'the alert')
  await service.restart()
  await wait(5_000)
  const [alert, ...others] = await alerts()
  assert.deepEqual([others, alert.rule_id, alert.status, alert.value], [[], made.id, 'open', 0])
  const told = await events()
  assert.deepEqual(
    told.map(({ data }) => data.alert_id),
    [alert.id],
  )
  const path = `/api/v1/alerts/${alert.id}/acknowledge`
  assert.equal((await must(service, 'POST', path, { as: token })).status, 'acknowledged')
})

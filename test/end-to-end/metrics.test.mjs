// What monitoring reads of a real service, judged by Prometheus' own tool, before and after a kill.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { must, ROOT, signUp, startReceiver, startService, temporaryFolder, waitFor } from './harness.mjs'
import { codeBlocks } from './shell.mjs'

const noPromtool =
  spawnSync('promtool', ['--version']).status === 0
    ? false
    : 'no promtool was found (Debian: apt-get install prometheus)'

const ALERTS = path.join(ROOT, 'docs/examples/alerts.yml')

/** Runs promtool; its complaints are the failure's message. */
function promtool(args, input) {
  const { status, stdout, stderr } = spawnSync('promtool', args, { input, encoding: 'utf8' })
  assert.equal(status, 0, `${stdout}${stderr}`)
  assert.equal(stderr, '')
}

const scrape = async (service) => {
  const answer = await fetch(`${service.url}/metrics`)
  assert.equal(answer.status, 200)
  return answer.text()
}

/** Samples by series. */
const samples = (page) =>
  new Map(
    page
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
  )

test('/metrics of a service that works', { timeout: 600_000 }, async (t) => {
  const service = await startService(t)
  const { key } = await signUp(service)
  const receiver = await startReceiver(t)
  await must(service, 'POST', '/api/v1/webhooks', {
    as: key,
    body: { url: receiver.url, event_types: ['interaction.created'] },
  })
  const POSTED = 25
  await Promise.all(
    Array.from({ length: POSTED }, (_, n) =>
      must(service, 'POST', '/api/v1/interactions', { as: key, body: { text: `number ${n}` } }),
    ),
  )
  for (let n = 0; n < 4; n++) await fetch(`${service.url}/api/v1/interactions`)
  await fetch(`${service.url}/no "such"\\path`)
  const posted = 'api_requests_total{endpoint="/api/v1/interactions",method="POST",status_code="201"}'
  const page = await scrape(service)

  await t.test('promtool accepts it', { skip: noPromtool }, () => promtool(['check', 'metrics'], page))

  await t.test('it counts what was asked', () => {
    const read = samples(page)
    assert.equal(read.get(posted), POSTED)
    assert.equal(
      read.get('api_requests_total{endpoint="/api/v1/interactions",method="GET",status_code="401"}'),
      4,
    )
    assert.equal(read.get('api_latency_seconds_count{endpoint="/api/v1/interactions"}'), POSTED + 4)
    assert.ok(read.get('api_errors_total{category="authentication"}') >= 4)
  })

  await t.test('deliveries are on it at the latest when their objects have told of them', async () => {
    const delivered = 'webhook_deliveries_total{outcome="delivered"}'
    const all = async () => samples(await scrape(service)).get(delivered) === POSTED
    await waitFor(all, 25_000, 'the deliveries to be counted')
    const read = samples(await scrape(service))
    assert.equal(read.get('webhook_attempts_total{outcome="succeeded"}'), POSTED)
    assert.equal(read.get('webhook_delivery_latency_seconds_count'), POSTED)
    // The backlog is looked at every five seconds.
    const waits = async () => {
      const now = samples(await scrape(service))
      return now.get('outbox_entries') + now.get('deliveries_due')
    }
    await waitFor(async () => (await waits()) === 0, 10_000, 'an empty backlog')
  })

  await t.test('no counter falls when everything is killed and started again', async () => {
    const before = samples(await scrape(service))
    await service.restart()
    const page = await scrape(service)
    const after = samples(page)
    const isCounter = (name) => /_(total|count|bucket|sum)(\{|$)/.test(name)
    const fallen = [...before].filter(([name, value]) => isCounter(name) && !(after.get(name) >= value))
    assert.deepEqual(fallen, [])
    assert.equal(after.get(posted), POSTED)
    await must(service, 'POST', '/api/v1/interactions', { as: key, body: { text: 'after' } })
    assert.equal(samples(await scrape(service)).get(posted), POSTED + 1)
  })
})

test('the alert rules', { skip: noPromtool }, async (t) => {
  await t.test('are rules, and the lines for Prometheus a configuration', (t) => {
    promtool(['check', 'rules', ALERTS])
    const folder = temporaryFolder(t)
    const [config] = codeBlocks(readFileSync(path.join(ROOT, 'docs/operations.md'), 'utf8'), 'yaml')
    writeFileSync(path.join(folder, 'token'), 'x')
    writeFileSync(
      path.join(folder, 'prometheus.yml'),
      config.replace('/etc/prometheus/causeway-token', path.join(folder, 'token')),
    )
    copyFileSync(ALERTS, path.join(folder, 'alerts.yml'))
    promtool(['check', 'config', path.join(folder, 'prometheus.yml')])
  })

  await t.test('each one fires on what it is about, and is quiet otherwise', (t) => {
    const rising = (by) => `0+${by}x60`
    const bad = {
      'up{job="causeway"}': '0x60',
      'api_requests_total{endpoint="/a",method="GET",status_code="200"}': rising(980),
      'api_requests_total{endpoint="/a",method="GET",status_code="500"}': rising(20),
      'api_errors_total{category="service_error"}': rising(20),
      'api_latency_seconds_bucket{endpoint="/a",le="0.5"}': rising(900),
      'api_latency_seconds_bucket{endpoint="/a",le="1"}': rising(1_000),
      'api_latency_seconds_bucket{endpoint="/a",le="+Inf"}': rising(1_000),
      outbox_oldest_seconds: '61x60',
      deliveries_overdue_seconds: '301x60',
      'webhook_attempts_total{outcome="failed"}': rising(60),
      'webhook_attempts_total{outcome="succeeded"}': rising(40),
      meter_calls_total: rising(100),
      meter_silences_total: rising(6),
      'lease_refusals_total{by="lease"}': rising(30),
      'lease_admissions_total{by="lease"}': rising(70),
    }
    const good = {
      'up{job="causeway"}': '1x60',
      'api_requests_total{endpoint="/a",method="GET",status_code="200"}': rising(1_000),
      'api_errors_total{category="service_error"}': rising(5),
      'api_errors_total{category="validation"}': rising(500),
      'api_latency_seconds_bucket{endpoint="/a",le="0.5"}': rising(960),
      'api_latency_seconds_bucket{endpoint="/a",le="1"}': rising(1_000),
      'api_latency_seconds_bucket{endpoint="/a",le="+Inf"}': rising(1_000),
      'api_latency_seconds_bucket{endpoint="/api/v1/chats/:id/messages",le="0.5"}': rising(0),
      'api_latency_seconds_bucket{endpoint="/api/v1/chats/:id/messages",le="+Inf"}': rising(1_000),
      outbox_oldest_seconds: '59x60',
      deliveries_overdue_seconds: '299x60',
      'webhook_attempts_total{outcome="failed"}': rising(40),
      'webhook_attempts_total{outcome="succeeded"}': rising(60),
      meter_calls_total: rising(100),
      meter_silences_total: rising(4),
      'lease_refusals_total{by="lease"}': rising(10),
      'lease_admissions_total{by="lease"}': rising(90),
    }
    const rules = readFileSync(ALERTS, 'utf8')
    const alerts = [...rules.matchAll(/- alert: (\w+)/g)].map(([, name]) => name)
    assert.ok(alerts.length >= 8)
    const severity = (name) => rules.match(new RegExp(`- alert: ${name}\\b[\\s\\S]*?severity: (\\w+)`))[1]
    const summary = (name) => rules.match(new RegExp(`- alert: ${name}\\b[\\s\\S]*?summary: (.*)`))[1]
    const labels = (name) => ({
      severity: severity(name),
      ...(name === 'CausewayUnreachable' ? { job: 'causeway' } : {}),
    })
    const series = (values) =>
      Object.entries(values).map(([name, value]) => ({ series: name, values: value }))
    const expecting = (fires) =>
      alerts.map((alertname) => ({
        alertname,
        eval_time: '30m',
        exp_alerts: fires
          ? [{ exp_labels: labels(alertname), exp_annotations: { summary: summary(alertname) } }]
          : [],
      }))
    const tests = {
      rule_files: ['alerts.yml'],
      tests: [
        { interval: '1m', input_series: series(bad), alert_rule_test: expecting(true) },
        { interval: '1m', input_series: series(good), alert_rule_test: expecting(false) },
      ],
    }
    const folder = temporaryFolder(t)
    copyFileSync(ALERTS, path.join(folder, 'alerts.yml'))
    // JSON is YAML too.
    writeFileSync(path.join(folder, 'tests.yml'), JSON.stringify(tests))
    promtool(['test', 'rules', path.join(folder, 'tests.yml')])
  })

  await t.test('speak of metrics that there are', () => {
    const catalogue = readFileSync(path.join(ROOT, 'src/lib/metrics.ts'), 'utf8')
    const expressions = [...readFileSync(ALERTS, 'utf8').matchAll(/expr: ([\s\S]*?)\n\s+for:/g)]
    const names = expressions.flatMap(([, expr]) => expr.match(/\b[a-z]+(?:_[a-z]+)+\b/g) ?? [])
    const functions = ['histogram_quantile', 'service_error']
    const metrics = [...new Set(names)].filter((name) => !functions.includes(name))
    assert.ok(metrics.length >= 8)
    for (const name of metrics) assert.ok(catalogue.includes(`\n  ${name.replace(/_bucket$/, '')}: {`), name)
  })
})

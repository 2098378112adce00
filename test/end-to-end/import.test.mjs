// `kill -9` of everything in the middle of an import of 100,000 lines, again and again: each line is there once, is
// counted once and is announced once.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { call, must, setLimits, signUp, startReceiver, startService, waitFor } from './harness.mjs'

const LINES = 100_000
/** Lines that can't be read, among the others. */
const WRONG = [500, 33_333, 77_777]
/** At so many percent everything is killed. */
const KILLS = [10, 40, 70]

const line = (n) =>
  WRONG.includes(n)
    ? `sku-${n},"a "quote" in between",,,`
    : `sku-${n},"Item ${n}\nof ""two"" lines, é",category ${n % 20},"tag ${n % 7}|all",${n % 2 === 0}`

async function upload(service, key, filename, text) {
  const bytes = Buffer.from(text)
  const body = { filename, content_type: 'text/csv', size: bytes.byteLength, purpose: 'import' }
  const { file_id, url, headers } = await must(service, 'POST', '/api/v1/files/presign', { as: key, body })
  const sent = await fetch(url, { method: 'PUT', headers, body: bytes })
  assert.equal(sent.status, 200)
  await must(service, 'POST', `/api/v1/files/${file_id}/complete`, { as: key })
  return file_id
}

test('kill -9 in the middle of an import', { timeout: 400_000 }, async (t) => {
  const service = await startService(t)
  const { key, tenant } = await signUp(service)
  // A thousand pages are read at the end.
  await setLimits(service, tenant.id, { requests_per_minute: 100_000, deliveries_per_second: 1_000 })
  const receiver = await startReceiver(t)
  await must(service, 'POST', '/api/v1/webhooks', {
    as: key,
    body: { url: receiver.url, event_types: ['item.updated'] },
  })
  const lines = Array.from({ length: LINES }, (_, n) => line(n))
  const file_id = await upload(
    service,
    key,
    'items.csv',
    `external_id,title,category,tags,available\n${lines.join('\n')}\n`,
  )

  const began = Date.now()
  const job = await must(service, 'POST', '/api/v1/items/import', { as: key, body: { file_id } })
  const read = () => must(service, 'GET', `/api/v1/jobs/${job.id}`, { as: key })
  for (const percent of KILLS) {
    await waitFor(async () => (await read()).progress >= percent, 60_000, `${percent} %`)
    await service.restart()
  }
  await waitFor(async () => (await read()).finished_at !== null, 120_000, 'the end of the import')
  const { status, result } = await read()
  t.diagnostic(`${LINES} lines in ${Date.now() - began} ms, killed ${KILLS.length} times`)
  assert.equal(status, 'completed')
  const { errors, ...counts } = result
  assert.deepEqual(counts, {
    ...{ lines: LINES, created: LINES - WRONG.length, updated: 0, unchanged: 0, failed: WRONG.length },
  })
  // The header, and two lines for each before that is good.
  const at = (n) => 2 + 2 * n - WRONG.filter((one) => one < n).length
  assert.deepEqual(
    errors.map((error) => error.line),
    WRONG.map(at),
  )

  // Every name, once.
  const names = new Set()
  let rows = 0
  for (let cursor = ''; ; ) {
    const page = await call(service, 'GET', `/api/v1/items?limit=100${cursor}`, { as: key })
    assert.equal(page.status, 200)
    for (const { external_id } of page.data) names.add(external_id)
    rows += page.data.length
    if (page.meta.next_cursor === null) break
    cursor = `&cursor=${encodeURIComponent(page.meta.next_cursor)}`
  }
  assert.deepEqual([rows, names.size], [LINES - WRONG.length, LINES - WRONG.length])

  // Every item is in one event: deliveries may come again, events do not.
  const named = () => {
    const events = new Map(receiver.requests.map(({ headers, body }) => [headers['webhook-id'], body]))
    return [...events.values()].flatMap((body) => JSON.parse(body).data.items)
  }
  await waitFor(() => named().length >= names.size, 60_000, 'the events of all items')
  assert.equal(named().length, names.size)
  assert.deepEqual(new Set(named().map(({ item_id }) => item_id)), names)
})

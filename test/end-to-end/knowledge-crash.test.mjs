// `kill -9` of everything while files are taken into a knowledge base, again and again: each piece is there once, and is
// found.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { must, setLimits, signUp, startService, waitFor } from './harness.mjs'

const FILES = 8
const CHUNKS = 1_500
/** At so many percent everything is killed. */
const KILLS = [12, 50, 75]

async function upload(service, key, filename, text) {
  const bytes = Buffer.from(text)
  const body = { filename, content_type: 'text/markdown', size: bytes.byteLength, purpose: 'knowledge' }
  const { file_id, url, headers } = await must(service, 'POST', '/api/v1/files/presign', { as: key, body })
  const sent = await fetch(url, { method: 'PUT', headers, body: bytes })
  assert.equal(sent.status, 200)
  await must(service, 'POST', `/api/v1/files/${file_id}/complete`, { as: key })
  return file_id
}

test('kill -9 while files are taken in', { timeout: 700_000 }, async (t) => {
  const service = await startService(t)
  const { key, tenant } = await signUp(service)
  await setLimits(service, tenant.id, { requests_per_minute: 100_000 })
  const base = await must(service, 'POST', '/api/v1/kb', { as: key, body: { name: 'Parts' } })
  const file_ids = []
  for (let file = 0; file < FILES; file++) {
    const parts = Array.from({ length: CHUNKS }, (_, n) => `# Part ${n}\n\nIts number is f${file}n${n}x.`)
    file_ids.push(await upload(service, key, `parts-${file}.md`, parts.join('\n\n')))
  }
  const path = `/api/v1/kb/${base.id}`
  const job = await must(service, 'POST', `${path}/files/ingest`, { as: key, body: { file_ids } })
  const read = () => must(service, 'GET', `/api/v1/jobs/${job.id}`, { as: key })
  for (const percent of KILLS) {
    await waitFor(async () => (await read()).progress >= percent, 120_000, `${percent} %`)
    await service.restart()
  }
  await waitFor(async () => (await read()).finished_at !== null, 180_000, 'the end of the job')
  const { status, result } = await read()
  assert.equal(status, 'completed')
  assert.deepEqual(result, { ready: FILES, failed: 0, chunks: FILES * CHUNKS })
  const { documents, chunks } = await must(service, 'GET', path, { as: key })
  assert.deepEqual([documents, chunks], [FILES, FILES * CHUNKS])
  for (let file = 0; file < FILES; file++)
    for (const n of [0, 399, 400, CHUNKS - 1]) {
      const body = { query: `f${file}n${n}x`, limit: 50 }
      const { results } = await must(service, 'POST', `${path}/search`, { as: key, body })
      const found = results.map(({ filename, position }) => [filename, position])
      assert.deepEqual(found, [[`parts-${file}.md`, n]])
    }
})

import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import type { Job } from '../../../src/domains/jobs/schema'
import { upload } from '../../files/kit'
import { expectError } from '../../http/expect-error'
import { endedJob } from '../../jobs/kit'
import { call, callJson, makeWorld, type World } from '../../world'
import { announced, namesOf, put } from './kit'

const begin = (world: World, file_id: string, more: object = {}, headers: Record<string, string> = {}) =>
  callJson<Job>('POST', '/api/v1/items/import', {
    token: world.developer.token,
    body: { file_id, ...more },
    headers,
  })

/** A file of the developer's, and the job that imports it. */
async function imported(
  world: World,
  text: string | Uint8Array<ArrayBuffer>,
  filename = 'items.csv',
  more = {},
) {
  const file = await upload(world.developer, text, { filename, content_type: 'application/octet-stream' })
  return begin(world, file.id, more)
}

const result = (job: Job) => job.result as Record<string, unknown>

describe('an import', () => {
  it('takes in a file of CSV step by step, quotes across windows and all', { timeout: 60_000 }, async () => {
    const world = await makeWorld()
    await put(world, {
      external_id: 'sku-7',
      title: 'Item 7\nof "many", é',
      attributes: { text: 'x'.repeat(700) },
    })
    const lines = Array.from({ length: 2_500 }, (_, i) =>
      i === 1_234 ? 'sku-bad,"x"y,z' : `sku-${i},"Item ${i}\nof ""many"", é",${'x'.repeat(700)}`,
    )
    const started = await imported(world, `external_id,title,attributes.text\n${lines.join('\r\n')}`)
    expect(started.status).toBe(202)
    expect(started.data).toMatchObject({ kind: 'items.import', status: 'queued' })
    expect(result(started.data)).toMatchObject({ lines: 500, created: 499, unchanged: 1 })
    const job = await endedJob(world, started.data.id)
    expect([job.status, job.progress, job.error]).toEqual(['completed', 100, null])
    expect(result(job)).toEqual({
      ...{ lines: 2_500, created: 2_498, updated: 0, unchanged: 1, failed: 1 },
      // The header, and the two lines of each item before.
      errors: [
        {
          line: 2 + 1_234 * 2,
          external_id: null,
          fields: { line: expect.stringContaining('closing quote') },
        },
      ],
    })
    const { n } = (await env.DB.prepare(
      'select count(*) as n from items where tenant_id = ? and title like ?',
    )
      .bind(world.tenant.id, 'Item %\nof "many", é')
      .first<{ n: number }>()) ?? { n: 0 }
    expect(n).toBe(2_499)
    const events = await announced(world)
    expect(events.flat()).toHaveLength(2_499)
    expect(Math.max(...events.map((items) => items.length))).toBeLessThanOrEqual(200)
  })

  it('takes in lines of JSON, and names the first hundred that are wrong', { timeout: 60_000 }, async () => {
    const world = await makeWorld()
    const good = Array.from({ length: 700 }, (_, i) => JSON.stringify({ external_id: `a${i}`, title: 'A' }))
    const huge = JSON.stringify({
      external_id: 'huge',
      title: 'x',
      attributes: { text: 'x'.repeat(900_000) },
    })
    const bad = Array.from({ length: 120 }, () => '{"external_id":"bad"}')
    const started = await imported(world, [...bad, huge, ...good, ...good].join('\n'), 'items.jsonl')
    const job = await endedJob(world, started.data.id)
    expect(job.status).toBe('completed')
    expect(result(job)).toMatchObject({ lines: 1_521, created: 700, unchanged: 700, failed: 121 })
    const errors = result(job).errors as { line: number }[]
    expect([errors.length, errors[0]?.line, errors.at(-1)?.line]).toEqual([100, 1, 100])
    expect((await namesOf(world, 'q=a6&limit=100')).length).toBe(111)
  })

  it('is refused at once where the file is not what it should be', async () => {
    const world = await makeWorld()
    const fields = async (...of: Parameters<typeof imported>) => {
      const { status, error } = await imported(...of)
      expect([status, error.code]).toEqual([422, 'validation_failed'])
      return error.details.fields
    }
    expect(await fields(world, 'sku,title\n')).toMatchObject({ 'header.external_id': 'must be a column' })
    expect(await fields(world, 'a', 'items.bin')).toEqual({
      format: expect.stringContaining('csv or ndjson'),
    })
    expect(await fields(world, '[{"external_id":"a"}]', 'items.ndjson')).toEqual({
      file_id: expect.stringContaining('JSON list'),
    })
    expect(await fields(world, 'a', 'items.bin', { format: 'xml' })).toEqual({
      format: 'must be csv or ndjson',
    })
    const utf16 = await imported(world, new Uint8Array([0xff, 0xfe, 0x65, 0x00]))
    expect(utf16.error.code).toBe('malformed_body')
    const jobs = await callJson<Job[]>('GET', '/api/v1/jobs', { token: world.developer.token })
    expect(jobs.data).toEqual([])
    expect(
      (await imported(world, 'external_id,title\na,A', 'items.bin', { format: 'csv' })).data.status,
    ).toBe('completed')
  })

  it('is of a complete file of one’s own', async () => {
    const world = await makeWorld()
    const ofMember = await upload(world.member, 'external_id,title\n', { filename: 'a.csv' })
    expect((await begin(world, ofMember.id)).error.code).toBe('not_found')
    const other = await makeWorld()
    const foreign = await upload(other.developer, 'external_id,title\n', { filename: 'a.csv' })
    expect((await begin(world, foreign.id)).error.code).toBe('not_found')
    const coming = await callJson<{ file_id: string }>('POST', '/api/v1/files/presign', {
      token: world.developer.token,
      body: { filename: 'a.csv', content_type: 'text/csv', size: 5 },
    })
    expect((await begin(world, coming.data.file_id)).error.code).toBe('upload_incomplete')
    const { token } = world.member
    await expectError(
      call('POST', '/api/v1/items/import', { token, body: { file_id: ofMember.id } }),
      'insufficient_scope',
    )
  })

  it('fails where the file goes before its end, can be cancelled, and goes on when it is asked to', async () => {
    const world = await makeWorld()
    const text = `external_id,title\n${Array.from({ length: 1_200 }, (_, i) => `s${i},S`).join('\n')}`
    const file = await upload(world.developer, text, { filename: 'a.csv' })
    const { token } = world.developer
    const { data } = await begin(world, file.id)
    await call('POST', `/api/v1/jobs/${data.id}/cancel`, { token })
    const stopped = await endedJob(world, data.id)
    const before = result(stopped) as { lines: number }
    const retried = await call('POST', `/api/v1/jobs/${data.id}/retry`, { token })
    // It may have been done before it was cancelled.
    expect([retried.status, stopped.status]).toEqual(
      before.lines < 1_200 ? [202, 'cancelled'] : [409, 'completed'],
    )
    expect(result(await endedJob(world, data.id, ({ status }) => status === 'completed'))).toMatchObject({
      ...{ lines: 1_200, created: 1_200, failed: 0 },
    })

    const gone = await upload(world.developer, text.replaceAll('s', 't'), { filename: 'b.csv' })
    await env.DB.prepare('update files set etag = ? where tenant_id = ? and id = ?')
      .bind('other', world.tenant.id, gone.id)
      .run()
    expect((await begin(world, gone.id, {})).error.code).toBe('not_found')
  })

  it('begins once by a request that is repeated with its key, and is on record', async () => {
    const world = await makeWorld()
    const file = await upload(world.developer, 'external_id,title\na,A\n', { filename: 'a.csv' })
    const headers = { 'Idempotency-Key': 'a' }
    const [first, again] = [
      await begin(world, file.id, {}, headers),
      await begin(world, file.id, {}, headers),
    ]
    expect([again.data.id, again.headers.get('Idempotency-Replayed')]).toEqual([first.data.id, 'true'])
    expect(result(first.data)).toMatchObject({ lines: 1, created: 1 })
    const { results } = await env.DB.prepare(
      "select resource_id from audit_log where tenant_id = ? and action = 'items.import'",
    )
      .bind(world.tenant.id)
      .all<{ resource_id: string }>()
    expect(results).toEqual([{ resource_id: first.data.id }])
  })
})

import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import type { Job } from '../../src/domains/jobs/schema'
import { ingestFiles } from '../../src/domains/knowledge/ingest'
import type { Found } from '../../src/domains/knowledge/schema'
import { upload } from '../files/kit'
import { expectError } from '../http/expect-error'
import { endedJob } from '../jobs/kit'
import { call, callJson, makeWorld, type World } from '../world'
import { pdfOf } from './pdf'

type Base = { id: string; name: string; documents: number; chunks: number }
type Document = { id: string; filename: string; status: string; error: string | null; chunks: number }

const as = (world: World) => ({ token: world.developer.token })
async function makeBase(world: World): Promise<Base> {
  const { status, data } = await callJson<Base>('POST', '/api/v1/kb', {
    ...as(world),
    body: { name: 'Help' },
  })
  expect(status).toBe(201)
  return data
}

async function fileOf(world: World, text: string | Uint8Array<ArrayBuffer>, filename: string) {
  const content_type = filename.endsWith('.pdf') ? 'application/pdf' : 'text/plain'
  return (await upload(world.developer, text, { filename, content_type })).id
}

/** Takes files in, to the end. */
async function ingest(world: World, base: Base, file_ids: string[]): Promise<Job> {
  const { status, data } = await callJson<Job>('POST', `/api/v1/kb/${base.id}/files/ingest`, {
    ...as(world),
    body: { file_ids },
  })
  expect([status, data.kind, data.status]).toEqual([202, 'knowledge.ingest', 'queued'])
  return endedJob(world, data.id)
}

const search = async (world: World, base: Base, query: string, limit?: number) =>
  (
    await callJson<{ results: Found[] }>('POST', `/api/v1/kb/${base.id}/search`, {
      token: world.viewer.token,
      body: { query, ...(limit ? { limit } : {}) },
    })
  ).data.results
const documentsOf = async (world: World, base: Base) =>
  (await callJson<Document[]>('GET', `/api/v1/kb/${base.id}/documents`, { token: world.viewer.token })).data
const read = async (world: World, base: Base) =>
  (await callJson<Base>('GET', `/api/v1/kb/${base.id}`, { token: world.viewer.token })).data

/** Hears nothing of what is due. */
const deaf = { getByName: () => ({ wake: async () => {} }) }

const HELP =
  '# Returns\n\nSend parcels back within 30 days.\n\n# Shipping\n\nWe ship to Köln and 東京 by sea.\n'

describe('a knowledge base', { timeout: 60_000 }, () => {
  it('is created, listed, changed and deleted', async () => {
    const world = await makeWorld()
    const base = await makeBase(world)
    expect(base).toMatchObject({ name: 'Help', documents: 0, chunks: 0 })
    const changed = await callJson<Base>('PATCH', `/api/v1/kb/${base.id}`, {
      ...as(world),
      body: { name: 'More' },
    })
    expect(changed.data.name).toBe('More')
    const { data } = await callJson<Base[]>('GET', '/api/v1/kb', { token: world.viewer.token })
    expect(data.map(({ id, name }) => [id, name])).toEqual([[base.id, 'More']])
    await expectError(
      call('POST', '/api/v1/kb', { token: world.member.token, body: { name: 'x' } }),
      'insufficient_scope',
    )
    expect((await call('DELETE', `/api/v1/kb/${base.id}`, as(world))).status).toBe(204)
    await expectError(call('GET', `/api/v1/kb/${base.id}`, as(world)), 'not_found')
  })

  it('takes files in, and finds what fits a question best', async () => {
    const world = await makeWorld()
    const base = await makeBase(world)
    const files = [
      await fileOf(world, HELP, 'help.md'),
      await fileOf(world, '<h1>Fees</h1><p>A parcel to France costs 5&euro;.</p>', 'fees.html'),
      await fileOf(world, 'land,days\nSpain,12\nItaly,9\n', 'days.csv'),
      await fileOf(world, pdfOf(['Our warranty lasts two years.']), 'warranty.pdf'),
    ]
    const job = await ingest(world, base, files)
    expect([job.status, job.result]).toEqual(['completed', { ready: 4, failed: 0, chunks: 5 }])
    expect(await read(world, base)).toMatchObject({ documents: 4, chunks: 5 })
    const documents = await documentsOf(world, base)
    for (const status of ['ready', 'failed', 'queued']) {
      const found = await callJson<Document[]>('GET', `/api/v1/kb/${base.id}/documents?status=${status}`, {
        token: world.viewer.token,
      })
      expect(found.data.map(({ id }) => id)).toEqual(
        documents.filter((document) => document.status === status).map(({ id }) => id),
      )
    }
    expect(documents.map(({ filename, status, chunks }) => [filename, status, chunks]).sort()).toEqual([
      ['days.csv', 'ready', 1],
      ['fees.html', 'ready', 1],
      ['help.md', 'ready', 2],
      ['warranty.pdf', 'ready', 1],
    ])
    const [best, ...others] = await search(world, base, 'How long may I send a parcel back?')
    expect(best).toMatchObject({
      ...{ filename: 'help.md', heading: 'Returns', position: 0 },
      text: 'Send parcels back within 30 days.',
    })
    expect(others.every(({ score }) => score <= (best?.score ?? 0))).toBe(true)
    for (const [question, filename] of [
      ['france', 'fees.html'],
      ['Which warranty is there?', 'warranty.pdf'],
      ['days Italy', 'days.csv'],
      ['koln', 'help.md'],
      ['東京', 'help.md'],
      ['" OR words : NEAR( warranty', 'warranty.pdf'],
    ])
      expect([question, (await search(world, base, question ?? ''))[0]?.filename]).toEqual([
        question,
        filename,
      ])
    expect(await search(world, base, 'unheard-of')).toEqual([])
    expect(await search(world, base, '?!')).toEqual([])
    expect(await search(world, base, 'parcel', 1)).toHaveLength(1)
  })

  it('names a file that can’t be read, and takes in the others', async () => {
    const world = await makeWorld()
    const base = await makeBase(world)
    const job = await ingest(world, base, [
      await fileOf(world, Uint8Array.from([0x41, 0, 0xff]), 'broken.txt'),
      await fileOf(world, 'not a pdf', 'broken.pdf'),
      await fileOf(world, '  \n', 'empty.md'),
      await fileOf(world, HELP, 'help.md'),
    ])
    expect([job.status, job.result]).toEqual(['completed', { ready: 1, failed: 3, chunks: 2 }])
    const errors = (await documentsOf(world, base)).map(({ filename, error }) => [filename, error])
    expect(errors.sort()).toEqual([
      ['broken.pdf', 'is a PDF that can’t be read: it is damaged'],
      ['broken.txt', 'is no text in UTF-8; save it as UTF-8'],
      ['empty.md', 'has no text in it'],
      ['help.md', null],
    ])
  })

  it('refuses what is no file of the caller’s to read', async () => {
    const world = await makeWorld()
    const base = await makeBase(world)
    const others = await upload(world.admin, HELP, { filename: 'help.md' })
    const picture = await upload(world.developer, 'x', { filename: 'x.bin', content_type: 'application/zip' })
    const good = await fileOf(world, HELP, 'help.md')
    for (const [file_ids, field] of [
      [[good, others.id], 'file_ids.1'],
      [[picture.id], 'file_ids.0'],
      [[crypto.randomUUID()], 'file_ids.0'],
      [[good, good], 'file_ids'],
      [[], 'file_ids'],
    ] as const) {
      const { status, error } = await callJson('POST', `/api/v1/kb/${base.id}/files/ingest`, {
        ...as(world),
        body: { file_ids },
      })
      expect([status, Object.keys(error.details.fields ?? {})]).toEqual([422, [field]])
    }
    expect(await documentsOf(world, base)).toEqual([])
  })

  it('takes a file in anew in place of what it was', async () => {
    const world = await makeWorld()
    const base = await makeBase(world)
    const file = await fileOf(world, HELP, 'help.md')
    await ingest(world, base, [file])
    const [before] = await documentsOf(world, base)
    await ingest(world, base, [file])
    const [after, more] = await documentsOf(world, base)
    expect([after?.id, after?.chunks, more]).toEqual([before?.id, 2, undefined])
    expect(await read(world, base)).toMatchObject({ documents: 1, chunks: 2 })
    expect(await search(world, base, 'parcels')).toHaveLength(1)
  })

  it('finds nothing of a document or a base that was deleted', async () => {
    const world = await makeWorld()
    const [base, other] = [await makeBase(world), await makeBase(world)]
    const [one, two] = [await fileOf(world, HELP, 'one.md'), await fileOf(world, HELP, 'two.md')]
    await ingest(world, base, [one, two])
    await ingest(world, other, [one])
    const [document] = await documentsOf(world, base)
    const path = (of: Base) => `/api/v1/kb/${of.id}/documents/${document?.id}`
    await expectError(call('DELETE', path(other), as(world)), 'not_found')
    expect((await call('DELETE', path(base), as(world))).status).toBe(204)
    expect((await search(world, base, 'parcels')).map(({ filename }) => filename)).toEqual(['one.md'])
    expect(await read(world, base)).toMatchObject({ documents: 1, chunks: 2 })
    expect((await call('DELETE', `/api/v1/kb/${base.id}`, as(world))).status).toBe(204)
    expect(await search(world, other, 'parcels')).toHaveLength(1)
    const left = await env.DB.prepare('select count(*) as n from knowledge_chunks where tenant_id = ?')
      .bind(world.tenant.id)
      .first<number>('n')
    expect(left).toBe(2)
  })

  it('is another tenant’s alone', async () => {
    const [world, other] = [await makeWorld(), await makeWorld()]
    const [base, theirs] = [await makeBase(world), await makeBase(other)]
    await ingest(world, base, [await fileOf(world, HELP, 'help.md')])
    expect(await search(other, theirs, 'parcels')).toEqual([])
    const stolen = await callJson('POST', `/api/v1/kb/${base.id}/search`, {
      token: other.admin.token,
      body: { query: 'parcels' },
    })
    expect(stolen.status).toBe(404)
    const file = await fileOf(world, HELP, 'help.md')
    const into = await callJson('POST', `/api/v1/kb/${theirs.id}/files/ingest`, {
      token: other.admin.token,
      body: { file_ids: [file] },
    })
    expect(into.status).toBe(422)
  })

  it('takes in a document of many chunks step by step, and is found once all are there', async () => {
    const world = await makeWorld()
    const base = await makeBase(world)
    const text = Array.from({ length: 900 }, (_, i) => `# Part ${i}\n\nThe number of this part is n${i}x.`)
    const job = await ingest(world, base, [await fileOf(world, text.join('\n\n'), 'parts.md')])
    expect(job.result).toEqual({ ready: 1, failed: 0, chunks: 900 })
    const [found] = await search(world, base, 'n777x')
    expect(found).toMatchObject({ position: 777, heading: 'Part 777' })
  })

  it('takes a file in once that two ask for at once, and anew what is being taken in', async () => {
    const world = await makeWorld()
    const base = await makeBase(world)
    const text = Array.from({ length: 900 }, (_, i) => `# Part ${i}\n\nThe number of this part is n${i}x.`)
    const file = await fileOf(world, text.join('\n\n'), 'parts.md')
    const ask = () =>
      callJson<Job>('POST', `/api/v1/kb/${base.id}/files/ingest`, {
        ...as(world),
        body: { file_ids: [file] },
      })
    const asked = [...(await Promise.all([ask(), ask(), ask()])), await ask()]
    expect(asked.map(({ status }) => status)).toEqual([202, 202, 202, 202])
    const ended = await Promise.all(asked.map(({ data }) => endedJob(world, data.id)))
    expect(ended.map(({ status }) => status)).toEqual(['completed', 'completed', 'completed', 'completed'])
    // The last one took it in.
    expect(Math.max(...ended.map(({ result }) => Number(result?.chunks)))).toBe(900)
    expect(await documentsOf(world, base)).toMatchObject([{ status: 'ready', chunks: 900 }])
    expect(await read(world, base)).toMatchObject({ documents: 1, chunks: 900 })
    const left = await env.DB.prepare(
      'select count(*) as n, count(distinct position) as positions from knowledge_chunks where tenant_id = ?',
    )
      .bind(world.tenant.id)
      .first()
    expect(left).toEqual({ n: 900, positions: 900 })
  })

  it('says of what a cancelled job did not come to that it was cancelled, until a retry takes it in', async () => {
    const world = await makeWorld()
    const base = await makeBase(world)
    const files = [await fileOf(world, HELP, 'a.md'), await fileOf(world, HELP, 'b.md')]
    // Before its first step: nobody nudges it here.
    const ctx = { ...world.ctx, env: { ...world.ctx.env, JOBS: deaf } as unknown as typeof world.ctx.env }
    const started = await ingestFiles(ctx, base.id, { file_ids: files })
    const path = `/api/v1/jobs/${started.id}`
    expect((await call('POST', `${path}/cancel`, as(world))).status).toBe(200)
    expect(await documentsOf(world, base)).toMatchObject(
      files.map(() => ({ status: 'failed', error: 'was not taken in: its job was cancelled' })),
    )
    expect((await call('POST', `${path}/retry`, as(world))).status).toBe(202)
    expect((await endedJob(world, started.id)).result).toEqual({ ready: 2, failed: 0, chunks: 4 })
    expect(await documentsOf(world, base)).toMatchObject(files.map(() => ({ status: 'ready', error: null })))
  })

  it('finds by a question in a script without spaces what says a part of it', async () => {
    const world = await makeWorld()
    const base = await makeBase(world)
    await ingest(world, base, [
      await fileOf(world, '您可以在三十天内退货，费用由我们承担。', 'returns.txt'),
      await fileOf(world, '我们从上海发货，通常需要两周。', 'shipping.txt'),
    ])
    for (const [question, filename] of [
      ['请问我应该怎样退货？', 'returns.txt'],
      ['货物是不是从上海发出？', 'shipping.txt'],
    ] as const)
      expect((await search(world, base, question))[0]?.filename).toBe(filename)
    // What stands for a base in the index is no word that can be asked for.
    expect(await search(world, base, `\ue000k${base.id.replaceAll('-', '')}`)).toEqual([])
    expect(await search(world, base, '\ue000')).toEqual([])
  })
})

import { describe, expect, it } from 'vitest'
import type { Context } from '../../src/data/context'
import { tenantKeepings } from '../../src/data/erasure'
import { makeStep } from '../../src/domains/jobs/steps'
import { ingestFiles } from '../../src/domains/knowledge/ingest'
import { searchBases, searchKnowledge } from '../../src/domains/knowledge/search'
import { createKnowledgeBase, deleteDocument, deleteKnowledgeBase } from '../../src/domains/knowledge/service'
import type { Bindings } from '../../src/env'
import { upload } from '../files/kit'
import { vectorIndex } from '../vector-index'
import { callJson, makeWorld, type World } from '../world'
import { knowing } from './kit'

/** What the model of these tests knows of the world: words of one meaning. */
const MEANINGS = [/parcel|package|send .*back|return/i, /ship|sea|vessel|boat/i, /refund|money/i]
const vectorOf = (text: string) => [...MEANINGS.map((one) => Number(one.test(text))), 0.01]

const HELP = '# Returns\n\nSend parcels back within 30 days.\n\n# Shipping\n\nWe ship by sea.\n'

/** A tenant whose service has an index of vectors bound, and nobody but the test who drives its jobs. */
async function bound(index = vectorIndex()) {
  const world = await makeWorld()
  const asked: string[][] = []
  const model = { fails: false }
  const AI = {
    run: async (name: string, { text }: { text: string[] }) => {
      expect(name).toBe('@cf/baai/bge-m3')
      if (model.fails) throw new Error('no capacity')
      asked.push(text)
      return { data: text.map(vectorOf) }
    },
  }
  const JOBS = { getByName: () => ({ wake: async () => {} }) }
  const given = { ...world.ctx.env, VECTORIZE_KB: index.index, AI, JOBS } as unknown as Bindings
  const ctx = (): Context => ({ ...world.ctx, env: given, now: Date.now() })
  const base = await createKnowledgeBase(ctx(), { name: 'Help', description: '' })
  return { ...index, world, ctx, asked, model, base, given }
}

type Bound = Awaited<ReturnType<typeof bound>>

/** Makes the steps of all of the tenant's jobs that are due, but of one, until none is. */
async function work({ world, ctx }: Bound, except = ''): Promise<void> {
  for (let rounds = 0; rounds < 20; rounds++) {
    const { results } = await world.ctx.env.DB.prepare(
      'select id from jobs where tenant_id = ? and next_at <= ? and id <> ?',
    )
      .bind(world.tenant.id, new Date().toISOString(), except)
      .all<{ id: string }>()
    if (results.length === 0) return
    for (const { id } of results) await makeStep(ctx(), id)
  }
  throw new Error('its jobs go on for ever')
}

const fileOf = async (world: World, text: string, filename: string) =>
  (await upload(world.admin, text, { filename, content_type: 'text/plain' })).id

const ask = ({ ctx, base }: Bound, query: string, limit = 5) =>
  searchKnowledge(ctx(), base.id, { query, limit })

describe('where an index of vectors is bound', { timeout: 60_000 }, () => {
  it('what is meant is found though nobody said it so, and what was said as well', async () => {
    const here = await bound()
    const { world, ctx, base, vectors, asked } = here
    await ingestFiles(ctx(), base.id, { file_ids: [await fileOf(world, HELP, 'help.md')] })
    await work(here)
    expect([...vectors.values()].map(({ namespace }) => namespace)).toEqual([base.id, base.id])
    expect(asked).toEqual([['Returns\nSend parcels back within 30 days.', 'Shipping\nWe ship by sea.']])
    const { results } = await ask(here, 'Which vessel?')
    expect(results[0]).toMatchObject({ heading: 'Shipping', text: 'We ship by sea.', position: 1 })
    // By words as well as by what they mean: it stands first, by more.
    const both = await ask(here, 'sea')
    expect(both.results.map(({ heading }) => heading)).toEqual(['Shipping', 'Returns'])
    expect(both.results[0]?.score).toBeGreaterThan(1.5 * (both.results[1]?.score ?? 1))
    expect((await ask(here, 'sea', 1)).results).toHaveLength(1)
    // Without the index the words alone are looked for.
    expect((await searchKnowledge(world.ctx, base.id, { query: 'Which vessel?', limit: 5 })).results).toEqual(
      [],
    )
  })

  it('the words are answer enough where the model fails, and what was taken in before is found by them', async () => {
    const here = await bound()
    const { world, ctx, model } = here
    const old = await knowing(world, { 'old.md': HELP })
    const found = await searchBases(ctx(), [old], { query: 'parcels', limit: 5 })
    expect(found.map(({ heading }) => heading)).toEqual(['Returns'])
    model.fails = true
    expect(await searchBases(ctx(), [old], { query: 'parcels', limit: 5 })).toMatchObject([
      { heading: 'Returns', knowledge_base_id: old },
    ])
  })

  it('a file waits for the model, and is taken in once that is back', async () => {
    const here = await bound()
    const { world, ctx, base, model, vectors } = here
    model.fails = true
    const job = await ingestFiles(ctx(), base.id, { file_ids: [await fileOf(world, HELP, 'help.md')] })
    await makeStep(ctx(), job.id)
    const read = () =>
      callJson<{ status: string }[]>('GET', `/api/v1/kb/${base.id}/documents`, { token: world.admin.token })
    expect((await read()).data).toMatchObject([{ status: 'queued' }])
    model.fails = false
    await world.ctx.env.DB.prepare('update jobs set next_at = created_at where id = ?').bind(job.id).run()
    await work(here)
    expect((await read()).data).toMatchObject([{ status: 'ready' }])
    expect(vectors.size).toBe(2)
  })

  it('a file that is taken in anew, or deleted, or goes with its base or tenant, leaves no vector', async () => {
    const here = await bound()
    const { world, ctx, base, vectors, given } = here
    const two = [await fileOf(world, HELP, 'a.md'), await fileOf(world, HELP, 'b.md')]
    await ingestFiles(ctx(), base.id, { file_ids: two })
    await work(here)
    const first = [...vectors.keys()]
    expect(first).toHaveLength(4)
    await ingestFiles(ctx(), base.id, { file_ids: two.slice(0, 1) })
    // As long as it is taken in anew it is not found by what it was.
    expect((await ask(here, 'vessel')).results.map(({ filename }) => filename)).not.toContain('a.md')
    await work(here)
    expect(vectors.size).toBe(4)
    expect([...vectors.keys()].filter((id) => first.includes(id))).toHaveLength(2)
    const { results } = await ask(here, 'vessel')
    expect(
      results
        .filter(({ heading }) => heading === 'Shipping')
        .map(({ filename }) => filename)
        .sort(),
    ).toEqual(['a.md', 'b.md'])
    const [gone] = results
    await deleteDocument(ctx(), base.id, gone?.document_id ?? '')
    // At once, before anybody has taken it out of the index.
    expect((await ask(here, 'vessel')).results.map(({ document_id }) => document_id)).not.toContain(
      gone?.document_id,
    )
    await work(here)
    expect(vectors.size).toBe(2)
    const keeping = tenantKeepings().find(({ name }) => name === 'knowledge_vectors')
    const keys = (await keeping?.keys(ctx(), '', 10)) ?? []
    expect(keys).toHaveLength(1)
    expect(await keeping?.keys(world.ctx, '', 10)).toEqual([])
    const kept = new Map(vectors)
    for (const key of keys) await keeping?.erase(given, world.tenant.id, key)
    expect(vectors.size).toBe(0)
    for (const [id, vector] of kept) vectors.set(id, vector)
    await deleteKnowledgeBase(ctx(), base.id)
    await work(here)
    expect(vectors.size).toBe(0)
  })

  it('a file that is deleted while it is taken in leaves no vector either', async () => {
    const here = await bound()
    const { world, ctx, base, vectors, index } = here
    const job = await ingestFiles(ctx(), base.id, { file_ids: [await fileOf(world, HELP, 'help.md')] })
    const { data } = await callJson<{ id: string }[]>('GET', `/api/v1/kb/${base.id}/documents`, {
      token: world.admin.token,
    })
    const { upsert } = index
    index.upsert = async (all) => {
      await deleteDocument(ctx(), base.id, data[0]?.id ?? '')
      await work(here, job.id)
      index.upsert = upsert
      return upsert(all)
    }
    await makeStep(ctx(), job.id)
    expect(vectors.size).toBe(2)
    await world.ctx.env.DB.prepare('update jobs set next_at = created_at where id = ?').bind(job.id).run()
    await work(here)
    expect(vectors.size).toBe(0)
  })

  it('another tenant’s is not found, whatever the index answers', async () => {
    const shared = vectorIndex()
    const [here, theirs] = [await bound(shared), await bound(shared)]
    await ingestFiles(here.ctx(), here.base.id, { file_ids: [await fileOf(here.world, HELP, 'help.md')] })
    await work(here)
    expect((await ask(theirs, 'vessel')).results).toEqual([])
    await expect(
      searchKnowledge(theirs.ctx(), here.base.id, { query: 'vessel', limit: 5 }),
    ).rejects.toMatchObject({ code: 'not_found' })
    for (const vector of shared.vectors.values()) vector.namespace = theirs.base.id
    shared.vectors.set('nonsense', { id: 'nonsense', values: vectorOf('vessel'), namespace: theirs.base.id })
    expect((await ask(theirs, 'vessel')).results).toEqual([])
    expect(await searchBases(theirs.ctx(), [here.base.id], { query: 'vessel', limit: 5 })).toEqual([])
  })
})

import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { tenantKeepings } from '../../../src/data/erasure'
import { systemContext } from '../../../src/data/system'
import { embedChanged } from '../../../src/domains/catalog/recommendations/embed'
import { embedLeft, embedNudged } from '../../../src/domains/catalog/recommendations/sweep'
import { cosine, packed, unpacked } from '../../../src/domains/catalog/recommendations/vectors'
import type { Bindings } from '../../../src/env'
import { vectorIndex } from '../../vector-index'
import { call, makeWorld, type World } from '../../world'
import { bindings, did, engine, offers } from './world'

type Told = { tenant_id: string; items: { item_id: string }[] }

const withEngine = (url: string, more: object = {}) =>
  ({ ...bindings, ML_ENGINE_URL: url, ...more }) as unknown as Bindings

const embed = (world: World, given: Bindings) =>
  embedChanged(
    systemContext(
      given,
      { ...world.ctx.tenant },
      'recommendations',
      (work) => void work.catch(() => undefined),
    ),
  )

const waiting = (world: World) =>
  env.DB.prepare('select count(*) as n from item_changes where tenant_id = ?')
    .bind(world.tenant.id)
    .first<number>('n')

describe('embeddings', () => {
  it('are asked of the engine when items change, in the words of its contract, once each', async () => {
    const world = await makeWorld()
    const { url, calls } = await engine()
    await offers(world, [
      { external_id: 'lamp', category: 'light', tags: ['new'], attributes: { watt: 7 } },
      ...Array.from({ length: 119 }, (_, i) => `item-${i}`),
    ])
    expect(await embed(world, withEngine(url))).toBe(false)
    const told = (await calls()).map(({ path, body }) => [
      path,
      (body as Told).tenant_id,
      (body as Told).items.length,
    ])
    const mine = ['/internal/ml/embeddings', world.tenant.id]
    expect(told).toEqual([
      [...mine, 50],
      [...mine, 50],
      [...mine, 20],
    ])
    const all = (await calls()).flatMap(({ body }) => (body as Told).items)
    expect(new Set(all.map(({ item_id }) => item_id)).size).toBe(120)
    expect(all.find(({ item_id }) => item_id === 'lamp')).toEqual({
      ...{ item_id: 'lamp', title: 'The lamp', category: 'light', tags: ['new'], attributes: { watt: 7 } },
    })
    await embed(world, withEngine(url))
    expect((await calls()).length).toBe(3)
    await offers(world, [{ external_id: 'lamp', title: 'Another lamp' }])
    await embed(world, withEngine(url))
    expect((await calls()).map(({ body }) => (body as Told).items)[3]).toEqual([
      expect.objectContaining({ title: 'Another lamp' }),
    ])
  })

  it.each([
    ['is down', { status: 500, json: [] }],
    ['leaves one out', { json: [{ item_id: 'a', embedding: [1] }] }],
    ['answers nonsense', { json: [{ item_id: 'a', embedding: 'x' }] }],
  ])('wait while the engine %s, and go on after', async (_, behaviour) => {
    const world = await makeWorld()
    await offers(world, ['a', 'b'])
    const { url, says } = await engine({ embeddings: behaviour })
    await expect(embed(world, withEngine(url))).rejects.toThrow()
    expect(await waiting(world)).toBe(2)
    await says({})
    await embed(world, withEngine(url))
    expect(await waiting(world)).toBe(0)
  })

  it('of an item that the engine fails at hold up no other item, and no other tenant', async () => {
    const [world, other] = [await makeWorld(), await makeWorld()]
    const AI = {
      run: async (_model: string, { text }: { text: string[] }) => {
        if (text.some((one) => one.includes('poison'))) throw new Error('no words for that')
        return { data: text.map(() => [1, 2]) }
      },
    }
    const { index } = vectorIndex()
    const fragile = {
      ...index,
      upsert: async (all: Parameters<typeof index.upsert>[0]) => {
        if (all.some(({ namespace }) => namespace === other.tenant.id)) throw new Error('not well')
        return index.upsert(all)
      },
    }
    const given = { ...bindings, AI, VECTORIZE: fragile } as unknown as Bindings
    await offers(world, [...Array.from({ length: 70 }, (_, i) => `item-${i}`), 'poison'])
    await offers(other, ['a'])
    const ctx = createExecutionContext()
    const nudges = [other, world].map(({ tenant }) => ({ tenant_id: tenant.id, event_ids: [] }))
    for (let turns = 0; turns < 12; turns++) await embedNudged(given, nudges, ctx)
    await waitOnExecutionContext(ctx)
    expect([await waiting(world), await waiting(other)]).toEqual([1, 1])
  })

  it('of one tenant hold up no other; a nudge of items has them made at once', async () => {
    const [world, other] = [await makeWorld(), await makeWorld()]
    const { url } = await engine()
    await offers(world, ['a'])
    await offers(other, ['b'])
    const ctx = createExecutionContext()
    await embedNudged(
      withEngine(url),
      [{ tenant_id: world.tenant.id, event_ids: [], types: ['item.created'] }],
      ctx,
    )
    expect([await waiting(world), await waiting(other)]).toEqual([0, 1])
    for (let turns = 0; (await waiting(other)) && turns < 200; turns++) await embedLeft(withEngine(url), ctx)
    await waitOnExecutionContext(ctx)
    expect(await waiting(other)).toBe(0)
  })

  it('are asked of nobody where there is nobody', async () => {
    const world = await makeWorld()
    await offers(world, ['a'])
    expect(await embed(world, bindings)).toBe(false)
    expect(await waiting(world)).toBe(1)
  })

  it('find what is alike in its category, before anybody chose it', async () => {
    const world = await makeWorld()
    await offers(
      world,
      ['near', 'item', 'far', 'elsewhere'].map((external_id) => ({
        external_id,
        category: external_id === 'elsewhere' ? 'other' : 'one',
      })),
    )
    const vectors = { item: [1, 0], near: [0.9, 0.1], far: [0.2, 1], elsewhere: [1, 0] }
    const json = Object.entries(vectors).map(([item_id, embedding]) => ({ item_id, embedding }))
    const { url, ask } = await engine({ embeddings: { json } })
    await embed(world, withEngine(url))
    const { data } = await ask(world, { item_id: 'item', count: 2 }, '/similar')
    expect(data.model).toBe('embeddings')
    expect(data.recommendations).toEqual([
      { item_id: 'near', score: expect.any(Number), reason: 'Similar to “The item”' },
      { item_id: 'far', score: expect.any(Number), reason: 'Similar to “The item”' },
    ])
  })

  it('go into an index where one is bound, by Workers AI, and are found there', async () => {
    const [world, other] = [await makeWorld(), await makeWorld()]
    const { index, vectors } = vectorIndex()
    const asked: unknown[] = []
    const AI = {
      run: async (model: string, { text }: { text: string[] }) => {
        asked.push([model, text.length])
        return {
          shape: [text.length, 2],
          data: text.map((one) => (one.includes('red') ? [1, 0.1] : [0.1, 1])),
        }
      },
    }
    const given = { ...bindings, VECTORIZE: index, AI } as unknown as Bindings
    await offers(world, ['red-one', 'red-two', 'blue-one'])
    await offers(other, ['red-theirs'])
    await embed(world, given)
    await embed(other, given)
    expect(asked).toEqual([
      ['@cf/baai/bge-m3', 3],
      ['@cf/baai/bge-m3', 1],
    ])
    await did(world, [{ user_id: 'me', item_id: 'red-one' }])
    const service = await engine({}, { VECTORIZE: index, AI, ML_ENGINE_URL: '', ML_ENGINE_TOKEN: '' })
    const { data } = await service.ask(world, { user_id: 'me', count: 2 })
    expect(data).toEqual({
      model: 'embeddings',
      recommendations: [
        { item_id: 'red-two', score: expect.any(Number), reason: 'Similar to “red-one”' },
        { item_id: 'blue-one', score: expect.any(Number), reason: 'Similar to “red-one”' },
      ],
      generated_at: expect.any(String),
    })
    // What is gone is gone from the index too; and all of it with the tenant.
    const { data: list } = (await (
      await call('GET', '/api/v1/items?external_id=red-two', { token: world.admin.token })
    ).json()) as { data: { id: string }[] }
    await call('DELETE', `/api/v1/items/${list[0]?.id}`, { token: world.admin.token })
    await embed(world, given)
    expect([...vectors.keys()]).not.toContain(list[0]?.id)
    expect(vectors.size).toBe(3)
    const keeping = tenantKeepings().find(({ name }) => name === 'vectors')
    const ctx = { ...world.ctx, env: given }
    const keys = (await keeping?.keys(ctx, '', 20)) ?? []
    expect(keys).toEqual(['blue-one', 'red-one'])
    for (const key of keys) await keeping?.erase(given, world.tenant.id, key)
    expect([...vectors.values()].map(({ namespace }) => namespace)).toEqual([other.tenant.id])
  })

  it('an index that fails has the rest recommended all the same', async () => {
    const world = await makeWorld()
    await offers(world, ['a', 'b'])
    await did(world, [{ user_id: 'me', item_id: 'a' }])
    const broken = { getByIds: () => Promise.reject(new Error('no index')) }
    const AI = { run: () => Promise.reject(new Error('no model')) }
    const { ask } = await engine({}, { VECTORIZE: broken, AI, ML_ENGINE_URL: '', ML_ENGINE_TOKEN: '' })
    const { status, data } = await ask(world, { user_id: 'me' })
    expect([status, data.recommendations.map(({ item_id }) => item_id)]).toEqual([200, ['b', 'a']])
  })

  it('keep their direction in a byte a number', () => {
    const vector = Array.from({ length: 64 }, (_, i) => Math.sin(i * 7))
    expect(cosine(vector, unpacked(packed(vector)))).toBeGreaterThan(0.999)
    expect(unpacked(packed([0, 0]))).toEqual([0, 0])
    expect(cosine([1], [1, 2])).toBe(0)
  })
})

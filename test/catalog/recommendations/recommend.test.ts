import { describe, expect, it } from 'vitest'
import { recommend as embedded } from '../../../src/domains/catalog/recommendations/embedded'
import { Recommend } from '../../../src/domains/catalog/recommendations/schema'
import { expectError } from '../../http/expect-error'
import { rowsRead } from '../../rows-read'
import { call, makeWorld } from '../../world'
import { counted, did, names, offers, recommend } from './world'

const views = (user_id: string, ...items: string[]) => items.map((item_id) => ({ user_id, item_id }))

describe('recommendations', () => {
  it('are what others chose together with what the user was at, best first, with words why', async () => {
    const world = await makeWorld()
    await offers(world, ['lamp', 'bulb', 'shade', 'rake', 'spade'])
    await did(world, [
      ...views('a', 'lamp', 'bulb', 'shade'),
      ...views('b', 'lamp', 'bulb'),
      ...views('c', 'rake', 'spade'),
      ...views('d', 'rake', 'spade'),
      ...views('e', 'rake'),
      ...views('me', 'lamp'),
    ])
    await counted()
    const { status, data } = await recommend(world, { user_id: 'me', count: 3 })
    expect(status).toBe(200)
    expect(data.model).toBe('co-occurrence')
    expect(data.recommendations.map(({ item_id }) => item_id)).toEqual(['bulb', 'shade', 'rake'])
    expect(data.recommendations.map(({ reason }) => reason)).toEqual([
      'Often chosen together with “The lamp”',
      'Often chosen together with “The lamp”',
      'Popular now',
    ])
    const scores = data.recommendations.map(({ score }) => score)
    expect(scores).toEqual([...scores].sort((a, b) => b - a))
    expect(scores.every((score) => score > 0 && score <= 1)).toBe(true)
    expect(Math.abs(Date.parse(data.generated_at) - Date.now())).toBeLessThan(60_000)
  })

  it('read a user’s items and what is near them once each, however often the user was at them', async () => {
    const world = await makeWorld()
    const items = Array.from({ length: 50 }, (_, i) => `item-${i}`)
    await offers(world, items)
    await did(world, [...views('me', ...items), ...views('other', ...items.slice(0, 20))])
    await did(world, views('again', ...items.map((_, i) => `item-${i % 2}`)))
    await counted()
    const rowsFor = (user_id: string) =>
      rowsRead(world.ctx, (ctx) => embedded(ctx, Recommend.parse({ user_id, count: 10 })))
    for (const user of ['me', 'again']) expect(await rowsFor(user)).toBeLessThan(400)
  })

  it('are what is popular for somebody nobody knows, and what is new where nothing was chosen', async () => {
    const world = await makeWorld()
    await offers(world, ['first', 'second', 'third'])
    const fresh = await recommend(world, { user_id: 'nobody' })
    expect(fresh.data.model).toBe('catalogue')
    expect(fresh.data.recommendations.map(({ item_id }) => item_id)).toEqual(['third', 'second', 'first'])
    await did(world, [...views('a', 'first'), ...views('b', 'first'), ...views('c', 'second')])
    await counted()
    const { data } = await recommend(world, { user_id: 'nobody' })
    expect(data.model).toBe('popularity')
    expect(data.recommendations.map(({ item_id }) => item_id)).toEqual(['first', 'second', 'third'])
  })

  it('are never what the user bought, however long ago, and not before it is counted either', async () => {
    const world = await makeWorld()
    const things = Array.from({ length: 70 }, (_, i) => `thing-${i}`)
    await offers(world, ['oven', 'grill', ...things])
    await did(world, [
      { user_id: 'me', item_id: 'oven', type: 'purchase' },
      ...views('me', ...things),
      ...views('other', 'thing-69', 'oven', 'grill'),
    ])
    await counted()
    expect(await names(world, { user_id: 'me', count: 100 })).not.toContain('oven')
    expect(await names(world, { user_id: 'me', count: 100 })).toContain('grill')
    await did(world, [{ user_id: 'me', item_id: 'grill', type: 'purchase' }])
    expect(await names(world, { user_id: 'me', count: 100 })).not.toContain('grill')
    // Nor what was bought and looked at again, and much else after it.
    await did(world, views('me', 'grill', ...things))
    expect(await names(world, { user_id: 'me', count: 100 })).not.toContain('grill')
    await counted()
    expect(await names(world, { user_id: 'me', count: 100 })).not.toContain('grill')
  })

  it('are found behind many that do not pass', async () => {
    const world = await makeWorld()
    const nearer = Array.from({ length: 12 }, (_, i) => `near-${i}`)
    await offers(world, ['base', ...nearer, { external_id: 'far', category: 'rare' }])
    const both = (user: string, item: string) => views(user, 'base', item)
    await did(world, [
      ...nearer.flatMap((item, i) => [...both(`a${i}`, item), ...both(`b${i}`, item)]),
      ...both('c', 'far'),
      ...views('me', 'base'),
    ])
    await counted()
    const body = { user_id: 'me', count: 1, filters: { category: 'rare' } }
    const { data } = await recommend(world, body)
    expect([data.model, data.recommendations[0]?.item_id]).toEqual(['co-occurrence', 'far'])
  })

  it('pass the filters: category, all of the tags, what is excluded, what is available', async () => {
    const world = await makeWorld()
    await offers(world, [
      'lamp',
      { external_id: 'red', category: 'shoes', tags: ['new', 'red'] },
      { external_id: 'blue', category: 'shoes', tags: ['new'] },
      { external_id: 'gone', category: 'shoes', available: false },
      { external_id: 'hat', category: 'hats', tags: ['red', 'new'] },
    ])
    await did(world, [
      ...views('a', 'lamp', 'red', 'blue', 'gone', 'hat'),
      ...views('b', 'lamp', 'gone', 'hat', 'unlisted'),
      ...views('me', 'lamp'),
    ])
    await counted()
    const sorted = async (filters: object) =>
      (await names(world, { user_id: 'me', filters, count: 50 })).sort()
    expect(await sorted({})).toEqual(['blue', 'hat', 'lamp', 'red'])
    expect(await sorted({ category: 'shoes' })).toEqual(['blue', 'red'])
    expect(await sorted({ tags: ['red', 'new'] })).toEqual(['hat', 'red'])
    expect(await sorted({ tags: ['red'], category: 'hats' })).toEqual(['hat'])
    expect(await sorted({ exclude: ['hat', 'lamp'] })).toEqual(['blue', 'red'])
    expect(await sorted({ available: false })).toEqual(['gone'])
    expect(await sorted({ category: 'nothing' })).toEqual([])
    // The same for somebody nobody knows.
    const strangers = async (filters: object) => (await names(world, { user_id: 'x', filters })).sort()
    expect(await strangers({ category: 'shoes' })).toEqual(['blue', 'red'])
    expect(await strangers({ tags: ['red'] })).toEqual(['hat', 'red'])
    expect(await strangers({ available: false })).toEqual(['gone'])
  })

  it('go on to the end of the catalogue for who excludes what was shown, or bought what is new', async () => {
    const world = await makeWorld()
    const all = Array.from({ length: 430 }, (_, i) => `item-${i}`)
    await offers(world, all)
    // More are popular than are looked at.
    await did(
      world,
      all.slice(0, 320).map((item_id, i) => ({ user_id: `user-${i}`, item_id })),
    )
    await counted()
    const shown: string[] = []
    for (const expected of [100, 100, 100, 100, 30, 0]) {
      const page = await names(world, { user_id: 'new', count: 100, filters: { exclude: shown } })
      expect(page).toHaveLength(expected)
      shown.push(...page)
    }
    expect(shown.toSorted()).toEqual(all.toSorted())
    const bought = all.slice(320).map((item_id) => ({ user_id: 'me', item_id, type: 'purchase' }))
    await did(world, bought)
    const filters = { exclude: all.slice(20, 320) }
    const { data } = await recommend(world, { user_id: 'me', count: 30, filters })
    expect(data.recommendations.map(({ item_id }) => item_id).toSorted()).toEqual(all.slice(0, 20).toSorted())
    const scores = data.recommendations.map(({ score }) => score)
    expect(scores).toEqual(scores.toSorted((a, b) => b - a))
  })

  it('of which nothing is popular are the newest that were not bought', async () => {
    const world = await makeWorld()
    const all = Array.from({ length: 130 }, (_, i) => `item-${i}`)
    await offers(world, all)
    await did(
      world,
      all.slice(20).map((item_id) => ({ user_id: 'me', item_id, type: 'purchase' })),
    )
    const { data } = await recommend(world, { user_id: 'me', count: 5 })
    expect(data.model).toBe('catalogue')
    expect(data.recommendations.map(({ item_id }) => item_id)).toEqual(all.slice(15, 20).toReversed())
  })

  it('come of interactions alone where there is no catalogue', async () => {
    const world = await makeWorld()
    await did(world, [...views('a', 'x', 'y'), ...views('b', 'x', 'y', 'z'), ...views('me', 'x')])
    await counted()
    expect(await names(world, { user_id: 'me', count: 2 })).toEqual(['y', 'z'])
    const { data } = await recommend(world, { user_id: 'me', count: 1 })
    expect(data.recommendations[0]?.reason).toBe('Often chosen together with “x”')
  })

  it('count what weighs more for more: a purchase before a view, a good rating before a bad one', async () => {
    const world = await makeWorld()
    await did(world, [
      { user_id: 'a', item_id: 'base', type: 'purchase' },
      { user_id: 'a', item_id: 'bought', type: 'purchase' },
      { user_id: 'b', item_id: 'base', type: 'purchase' },
      { user_id: 'b', item_id: 'viewed' },
      { user_id: 'c', item_id: 'base', type: 'purchase' },
      { user_id: 'c', item_id: 'loved', type: 'rating', value: 4 },
      { user_id: 'd', item_id: 'base', type: 'purchase' },
      { user_id: 'd', item_id: 'hated', type: 'rating', value: 0 },
      ...views('me', 'base'),
    ])
    await counted()
    expect(await names(world, { user_id: 'me' })).toEqual(['bought', 'loved', 'viewed', 'base'])
  })

  it('prefer what was chosen together lately', async () => {
    const world = await makeWorld()
    const long = { occurred_at: '2024-01-01T00:00:00.000Z' }
    await did(world, [
      ...['a', 'b', 'c'].flatMap((user) => views(user, 'base', 'old').map((one) => ({ ...one, ...long }))),
      ...views('d', 'base', 'young'),
      ...views('e', 'base', 'young'),
      ...views('me', 'base'),
    ])
    await counted()
    expect(await names(world, { user_id: 'me', count: 2 })).toEqual(['young', 'old'])
  })

  it('similar ones go with an item; of an unknown one there is 404', async () => {
    const world = await makeWorld()
    await offers(world, [
      { external_id: 'lamp', category: 'light' },
      { external_id: 'torch', category: 'light' },
      'bulb',
      'rake',
    ])
    await did(world, [
      ...views('a', 'lamp', 'bulb'),
      ...views('b', 'rake', 'lamp', 'bulb'),
      ...views('c', 'rake'),
    ])
    await counted()
    const { data } = await recommend(world, { item_id: 'lamp' }, '/similar')
    expect(data.model).toBe('co-occurrence')
    expect(data.recommendations.map(({ item_id }) => item_id)).toEqual(['bulb', 'rake', 'torch'])
    expect(data.recommendations.map(({ reason }) => reason).at(-1)).toBe('Also in light')
    expect(
      await names(world, { item_id: 'lamp', filters: { exclude: ['bulb'] }, count: 1 }, '/similar'),
    ).toEqual(['rake'])
    const unknown = await call('POST', '/api/v1/recommendations/similar', {
      token: world.viewer.token,
      body: { item_id: 'none' },
    })
    await expectError(unknown, 'not_found')
  })

  it('are of the own tenant alone', async () => {
    const [world, other] = [await makeWorld(), await makeWorld()]
    await did(other, [...views('a', 'x', 'theirs'), ...views('me', 'x')])
    await did(world, views('me', 'x'))
    await counted()
    expect(await names(world, { user_id: 'me' })).toEqual(['x'])
    expect(await names(other, { user_id: 'me' })).toEqual(['theirs', 'x'])
  })

  it('name each wrong field', async () => {
    const world = await makeWorld()
    const wrong = [
      [{}, 'user_id'],
      [{ user_id: '' }, 'user_id'],
      [{ user_id: 'x'.repeat(256) }, 'user_id'],
      [{ user_id: 'me', count: 0 }, 'count'],
      [{ user_id: 'me', count: 101 }, 'count'],
      [{ user_id: 'me', count: 1.5 }, 'count'],
      [{ user_id: 'me', filters: { tags: 'red' } }, 'filters.tags'],
      [{ user_id: 'me', filters: { exclude: [7] } }, 'filters.exclude.0'],
      [{ user_id: 'me', filters: { available: 'yes' } }, 'filters.available'],
      [{ user_id: 'me', filters: { colour: 'red' } }, 'filters.colour'],
    ] as const
    for (const [body, field] of wrong) {
      const { status, error } = await recommend(world, body)
      expect([status, Object.keys(error.details.fields ?? {})]).toEqual([422, [field]])
    }
  })
})

import { describe, expect, it } from 'vitest'
import { CircuitBreaker } from '../../../src/domains/catalog/recommendations/breaker'
import { makeWorld } from '../../world'
import { counted, did, engine, offers } from './world'

const one = (item_id: string, score: number, reason?: string) => ({
  item_id,
  score,
  ...(reason ? { reason } : {}),
})

describe('the remote engine', () => {
  it('is asked in the words of its contract, and what it answers is filtered once more', async () => {
    const world = await makeWorld()
    await offers(world, ['a', 'b', 'bought', 'excluded', { external_id: 'gone', available: false }])
    await did(world, [{ user_id: 'me', item_id: 'bought', type: 'purchase' }])
    const list = [
      one('a', 0.5),
      ...['bought', 'excluded', 'gone', 'unknown', 'a'].map((name) => one(name, 0.4)),
      one('b', 0.9, 'You like letters'),
    ]
    const { ask, calls } = await engine({ recommendations: { json: list } })
    const { data } = await ask(world, { user_id: 'me', count: 7, filters: { exclude: ['excluded'] } })
    expect(data.model).toBe('remote')
    expect(data.recommendations).toEqual([
      { item_id: 'b', score: 0.9, reason: 'You like letters' },
      { item_id: 'a', score: 0.5, reason: null },
    ])
    expect(await calls()).toEqual([
      {
        path: '/internal/ml/recommendations',
        authorization: 'Bearer a-token-of-the-engine',
        body: {
          tenant_id: world.tenant.id,
          user_id: 'me',
          count: 7,
          filters: { exclude: ['excluded'] },
        },
      },
    ])
  })

  it('may answer {recommendations}, and more than was asked for', async () => {
    const world = await makeWorld()
    await offers(world, ['a', 'b', 'c'])
    const json = { recommendations: [one('a', 3), one('b', 2), one('c', 1)], version: 7 }
    const { ask } = await engine({ recommendations: { json } })
    const { data } = await ask(world, { user_id: 'me', count: 2 })
    expect([data.model, data.recommendations.map(({ item_id }) => item_id)]).toEqual(['remote', ['a', 'b']])
  })

  it.each([
    ['an error', { status: 503, json: [] }],
    ['a redirect', { status: 302, json: [] }],
    ['no JSON', { text: '<html>' }],
    ['half of it', { json: Array.from({ length: 50 }, () => one('a', 1)), half: true }],
    ['nothing', { text: '' }],
    ['an object', { json: { items: [] } }],
    ['a list of names', { json: ['a'] }],
    ['a score that is none', { json: [{ item_id: 'a', score: '1' }] }],
    ['an item without a name', { json: [one('a', 1), { score: 1 }] }],
    ['a reason that is none', { json: [{ ...one('a', 1), reason: 7 }] }],
    ['too much', { json: Array.from({ length: 20_000 }, (_, i) => one(`item-${i}`, 1)) }],
  ])('that answers %s has the embedded engine answer', async (_, behaviour) => {
    const world = await makeWorld()
    await did(world, [
      { user_id: 'other', item_id: 'x' },
      { user_id: 'other', item_id: 'y' },
      { user_id: 'me', item_id: 'x' },
    ])
    await counted()
    const { ask } = await engine({ recommendations: behaviour })
    const { status, data } = await ask(world, { user_id: 'me', count: 1 })
    expect([status, data.model, data.recommendations.map(({ item_id }) => item_id)]).toEqual([
      200,
      'fallback',
      ['y'],
    ])
  })

  it('that hangs is waited for ten seconds', async () => {
    const world = await makeWorld()
    const { ask } = await engine({ recommendations: { hang: true } })
    const began = Date.now()
    const { data } = await ask(world, { user_id: 'me' })
    expect(data.model).toBe('fallback')
    expect(Date.now() - began).toBeGreaterThan(9_900)
    expect(Date.now() - began).toBeLessThan(15_000)
  })

  it('that fails half of twenty times is asked no more, and others are', async () => {
    const world = await makeWorld()
    await offers(world, ['a'])
    const good = { recommendations: { json: [one('a', 1)] } }
    const { ask, calls, says } = await engine(good)
    for (let i = 0; i < 10; i++) expect((await ask(world, { user_id: 'me' })).data.model).toBe('remote')
    await says({ recommendations: { status: 500, json: {} } })
    for (let i = 0; i < 12; i++) expect((await ask(world, { user_id: 'me' })).data.model).toBe('fallback')
    expect((await calls()).length).toBe(20)
    const another = await engine(good)
    expect((await another.ask(world, { user_id: 'me' })).data.model).toBe('remote')
  })

  it('has no word for what is similar, which the embedded engine says', async () => {
    const world = await makeWorld()
    await offers(world, ['a'])
    const { ask, calls } = await engine()
    expect((await ask(world, { item_id: 'a' }, '/similar')).data.model).toBe('catalogue')
    expect(await calls()).toEqual([])
  })
})

describe('the circuit breaker', () => {
  const opened = () => {
    const breaker = new CircuitBreaker()
    for (let i = 0; i < 10; i++) breaker.succeeded()
    for (let i = 0; i < 10; i++) breaker.failed(1_000)
    return breaker
  }

  it('opens at ten failures of twenty calls, and not before twenty', () => {
    const breaker = new CircuitBreaker()
    for (let i = 0; i < 19; i++) {
      breaker.failed(0)
      expect(breaker.admits(0)).toBe(true)
    }
    breaker.failed(0)
    expect(breaker.admits(0)).toBe(false)
    expect(opened().admits(1_001)).toBe(false)
  })

  it('looks at the last twenty: what failed long ago does not open it', () => {
    const breaker = new CircuitBreaker()
    for (let i = 0; i < 9; i++) breaker.failed(0)
    for (let i = 0; i < 20; i++) breaker.succeeded()
    for (let i = 0; i < 9; i++) breaker.failed(0)
    expect(breaker.admits(0)).toBe(true)
    breaker.failed(0)
    expect(breaker.admits(0)).toBe(false)
  })

  it('lets one call through after 30 s, and closes when that succeeds', () => {
    const breaker = opened()
    expect(breaker.admits(30_999)).toBe(false)
    expect(breaker.admits(31_000)).toBe(true)
    expect(breaker.admits(31_001)).toBe(false)
    breaker.succeeded()
    expect(breaker.admits(31_002)).toBe(true)
    breaker.failed(31_003)
    expect(breaker.admits(31_004)).toBe(true)
  })

  it('waits another 30 s when it fails, and does not wait for ever for one that says nothing', () => {
    const breaker = opened()
    expect(breaker.admits(31_000)).toBe(true)
    breaker.failed(32_000)
    expect([breaker.admits(61_999), breaker.admits(62_000)]).toEqual([false, true])
    expect([breaker.admits(76_999), breaker.admits(77_000)]).toEqual([false, true])
  })
})

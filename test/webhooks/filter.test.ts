import { describe, expect, it } from 'vitest'
import { type Filter, issuesOf, objection } from '../../src/domains/webhooks/endpoints/filter'
import { type Published, type Subscriber, whyNot } from '../../src/domains/webhooks/endpoints/subscription'

const data = {
  order: { id: 'A-1001', total: 120.5, paid: true, coupon: null, at: '2026-01-31T10:00:00.000Z' },
  items: [{ sku: 'X1' }, { sku: 'Y2' }],
  'a.b': 1,
  '': 2,
}

const passes = (filter: Filter, of: unknown = data) => objection(filter, of) === null

describe('a filter', () => {
  it.each<[Filter, boolean]>([
    [{ path: 'order.id', equals: 'A-1001' }, true],
    [{ path: 'order.id', equals: 'a-1001' }, false],
    [{ path: 'order.total', equals: 120.5 }, true],
    [{ path: 'order.total', equals: '120.5' }, false],
    [{ path: 'order.paid', equals: true }, true],
    [{ path: 'order.coupon', equals: null }, true],
    [{ path: 'order.none', equals: null }, false],
    [{ path: 'order', equals: 'x' }, false],
    [{ path: 'order.id', in: ['B', 'A-1001'] }, true],
    [{ path: 'order.id', in: ['B'] }, false],
    [{ path: 'order.coupon', in: [null] }, true],
    [{ path: 'order.coupon', exists: true }, true],
    [{ path: 'order.none', exists: true }, false],
    [{ path: 'order.none', exists: false }, true],
    [{ path: 'order.none.deeper', exists: false }, true],
    [{ path: 'order.id', prefix: 'A-' }, true],
    [{ path: 'order.id', prefix: 'B-' }, false],
    [{ path: 'order.total', prefix: '1' }, false],
    [{ path: 'order.total', compare: { gt: 120, lte: 120.5 } }, true],
    [{ path: 'order.total', compare: { gt: 120.5 } }, false],
    [{ path: 'order.total', compare: { lt: 120.5 } }, false],
    [{ path: 'order.total', compare: { gte: '100' } }, false],
    [{ path: 'order.id', compare: { gte: 0 } }, false],
    [{ path: 'order.none', compare: { lt: 1 } }, false],
    [{ path: 'order.coupon', compare: { gte: 0 } }, false],
    [{ path: 'order.at', compare: { gte: '2026-01-01', lt: '2026-02-01' } }, true],
    [{ path: 'items.1.sku', equals: 'Y2' }, true],
    [{ path: 'items.2.sku', exists: true }, false],
    [{ path: 'items.length', exists: true }, false],
    [{ path: 'items.-1', exists: true }, false],
    [{ path: ['a.b'], equals: 1 }, true],
    [{ path: 'a.b', equals: 1 }, false],
    [{ path: 'order.constructor', exists: true }, false],
    [{ path: '__proto__', exists: true }, false],
    [{ path: 'order.id.length', exists: true }, false],
    [
      {
        and: [
          { path: 'order.paid', equals: true },
          { path: 'order.total', compare: { gt: 100 } },
        ],
      },
      true,
    ],
    [
      {
        or: [
          { path: 'order.paid', equals: false },
          { path: 'order.total', compare: { gt: 100 } },
        ],
      },
      true,
    ],
    [{ or: [{ path: 'order.paid', equals: false }] }, false],
    [{ not: { path: 'order.paid', equals: true } }, false],
    [{ not: { path: 'order.none', equals: 1 } }, true],
    [{ not: { not: { path: 'order.paid', equals: true } } }, true],
  ])('%j: %s', (filter, expected) => {
    expect(issuesOf(filter)).toEqual([])
    expect(passes(filter)).toBe(expected)
  })

  it('names the place that says no', () => {
    const yes: Filter = { path: 'order.paid', equals: true }
    const no: Filter = { path: 'order.paid', equals: false }
    const placeOf = (filter: Filter) => objection(filter, data)
    expect(placeOf(no)).toBe('filter')
    expect(placeOf({ and: [yes, { and: [yes, no] }] })).toBe('filter.and.1.and.1')
    expect(placeOf({ and: [yes, { or: [no, no] }] })).toBe('filter.and.1')
    expect(placeOf({ and: [yes, { not: yes }] })).toBe('filter.and.1')
    expect(placeOf({ or: [no, yes] })).toBe(null)
  })

  it('looks at anything that is JSON', () => {
    for (const one of [null, 7, 'text', true, [], {}, [[]]])
      expect([one, passes({ path: 'a.0.b', exists: false }, one)]).toEqual([one, true])
    expect(passes({ path: '0', equals: 'x' }, ['x'])).toBe(true)
  })
})

const nested = (depth: number): unknown =>
  depth === 0 ? { path: 'a', equals: 1 } : { not: nested(depth - 1) }
const many = (count: number) => ({ or: Array.from({ length: count }, () => ({ path: 'a', equals: 1 })) })
const places = (filter: unknown) => issuesOf(filter).map(({ at }) => at.join('.'))

describe('what is no filter', () => {
  it.each<[unknown, string[]]>([
    [{}, ['']],
    [7, ['']],
    [[], ['']],
    [null, ['']],
    ['a = 1', ['']],
    [{ path: 'a' }, ['']],
    [{ equals: 1 }, ['path']],
    [{ path: 'a', equals: 1, exists: true }, ['']],
    [{ path: 'a', regex: '(a+)+$' }, ['regex']],
    [{ and: [], or: [] }, ['and', 'or']],
    [{ path: '', equals: 1 }, ['path']],
    [{ path: 'a..b', equals: 1 }, ['path']],
    [{ path: [], equals: 1 }, ['path']],
    [{ path: ['a', 1], equals: 1 }, ['path']],
    [{ path: Array(17).fill('a'), equals: 1 }, ['path']],
    [{ path: 'a', equals: {} }, ['equals']],
    [{ path: 'a', equals: [1] }, ['equals']],
    [{ path: 7, equals: [1] }, ['path', 'equals']],
    [{ path: 'a', in: [] }, ['in']],
    [{ path: 'a', in: 'abc' }, ['in']],
    [{ path: 'a', in: [[1]] }, ['in']],
    [{ path: 'a', in: Array(101).fill(1) }, ['in']],
    [{ path: 'a', exists: 'yes' }, ['exists']],
    [{ path: 'a', prefix: '' }, ['prefix']],
    [{ path: 'a', prefix: 1 }, ['prefix']],
    [{ path: 'a', compare: {} }, ['compare']],
    [{ path: 'a', compare: { above: 1 } }, ['compare']],
    [{ path: 'a', compare: { gt: 1, lt: '2' } }, ['compare']],
    [{ path: 'a', compare: { gt: true } }, ['compare']],
    [{ path: 'a', compare: [1] }, ['compare']],
    [{ and: [] }, ['and']],
    [{ or: {} }, ['or']],
    [{ not: [] }, ['not']],
    [{ and: [{ path: 'a', equals: 1 }, { or: [{ path: 'b' }] }] }, ['and.1.or.0']],
  ])('%j: %j', (filter, expected) => {
    expect(places(filter)).toEqual(expected)
  })

  it('is what is deeper, longer or larger than can be asked of every event', () => {
    expect(places(nested(7))).toEqual([])
    expect(issuesOf(nested(8))).toEqual([
      { at: Array(8).fill('not'), why: 'must be at most 8 conditions deep' },
    ])
    expect(issuesOf(JSON.parse(`${'{"not":'.repeat(100_000)}7${'}'.repeat(100_000)}`))).toHaveLength(1)
    expect(places(many(49))).toEqual([])
    expect(issuesOf(many(50))).toEqual([{ at: [], why: 'must have at most 50 conditions' }])
    expect(issuesOf(many(100_000))).toEqual([{ at: [], why: 'must have at most 50 conditions' }])
    expect(issuesOf({ path: 'a', equals: 'x'.repeat(4096) })).toEqual([
      { at: [], why: 'must be at most 4096 characters of JSON' },
    ])
  })
})

describe('why an endpoint does not take an event', () => {
  const endpoint: Subscriber = {
    ...{ id: 'w1', application_id: null, event_types: ['order.*', 'endpoint.*'], channels: [] },
    filter: {
      and: [
        { path: 'n', exists: true },
        { path: 'n', compare: { gte: 5 } },
      ],
    },
  }
  const event: Published = { type: 'order.shipped', application_id: null, channels: [], data: '{"n":5}' }
  const why = (one: Partial<Subscriber>, other: Partial<Published>) =>
    whyNot({ ...endpoint, ...one }, { ...event, ...other })

  it('is named, the first that says no', () => {
    expect(why({}, {})).toBe(null)
    expect(why({}, { application_id: 'app' })).toEqual({ by: 'application', at: null })
    expect(why({ application_id: 'app' }, {})).toEqual({ by: 'application', at: null })
    expect(why({ application_id: 'app' }, { application_id: 'app' })).toBe(null)
    expect(why({}, { type: 'orders.shipped' })).toEqual({ by: 'event_types', at: null })
    expect(why({ channels: ['x'] }, { channels: ['y'] })).toEqual({ by: 'channels', at: null })
    expect(why({ channels: ['x'] }, { channels: ['y', 'x'] })).toBe(null)
    expect(why({}, { data: '{"n":4}' })).toEqual({ by: 'filter', at: 'filter.and.1' })
    expect(why({}, { data: null })).toEqual({ by: 'payload', at: null })
    expect(why({ filter: null }, { data: null })).toBe(null)
  })

  it('is that it is about itself, where the service says so and not a tenant in an application', () => {
    const about = { type: 'endpoint.disabled', data: '{"endpoint_id":"w1","n":9}' }
    expect(why({}, about)).toEqual({ by: 'itself', at: null })
    expect(why({ id: 'w2' }, about)).toBe(null)
    expect(why({ application_id: 'a' }, { ...about, application_id: 'a' })).toBe(null)
    expect(why({}, { ...about, type: 'order.shipped' })).toBe(null)
  })
})

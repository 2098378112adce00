import { describe, expect, it } from 'vitest'
import { retryAfter, waitAfter } from '../../src/domains/webhooks/deliveries/schedule'
import { judge, type Outcome } from '../../src/domains/webhooks/deliveries/verdict'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const NOW = Date.parse('2026-01-31T10:00:00.000Z')

describe('waitAfter', () => {
  it('follows the schedule: ten attempts and no more', () => {
    const middle = Array.from({ length: 11 }, (_, made) => waitAfter(made, 0.5))
    expect(middle).toEqual([
      ...[0, 5000, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR],
      null,
    ])
  })

  it('spreads each wait by ten per cent to either side', () => {
    expect(waitAfter(1, 0)).toBe(4500)
    expect(waitAfter(1, 0.999999)).toBe(5500)
    expect(waitAfter(9, 0)).toBe(0.9 * 24 * HOUR)
  })
})

describe('retryAfter', () => {
  it.each([
    ['120', 120_000],
    [' 5 ', 5000],
    ['0', 0],
    ['Sat, 31 Jan 2026 10:00:30 GMT', 30_000],
    ['Saturday, 31-Jan-26 10:00:30 GMT', 30_000],
    ['Sat Jan 31 10:00:30 2026', 30_000],
    ['Sat, 31 Jan 2026 09:00:00 GMT', 0],
    ['86400', 24 * HOUR],
    ['86401', 24 * HOUR],
    ['99999999999999999999999', 24 * HOUR],
    ['Fri, 31 Dec 9999 23:59:59 GMT', 24 * HOUR],
  ])('reads %s', (header, wait) => expect(retryAfter(header, NOW)).toBe(wait))

  it.each([
    null,
    '',
    '-5',
    '1.5',
    '5 apples',
    'soon',
    '2026-01-31T10:00:30Z',
    'Xyz, 99 Foo 2026 10:00:30 GMT',
  ])('takes no heed of %s', (header) => expect(retryAfter(header, NOW)).toBeNull())
})

describe('judge', () => {
  const outcome = (change: Partial<Outcome>): Outcome => ({
    response_status: 500,
    error: 'status: answered 500',
    retry_after: null,
    directive: null,
    ...change,
  })
  const judged = (change: Partial<Outcome>, number = 1) => judge(outcome(change), number, NOW, 0.5)

  it('ends a delivery that was taken', () => {
    expect(judged({ response_status: 204, error: null })).toEqual({
      status: 'delivered',
      next_attempt_at: null,
      disable: null,
      wait_until: null,
      circuit: null,
    })
  })

  it('tries again what failed, by the schedule', () => {
    expect(judged({})).toMatchObject({ status: 'pending', next_attempt_at: NOW + 5000, wait_until: null })
    expect(judged({ response_status: null }, 9)).toMatchObject({ next_attempt_at: NOW + 24 * HOUR })
    expect(judged({}, 10)).toMatchObject({ status: 'exhausted', next_attempt_at: null })
  })

  it.each([429, 503])('makes the whole endpoint wait for the Retry-After of %i', (response_status) => {
    const retry_after = '60'
    const verdict = judged({ response_status, retry_after })
    expect(verdict).toMatchObject({ next_attempt_at: NOW + 60_000, wait_until: NOW + 60_000 })
    // Never before it, and never before the schedule either.
    expect(judged({ response_status, retry_after: '1' })).toMatchObject({ next_attempt_at: NOW + 5000 })
    expect(judged({ response_status, retry_after }, 10)).toMatchObject({
      status: 'exhausted',
      wait_until: NOW + 60_000,
    })
  })

  it('takes no Retry-After from another answer', () => {
    expect(judged({ response_status: 500, retry_after: '60' }).wait_until).toBeNull()
    expect(judged({ response_status: 301, retry_after: '60' }).wait_until).toBeNull()
  })

  it('disables the endpoint on 410, and where the answer says so', () => {
    expect(judged({ response_status: 410 })).toMatchObject({ status: 'failed', disable: 'gone' })
    expect(judged({ directive: 'disable' })).toMatchObject({ status: 'failed', disable: 'asked' })
    expect(judged({ response_status: 200, error: null, directive: 'disable' })).toMatchObject({
      status: 'delivered',
      disable: 'asked',
    })
  })

  it('ends only the delivery on abort-message', () => {
    expect(judged({ directive: 'abort-message' })).toMatchObject({ status: 'failed', disable: null })
    expect(judged({ directive: 'nonsense' })).toMatchObject({ status: 'pending' })
  })
})

import { describe, expect, it } from 'vitest'
import { roomOf, takeFrom } from '../../src/domains/metering/meter/room'
import { lifeFor, MAX_LIFE_MS, MIN_LIFE_MS, sizeGrant } from '../../src/domains/metering/meter/sizing'
import { SteadyClock } from '../../src/domains/metering/meter/steady-clock'
import { PERIODS, type Period, SlidingWindow } from '../../src/domains/metering/meter/window'

const T = 1_700_000_000_000

describe('a sliding window', () => {
  it.each(['minute', 'hour', 'day'] as Period[])(
    'of a %s keeps a bucket until all of it has left',
    (period) => {
      const { length, bucket } = PERIODS[period]
      const window = new SlidingWindow(period)
      const start = window.bucketAt(T) * bucket
      window.book(window.bucketAt(start), 3)
      window.book(window.bucketAt(start + bucket - 1), 4)
      window.book(window.bucketAt(start + bucket), 5)
      expect(window.used(start + bucket)).toBe(12)
      // What was booked at the bucket's last moment is just within reach.
      expect(window.used(start + bucket - 1 + length)).toBe(12)
      expect(window.nextLeave(start)).toBe(start + bucket + length)
      expect(window.used(start + bucket + length)).toBe(5)
      expect(window.used(start + 2 * bucket + length)).toBe(0)
      expect(window.nextLeave(start + 2 * bucket + length)).toBeNull()
    },
  )

  it('takes bookings ahead and gives them back, but never more than there are', () => {
    const window = new SlidingWindow('minute')
    const end = window.bucketAt(T + 8_000)
    window.book(end, 10)
    expect(window.used(T)).toBe(10)
    expect(window.release(end, 4)).toBe(4)
    expect(window.release(end, 40)).toBe(6)
    expect(window.release(end, 1)).toBe(0)
    expect(window.used(T)).toBe(0)
    expect(window.isEmpty).toBe(true)
  })

  it('knows when so many are available', () => {
    const window = new SlidingWindow('minute')
    window.book(window.bucketAt(T), 6)
    window.book(window.bucketAt(T + 1_000), 4)
    expect(window.availableAt(T, 12, 2)).toBe(T)
    expect(window.availableAt(T, 12, 3)).toBe(T + 60_250)
    expect(window.availableAt(T, 12, 8)).toBe(T + 60_250)
    expect(window.availableAt(T, 12, 9)).toBe(T + 61_250)
    expect(window.availableAt(T, 12, 13)).toBeNull()
  })

  it('is the same after it was kept, and brings back what a wrong clock put far ahead', () => {
    const window = new SlidingWindow('minute')
    window.book(window.bucketAt(T), 6)
    window.book(window.bucketAt(T + 3_600_000), 4)
    const again = new SlidingWindow('minute', window.entries())
    expect(again.used(T)).toBe(10)
    again.capAt(again.bucketAt(T + 8_000))
    expect(again.used(T + 62_000)).toBe(4)
    expect(again.used(T + 69_000)).toBe(0)
  })
})

describe('the room of a window', () => {
  const leaving = [
    { at: T + 1_000, count: 5 },
    { at: T + 2_000, count: 7 },
  ]

  it('grows as buckets leave', () => {
    expect(roomOf(20, 18, leaving, [], T).map(({ at, room }) => [at - T, room])).toEqual([
      [0, 2],
      [1_000, 7],
      [2_000, 14],
    ])
  })

  it('leaves to others what was promised them, and no more', () => {
    // 3 of the 18 that are booked open in a second: they use nothing until then.
    const promised = [
      { at: T + 1_000, count: 3 },
      { at: T - 5, count: 9 },
    ]
    expect(roomOf(20, 18, leaving, promised, T).map(({ room }) => room)).toEqual([5, 7, 14])
    // What is given now is gone for later, so the 10 that open in a second leave nothing now.
    expect(roomOf(20, 23, leaving, [{ at: T + 1_000, count: 10 }], T).map(({ room }) => room)).toEqual([
      2, 2, 9,
    ])
  })

  it('shrinks by a grant', () => {
    const steps = roomOf(20, 18, leaving, [], T)
    expect(takeFrom(steps, 1, [{ ms: 2_000, count: 4 }], T).map(({ room }) => room)).toEqual([1, 6, 9])
  })
})

describe('the size of a grant', () => {
  const size = (over: Partial<Parameters<typeof sizeGrant>[0]>) => {
    const asked = { limit: 1_000, rate: 10, total: 10, wanted: 1, leaving: [], now: T, life: 8_000, ...over }
    const steps = over.steps ?? roomOf(asked.limit, 0, asked.leaving, [], T)
    return sizeGrant({ ...asked, steps })
  }

  it('is what is needed for the life of the lease, and a bit', () => {
    expect(size({})).toEqual({ count: 100, later: [] })
    expect(size({ wanted: 300 })).toEqual({ count: 300, later: [] })
  })

  it('is at least a thousandth of the limit, and at least one', () => {
    expect(size({ limit: 60_000, rate: 0.1 }).count).toBe(60)
    expect(size({ limit: 100, rate: 0.1, life: 2_000 }).count).toBe(1)
  })

  it('is at most half of what is free', () => {
    expect(size({ wanted: 900 }).count).toBe(500)
    // The last bit is not worth sharing.
    expect(size({ wanted: 900, steps: roomOf(1_000, 985, [], [], T) }).count).toBe(15)
  })

  it('of a small limit is what waits, for one that is left over would be missed', () => {
    expect(size({ limit: 5, wanted: 2 })).toEqual({ count: 2, later: [] })
    expect(size({ limit: 5, wanted: 9 })).toEqual({ count: 5, later: [] })
  })

  it('of a full window is a fair share of what leaves, when it leaves', () => {
    const leaving = [1, 2, 3].map((i) => ({ at: T + i * 500, count: 80 }))
    const limit = 20_000
    const steps = roomOf(limit, limit, leaving, [], T)
    const { count, later } = size({ limit, rate: 200, total: 800, life: 2_000, leaving, steps })
    expect(count).toBe(0)
    expect(later).toEqual([500, 1_000, 1_500].map((ms) => ({ ms, count: 20 })))
    expect(size({ limit, rate: 800, total: 800, life: 2_000, leaving, steps }).later).toEqual(
      [500, 1_000, 1_500].map((ms) => ({ ms, count: 80 })),
    )
  })

  it('of a small window that some share is what is needed for half a second', () => {
    const limit = 1_000
    const steps = (open: number) => roomOf(limit, limit - open, [], [], T)
    const shared = (open: number, wanted = 0) =>
      size({ limit, rate: 4, total: 16, life: 2_000, wanted, steps: steps(open) })
    expect(shared(30)).toEqual({ count: 2, later: [] })
    // A fair share where that is less, but one in any case; and of what waits, half of what there is.
    expect(shared(4)).toEqual({ count: 1, later: [] })
    expect(shared(8, 20)).toEqual({ count: 8, later: [] })
    expect(shared(30, 25)).toEqual({ count: 20, later: [] })
    expect(shared(0, 5)).toEqual({ count: 0, later: [] })
  })

  it('is for a life that is the longer, the emptier the window', () => {
    expect(lifeFor(1_000, 10, 10)).toBe(MAX_LIFE_MS)
    expect(lifeFor(200, 10, 10)).toBe(5_000)
    expect(lifeFor(200, 1, 10)).toBe(5_000)
    expect(lifeFor(0, 0, 1_000)).toBe(MIN_LIFE_MS)
    expect(lifeFor(-40, 10, 10)).toBe(MIN_LIFE_MS * 1.25)
  })
})

describe('the clock of a Meter', () => {
  it('follows the wall clock, but never back', () => {
    const clock = new SteadyClock()
    expect(clock.read(T)).toBe(T)
    expect(clock.read(T + 10)).toBe(T + 10)
    expect(clock.read(T - 3_600_000)).toBe(T + 10)
    expect(clock.read(T - 3_600_000 + 5)).toBe(T + 15)
    const again = new SteadyClock(clock.state().ahead, clock.state().last)
    expect(again.read(T - 3_600_000 + 6)).toBe(T + 16)
  })

  it('does not run ahead of what an isolate measured', () => {
    const clock = new SteadyClock()
    clock.read(T)
    expect(clock.read(T + 3_600_000, { at: T, elapsed: 2_000 })).toBe(T + 2_000)
    expect(clock.jumped).toBe(true)
    expect(clock.read(T + 3_600_500)).toBe(T + 2_500)
    // The network's own time is no jump.
    expect(clock.read(T + 3_601_000, { at: T + 2_500, elapsed: 300 })).toBe(T + 3_000)
  })
})

import { describe, expect, it } from 'vitest'
import { openFor, opensIn } from '../../../src/domains/voice/campaigns/hours'
import { afterPlacing, newPace, nextLook, placesAt } from '../../../src/domains/voice/campaigns/pace'

/** A number from 0 to 1 for each question, the same in every run. */
function dice(seed: number): () => number {
  let at = seed
  return () => {
    at = (at * 1_103_515_245 + 12_345) % 2 ** 31
    return at / 2 ** 31
  }
}

/** When calls are placed from `from` on, each look late by what `late` says, and contacts as `there` says. */
function placedBy(
  perMinute: number,
  minutes: number,
  late: () => number,
  there: (now: number) => number = () => Number.POSITIVE_INFINITY,
) {
  const from = 1_700_000_000_000
  const times: number[] = []
  let pace = newPace(from)
  for (let now = from; now < from + minutes * 60_000; ) {
    const places = placesAt(pace, now, perMinute)
    const count = Math.min(places, there(now))
    for (let i = 0; i < count; i++) times.push(now)
    if (places > 0) pace = afterPlacing(pace, now, perMinute, count, count < places)
    now = Math.ceil(Math.max(nextLook(pace, now, perMinute), count < places ? now + 1_000 : now + 1) + late())
  }
  return { from, times }
}

/** The most calls within any minute, wherever it begins. */
function mostInAMinute(times: readonly number[]): number {
  let [most, first] = [0, 0]
  times.forEach((time, i) => {
    while ((times[first] ?? 0) <= time - 60_000) first++
    most = Math.max(most, i - first + 1)
  })
  return most
}

describe('the cap on calls a minute', () => {
  for (const perMinute of [1, 7, 30, 119, 120, 600, 6_000])
    it(`of ${perMinute} is kept, and used, though looks are late`, () => {
      const random = dice(perMinute)
      const little = () => 30 * random()
      const { times, from } = placedBy(perMinute, 20, little)
      expect(mostInAMinute(times)).toBeLessThanOrEqual(perMinute)
      // Minute by minute, by whatever clock: within two in a hundred, and one call.
      for (const shift of [0, 17_000, 43_300])
        for (let minute = 0; minute < 19; minute++) {
          const of = times.filter((at) => Math.floor((at - from - shift) / 60_000) === minute).length
          expect(of).toBeGreaterThanOrEqual(Math.floor(perMinute * 0.98) - 1)
        }
      // Now and then up to two seconds late, as on a machine that does much else.
      const much = placedBy(perMinute, 20, () => (random() < 0.02 ? 2_000 : 30) * random())
      expect(mostInAMinute(much.times)).toBeLessThanOrEqual(perMinute)
      expect(much.times.length).toBeGreaterThanOrEqual(Math.floor(20 * perMinute * 0.98))
    })

  it('is spread over the minute', () => {
    const { times } = placedBy(60, 5, () => 0)
    const gaps = times.slice(1).map((at, i) => at - (times[i] ?? 0))
    expect([Math.min(...gaps), Math.max(...gaps)]).toEqual([1_000, 1_000])
  })

  it('is not made good by a burst after an outage, nor after a time without anybody to call', () => {
    const from = 1_700_000_000_000
    const isOut = (now: number) => now - from > 120_000 && now - from < 300_000
    const there = (now: number) => (isOut(now) ? 0 : Number.POSITIVE_INFINITY)
    const { times } = placedBy(600, 10, () => 0, there)
    expect(mostInAMinute(times)).toBeLessThanOrEqual(600)
    const after = times.filter((at) => at - from >= 300_000 && at - from < 310_000)
    expect(after.length).toBeLessThanOrEqual(105)
    let pace = newPace(from)
    pace = afterPlacing(pace, from, 600, 1, false)
    // Killed for an hour.
    expect(placesAt(pace, from + 3600_000, 600)).toBe(1)
  })

  it('counts what was placed just before it was lowered', () => {
    const now = 1_700_000_000_000
    let pace = newPace(now)
    pace = afterPlacing(pace, now, 600, 10, false)
    expect(placesAt(pace, now + 1_000, 10)).toBe(0)
    expect(nextLook(pace, now + 1_000, 10)).toBe(now + 60_000)
    expect(placesAt(pace, now + 60_000, 10)).toBe(1)
  })
})

describe('calling hours', () => {
  const at = (time: string) => Date.parse(time)
  const office = { from: '09:00', to: '17:30', days: ['mon', 'tue', 'wed', 'thu', 'fri'] }
  const MINUTE = 60_000

  it('are what the clock says where somebody lives', () => {
    // A Wednesday, 15:00 UTC.
    const wednesday = at('2026-05-06T15:00:00Z')
    expect(openFor(office, 'Europe/Berlin', wednesday)).toBe(30 * MINUTE)
    expect(openFor(office, 'America/New_York', wednesday)).toBe((6 * 60 + 30) * MINUTE)
    expect(openFor(office, 'America/Los_Angeles', wednesday)).toBeNull()
    expect(openFor(office, 'Asia/Tokyo', wednesday)).toBeNull()
    expect(openFor(office, 'Asia/Kathmandu', at('2026-05-06T03:15:00Z'))).toBe(510 * MINUTE)
    expect(openFor(office, 'Asia/Kathmandu', at('2026-05-06T03:14:59Z'))).toBeNull()
  })

  it('begin with their first minute, and end before their last', () => {
    const of = (time: string) => openFor(office, 'UTC', at(time)) !== null
    expect([of('2026-05-06T08:59:59.999Z'), of('2026-05-06T09:00:00Z')]).toEqual([false, true])
    expect([of('2026-05-06T17:29:59.999Z'), of('2026-05-06T17:30:00Z')]).toEqual([true, false])
    // A Saturday.
    expect(of('2026-05-09T12:00:00Z')).toBe(false)
  })

  it('go over midnight, of the day on which they begin', () => {
    const nights = { from: '20:00', to: '02:00', days: ['fri'] }
    const of = (time: string) => openFor(nights, 'UTC', at(time))
    expect(of('2026-05-08T20:00:00Z')).toBe(6 * 60 * MINUTE)
    expect(of('2026-05-09T01:59:00Z')).toBe(MINUTE)
    expect(of('2026-05-09T02:00:00Z')).toBeNull()
    // Thursday's night is not Friday's.
    expect(of('2026-05-08T01:00:00Z')).toBeNull()
    expect(of('2026-05-09T20:00:00Z')).toBeNull()
    const sundays = { ...nights, days: ['sun'] }
    expect(openFor(sundays, 'UTC', at('2026-05-11T01:00:00Z'))).toBe(60 * MINUTE)
  })

  it('may last all day', () => {
    const always = { from: '00:00', to: '24:00', days: ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] }
    for (let hour = 0; hour < 24 * 7; hour++)
      expect(
        openFor(always, 'Australia/Lord_Howe', at('2026-04-01T00:10:00Z') + hour * 60 * MINUTE),
      ).not.toBeNull()
  })

  it('know the nights on which clocks change', () => {
    const early = { from: '02:00', to: '03:00', days: ['sun'] }
    // Berlin, 2026-03-29: 02:00 to 03:00 never comes.
    const spring = Array.from({ length: 240 }, (_, i) => at('2026-03-28T23:00:00Z') + i * MINUTE)
    expect(spring.filter((time) => openFor(early, 'Europe/Berlin', time) !== null)).toEqual([])
    const half = { ...early, from: '02:30', to: '03:30' }
    const left = spring.filter((time) => openFor(half, 'Europe/Berlin', time) !== null)
    expect([left[0], left.length]).toEqual([at('2026-03-29T01:00:00Z'), 30])
    // Berlin, 2026-10-25: 02:00 to 03:00 comes twice.
    const autumn = Array.from({ length: 240 }, (_, i) => at('2026-10-24T23:00:00Z') + i * MINUTE)
    const twice = autumn.filter((time) => openFor(early, 'Europe/Berlin', time) !== null)
    expect([twice[0], twice.length]).toEqual([at('2026-10-25T00:00:00Z'), 120])
  })

  it('say when they open, as far as it is looked', () => {
    const hour = 60 * MINUTE
    expect(opensIn(office, 'UTC', at('2026-05-06T08:30:20.5Z'), hour)).toBe(30 * MINUTE - 20_500)
    expect(opensIn(office, 'UTC', at('2026-05-06T05:00:00Z'), hour)).toBe(hour)
    expect(
      opensIn(
        { ...office, from: '02:30', to: '03:30', days: ['sun'] },
        'Europe/Berlin',
        at('2026-03-29T00:45:00Z'),
        hour,
      ),
    ).toBe(15 * MINUTE)
  })
})

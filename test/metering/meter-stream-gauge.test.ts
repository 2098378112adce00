import { afterEach, expect, it, vi } from 'vitest'
import { StreamGauge } from '../../src/domains/metering/meter/stream-gauge'

afterEach(() => {
  vi.restoreAllMocks()
  vi.useRealTimers()
})

/** A gauge with its clock in hand. */
function gaugeAt(tell?: (open: number) => Promise<void>) {
  vi.useFakeTimers({ now: 1_000_000, toFake: ['Date', 'setTimeout'] })
  vi.spyOn(scheduler, 'wait').mockImplementation((ms) => new Promise((resolve) => setTimeout(resolve, ms)))
  const told: [at: number, open: number][] = []
  const deferred: Promise<unknown>[] = []
  const held = { open: 0 }
  const gauge = new StreamGauge(
    () => held.open,
    async (open) => {
      told.push([Date.now() - 1_000_000, open])
      await tell?.(open)
    },
    (work) => deferred.push(work),
  )
  const set = (open: number) => {
    held.open = open
    gauge.touch(Date.now())
  }
  const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms)
  return { set, pass, told, deferred }
}

it('tells at once, then at most every five seconds, and how it stands in the end', async () => {
  const { set, pass, told } = gaugeAt()
  set(1)
  await pass(100)
  for (let open = 2; open <= 40; open++) {
    set(open)
    await pass(100)
  }
  await pass(10_000)
  expect(told).toEqual([
    [0, 1],
    [5_000, 40],
  ])
  set(0)
  await pass(0)
  expect(told.at(-1)).toEqual([14_000, 0])
})

it('says nothing where nothing changed, but every hour', async () => {
  const { set, pass, told } = gaugeAt()
  set(3)
  await pass(10_000)
  for (let n = 0; n < 10; n++) {
    set(3)
    await pass(60_000)
  }
  expect(told.length).toBe(1)
  await pass(3600_000)
  set(3)
  await pass(0)
  expect(told.length).toBe(2)
  // Back before the word would have gone.
  set(4)
  set(3)
  await pass(10_000)
  expect(told.map(([, open]) => open)).toEqual([3, 3, 3])
})

it('tells what changed while its word was on the way', async () => {
  const { promise: slow, resolve } = Promise.withResolvers<void>()
  const { set, pass, told } = gaugeAt(() => slow)
  set(1)
  await pass(7_000)
  set(2)
  set(3)
  resolve()
  await pass(10_000)
  expect(told.at(-1)?.[1]).toBe(3)
})

it('makes a lost word good with the next change, and throws nothing', async () => {
  vi.spyOn(console, 'warn').mockImplementation(() => undefined)
  let away = true
  const { set, pass, told, deferred } = gaugeAt(async () => {
    if (away) throw new Error('away')
  })
  set(5)
  await pass(10_000)
  expect(told).toEqual([[0, 5]])
  away = false
  set(5)
  await pass(0)
  expect(told.at(-1)).toEqual([10_000, 5])
  // Nothing that goes on after an answer may fail.
  const ends = await Promise.allSettled(deferred)
  expect(ends.filter(({ status }) => status === 'rejected')).toEqual([])
})

import { AsyncLocalStorage } from 'node:async_hooks'
import { vi } from 'vitest'

// All tests share one isolate, with objects that do something in the background. Timers that these set while a test has the
// clock in hand would fire in that test's name, which may not do the I/O of another object: the runtime refuses it, nobody
// handles the refusal, and Vitest can't even be told of it and waits for ever. So a test's clock is that test's own.

const test = new AsyncLocalStorage<true>()

/** Runs a test as one; what runs otherwise has the real timers. */
export const asTest = (run: () => Promise<void>): Promise<void> => test.run(true, run)

type Timer = (...given: never[]) => unknown
const globals = globalThis as unknown as Record<string, Timer>
const PAIRS = [
  ['setTimeout', 'clearTimeout'],
  ['setInterval', 'clearInterval'],
] as const

const PATCHED = Symbol.for('timers of the test alone')
if (!(PATCHED in vi)) {
  const useFakeTimers = vi.useFakeTimers.bind(vi)
  const real = new Map(PAIRS.flat().map((name) => [name, globals[name]]))
  Object.assign(vi, {
    [PATCHED]: true,
    useFakeTimers: (...given: Parameters<typeof useFakeTimers>) => {
      useFakeTimers(...given)
      for (const [set, clear] of PAIRS) share(set, clear, real.get(set), real.get(clear))
      return vi
    },
  })
}

/** Leaves the fake timers of one kind to the test, and gives all else the real ones. */
function share(set: string, clear: string, realSet?: Timer, realClear?: Timer): void {
  const [fakeSet, fakeClear] = [globals[set], globals[clear]]
  if (!fakeSet || !fakeClear || !realSet || !realClear || fakeSet === realSet) return
  const faked = new Set<unknown>()
  const setting: Timer = (...given) => {
    if (!test.getStore()) return realSet(...given)
    const id = fakeSet(...given)
    faked.add(id)
    return id
  }
  const clearing: Timer = (...given) => (faked.has(given[0]) ? fakeClear : realClear)(...given)
  // What the fake ones carry says how they are taken away again.
  globals[set] = Object.assign(setting, fakeSet)
  if (fakeClear !== realClear) globals[clear] = Object.assign(clearing, fakeClear)
}

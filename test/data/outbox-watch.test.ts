import { describe, expect, it } from 'vitest'
import { keepWatch, WATCH_MS } from '../../src/data/outbox'
import type { Bindings } from '../../src/env'

describe('the promise of the sweeper', () => {
  let asked = 0
  const SWEEPER = { getByName: () => ({ watch: async () => void asked++ }) }
  const bindings = { SWEEPER } as unknown as Bindings

  it('is asked for once in a while, and anew where the clock went back', async () => {
    const now = Date.now() + 365 * 86_400_000
    const asksAt = async (at: number) => {
      const before = asked
      await keepWatch(bindings, at)
      return asked - before
    }
    expect(await asksAt(now)).toBe(1)
    expect(await asksAt(now)).toBe(0)
    expect(await asksAt(now + WATCH_MS / 4)).toBe(0)
    expect(await asksAt(now + WATCH_MS / 2)).toBe(1)
    expect(await asksAt(now - 900_000)).toBe(1)
    expect(await asksAt(now - 900_000)).toBe(0)
  })
})

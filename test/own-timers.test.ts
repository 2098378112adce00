import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { afterEach, describe, expect, it, vi } from 'vitest'

describe('a test’s clock', () => {
  afterEach(() => void vi.useRealTimers())

  it('is its own: what an object does meanwhile goes by the real one', async () => {
    const real = [setTimeout, clearTimeout, setInterval, clearInterval]
    vi.useFakeTimers({ now: 1_000_000 })
    const stub = env.CHATS.getByName(`${crypto.randomUUID()}/${crypto.randomUUID()}`)
    const ticks: string[] = []
    await runInDurableObject(stub, async () => {
      clearTimeout(setTimeout(() => ticks.push('never'), 5))
      await new Promise((resolve) => setTimeout(resolve, 20))
      await new Promise<void>((resolve) => {
        const ticking = setInterval(() => {
          if (ticks.push('tick') < 3) return
          clearInterval(ticking)
          resolve()
        }, 5)
      })
    })
    expect(ticks).toEqual(['tick', 'tick', 'tick'])
    expect(vi.getTimerCount()).toBe(0)
    const own: string[] = []
    setTimeout(() => own.push('once'), 60_000)
    clearTimeout(setTimeout(() => own.push('never'), 60_000))
    expect(vi.getTimerCount()).toBe(1)
    await vi.advanceTimersByTimeAsync(60_000)
    expect([own, Date.now()]).toEqual([['once'], 1_060_000])
    vi.useRealTimers()
    expect([setTimeout, clearTimeout, setInterval, clearInterval]).toEqual(real)
  })
})

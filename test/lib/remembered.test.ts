import { describe, expect, it } from 'vitest'
import { Remembered } from '../../src/lib/remembered'

/** A source whose answers are given by hand. */
function source() {
  const waiting: ((value: string) => void)[] = []
  return {
    look: () => new Promise<string>((resolve) => waiting.push(resolve)),
    answer: (value: string) => waiting.shift()?.(value),
    get asked() {
      return waiting.length
    },
  }
}
const now = async (value: string) => value

describe('what an isolate remembers', () => {
  it('is asked for once while it is fresh', async () => {
    const memory = new Remembered<string>(5_000, 9_000)
    expect(await memory.get('k', 0, () => now('a'))).toBe('a')
    expect(await memory.get('k', 4_999, () => now('b'))).toBe('a')
    expect(await memory.get('k', 5_000, () => now('b'))).toBe('b')
  })

  it('past that is looked at again by one, while the others go on, and by everyone past the end', async () => {
    const memory = new Remembered<string>(5_000, 9_000)
    const { look, answer } = source()
    await memory.get('k', 0, () => now('old'))
    const refreshing = memory.get('k', 6_000, look)
    expect(await memory.get('k', 6_500, () => now('never asked'))).toBe('old')
    const late = memory.get('k', 9_000, () => now('new for sure'))
    expect(await late).toBe('new for sure')
    answer('new')
    expect(await refreshing).toBe('new')
  })

  it('is looked at by another where the one who looks does not come back', async () => {
    const memory = new Remembered<string>(5_000, 9_000)
    await memory.get('k', 0, () => now('old'))
    void memory.get('k', 5_000, () => new Promise(() => undefined))
    expect(await memory.get('k', 6_000, () => now('new'))).toBe('new')
  })

  it('is not kept where it was looked up before it was forgotten', async () => {
    const memory = new Remembered<string>(5_000, 9_000)
    const { look, answer } = source()
    const early = memory.get('k', 0, look)
    memory.forget('k')
    answer('as it was before')
    await early
    expect(await memory.get('k', 1, () => now('revoked'))).toBe('revoked')

    const again = memory.get('k', 6_000, look)
    memory.forgetWhere((value) => value === 'revoked')
    answer('as it was before')
    await again
    expect(await memory.get('k', 6_001, () => now('gone'))).toBe('gone')
  })

  it('is not kept where the look failed', async () => {
    const memory = new Remembered<string>(5_000, 9_000)
    await expect(memory.get('k', 0, () => Promise.reject(new Error('away')))).rejects.toThrow('away')
    expect(await memory.get('k', 1, () => now('back'))).toBe('back')
  })

  it('has a bound', async () => {
    const memory = new Remembered<string>(5_000, 9_000, 3)
    for (const key of ['a', 'b', 'c', 'd']) await memory.get(key, 0, () => now(key))
    expect(await memory.get('a', 1, () => now('looked up again'))).toBe('looked up again')
  })
})

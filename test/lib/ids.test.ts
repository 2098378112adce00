import { describe, expect, it } from 'vitest'
import { firstIdAt, isUuid, newId } from '../../src/lib/ids'

/** The milliseconds that an id tells (RFC 9562, 5.7). */
const timeOf = (id: string) => Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16)

describe('newId', () => {
  it('makes version 7, which tells its time', () => {
    const now = Date.now()
    const id = newId(now)
    expect(isUuid(id)).toBe(true)
    expect(id[14]).toBe('7')
    expect(timeOf(id) - now).toBeGreaterThanOrEqual(0)
    expect(timeOf(id) - now).toBeLessThan(1_000)
  })

  it('ascends within a millisecond, and where a moment before was asked meanwhile', () => {
    const now = Date.now() + 5_000
    const ids = Array.from({ length: 10_000 }, (_, i) => newId(now - (i % 3)))
    expect(ids).toEqual([...ids].sort())
    expect(new Set(ids).size).toBe(ids.length)
    expect(timeOf(ids.at(-1) ?? '') - now).toBeLessThan(10)
  })

  it('tells its own time after one of a later time', () => {
    const now = Date.now()
    newId(now + 60_000)
    expect(timeOf(newId(now))).toBe(now)
    expect(newId(now) >= firstIdAt(now) && newId(now) < firstIdAt(now + 1_000)).toBe(true)
  })
})

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { FIRST_ACK_MS, Outflow } from '../../src/domains/realtime/outflow'

const KIB = 1024

/** An outflow and what came out of it. */
function made() {
  const sent: string[] = []
  let givenUp = 0
  const outflow = new Outflow(
    (text) => sent.push(text),
    () => {
      givenUp += 1
    },
  )
  return {
    outflow,
    sent,
    givenUp: () => givenUp,
    ids: () => sent.map((text) => JSON.parse(text).id as string),
  }
}

/** A frame of so many KiB. */
const frame = (id: string, kib: number) => JSON.stringify({ data: 'x'.repeat(kib * KIB), id })

describe('what channels say', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  it('goes out at once up to 256 KiB, and then as it is acknowledged, in order', () => {
    const { outflow, ids, givenUp } = made()
    for (let i = 1; i <= 8; i++) outflow.offer('a', frame(`l-${i}`, 60))
    expect(ids()).toEqual(['l-1', 'l-2', 'l-3', 'l-4'])
    expect(outflow.acknowledge('a', 'l-2')).toBe(true)
    expect(ids()).toEqual(['l-1', 'l-2', 'l-3', 'l-4', 'l-5', 'l-6'])
    // What was acknowledged before, was not sent, or is another channel’s makes no room.
    expect(outflow.acknowledge('a', 'l-1')).toBe(false)
    expect(outflow.acknowledge('a', 'l-8')).toBe(false)
    expect(outflow.acknowledge('b', 'l-3')).toBe(false)
    expect(ids()).toHaveLength(6)
    expect(outflow.acknowledge('a', 'l-6')).toBe(true)
    expect(ids()).toHaveLength(8)
    vi.advanceTimersByTime(10 * FIRST_ACK_MS)
    expect(givenUp()).toBe(0)
  })

  it('to who never acknowledges ends after five seconds, to who did after a minute', () => {
    const [never, once] = [made(), made()]
    for (const { outflow } of [never, once])
      for (let i = 1; i <= 5; i++) outflow.offer('a', frame(`l-${i}`, 60))
    once.outflow.acknowledge('a', 'l-1')
    once.outflow.offer('a', frame('l-6', 60))
    vi.advanceTimersByTime(FIRST_ACK_MS)
    expect([never.givenUp(), once.givenUp()]).toEqual([1, 0])
    vi.advanceTimersByTime(55_000)
    expect(once.givenUp()).toBe(1)
  })

  it('does not pile up here: beyond 4 MiB the client is given up', () => {
    const { outflow, givenUp } = made()
    for (let i = 1; i <= 75; i++) outflow.offer('a', frame(`l-${i}`, 60))
    expect(givenUp()).toBeGreaterThan(0)
  })

  it('of a channel that was left is on its way all the same, and waits no more beyond that', () => {
    const { outflow, ids } = made()
    for (let i = 1; i <= 5; i++) outflow.offer('a', frame(`l-${i}`, 60))
    outflow.forget('a')
    outflow.offer('b', frame('m-1', 60))
    expect(ids()).toEqual(['l-1', 'l-2', 'l-3', 'l-4'])
    expect(outflow.acknowledge('a', 'l-4')).toBe(true)
    expect(ids()).toEqual(['l-1', 'l-2', 'l-3', 'l-4', 'm-1'])
  })

  it('has arrived with what was sent after it, whichever channel that was of', () => {
    const { outflow, ids, givenUp } = made()
    for (const [channel, id] of [
      ['a', 'l-1'],
      ['b', 'm-1'],
      ['a', 'l-2'],
      ['b', 'm-2'],
      ['a', 'l-3'],
      ['a', 'l-4'],
    ] as const)
      outflow.offer(channel, frame(id, 60))
    expect(ids()).toEqual(['l-1', 'm-1', 'l-2', 'm-2'])
    expect(outflow.acknowledge('b', 'm-1')).toBe(true)
    expect(outflow.acknowledge('a', 'l-1')).toBe(false)
    expect(ids()).toEqual(['l-1', 'm-1', 'l-2', 'm-2', 'l-3', 'l-4'])
    vi.advanceTimersByTime(10 * FIRST_ACK_MS)
    expect(givenUp()).toBe(0)
  })

  it('is sent alone where it is more than all that may be on its way', () => {
    const { outflow, ids } = made()
    outflow.offer('a', frame('l-1', 300))
    outflow.offer('a', frame('l-2', 1))
    expect(ids()).toEqual(['l-1'])
    outflow.acknowledge('a', 'l-1')
    expect(ids()).toEqual(['l-1', 'l-2'])
  })
})

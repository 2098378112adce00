import { beforeEach, describe, expect, it } from 'vitest'
import { nudger } from '../../src/data/nudge'
import type { Bindings, EventNudge } from '../../src/env'

/** A queue that holds every send until it is let go. */
function heldQueue() {
  const sends: { ids: string[]; letGo: () => void; fail: () => void }[] = []
  const hold = (ids: string[]) =>
    new Promise<void>((resolve, reject) => {
      sends.push({ ids, letGo: resolve, fail: () => reject(new Error('the queue is away')) })
    })
  const queue = {
    send: ({ event_ids }: EventNudge) => hold(event_ids),
    sendBatch: (batch: { body: EventNudge }[]) => hold(batch.flatMap(({ body }) => body.event_ids)),
  }
  const env = { EVENTS_QUEUE: queue as unknown as Bindings['EVENTS_QUEUE'] }
  return { env, sends, idsSent: () => sends.map(({ ids }) => ids) }
}

const event = (event_id: string, tenant_id = 'tenant'): EventNudge => ({ tenant_id, event_ids: [event_id] })
const until = async (holds: () => boolean) => {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5))
}

describe('a nudge', () => {
  // What the service itself sends meanwhile is not among these.
  let nudge = nudger()
  beforeEach(() => {
    nudge = nudger()
  })

  it('goes at once where nothing is under way', async () => {
    const { env, sends, idsSent } = heldQueue()
    const done = nudge(env, event('a'))
    expect(idsSent()).toEqual([['a']])
    sends[0]?.letGo()
    await done
  })

  it('goes with the others that came while one was under way', async () => {
    const { env, sends, idsSent } = heldQueue()
    const all = ['a', 'b', 'c'].map((id) => nudge(env, event(id)))
    expect(idsSent()).toEqual([['a']])
    sends[0]?.letGo()
    await until(() => sends.length === 2)
    expect(idsSent()).toEqual([['a'], ['b', 'c']])
    sends[1]?.letGo()
    await Promise.all(all)
    expect(sends).toHaveLength(2)
  })

  it('goes in batches of a hundred', async () => {
    const { env, sends } = heldQueue()
    const all = Array.from({ length: 151 }, (_, i) => nudge(env, event(`${i}`)))
    for (let i = 0; i < 3; i++) {
      await until(() => sends.length > i)
      sends[i]?.letGo()
    }
    await Promise.all(all)
    expect(sends.map(({ ids }) => ids.length)).toEqual([1, 100, 50])
    expect(new Set(sends.flatMap(({ ids }) => ids)).size).toBe(151)
  })

  it('is one message for all that a tenant committed meanwhile', async () => {
    const messages: EventNudge[][] = []
    const queue = {
      send: async (one: EventNudge) => void messages.push([one]),
      sendBatch: async (batch: { body: EventNudge }[]) => void messages.push(batch.map(({ body }) => body)),
    }
    const env = { EVENTS_QUEUE: queue as unknown as Bindings['EVENTS_QUEUE'] }
    await Promise.all(
      [event('first'), event('a'), event('b', 'other'), event('c')].map((one) => nudge(env, one)),
    )
    expect(messages).toEqual([
      [event('first')],
      [
        { tenant_id: 'tenant', event_ids: ['a', 'c'] },
        { tenant_id: 'other', event_ids: ['b'] },
      ],
    ])
  })

  it('does not wait for a send that died with its request', async () => {
    const { env, sends, idsSent } = heldQueue()
    const dead = nudge(env, event('dead'))
    const next = nudge(env, event('next'))
    await until(() => sends.length === 2)
    expect(idsSent()).toEqual([['dead'], ['next']])
    sends[1]?.letGo()
    await next
    sends[0]?.letGo()
    await dead
  })

  it('tells of a failure, and the next goes all the same', async () => {
    const { env, sends, idsSent } = heldQueue()
    const first = nudge(env, event('a'))
    const second = nudge(env, event('b'))
    sends[0]?.fail()
    await expect(first).rejects.toThrow('the queue is away')
    await until(() => sends.length === 2)
    sends[1]?.letGo()
    await second
    expect(idsSent()).toEqual([['a'], ['b']])
  })
})

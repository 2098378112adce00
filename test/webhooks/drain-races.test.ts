import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { AttemptLog } from '../../src/domains/webhooks/deliveries/attempt-log'
import { Drain } from '../../src/domains/webhooks/deliveries/drain'
import type { DrainPorts, Due } from '../../src/domains/webhooks/deliveries/drain-ports'
import type { Verdict } from '../../src/domains/webhooks/deliveries/verdict'

const VERDICT: Verdict = {
  ...{ status: 'delivered', next_attempt_at: null, disable: null, wait_until: null },
  circuit: null,
}
const made = (number: number, verdict: Partial<Verdict> = {}) => ({
  attempt: {
    ...{ number, attempted_at: '', duration_ms: 0, response_status: 200, response_body: '' },
    ...{ response_headers: {}, request_headers: {}, error: null },
  },
  verdict: { ...VERDICT, ...verdict },
})
const due = (id: string): Due => ({
  ...{ delivery_id: id, event_id: `msg_${id}`, event_type: 'a.b', attempt_count: 0, retries: 0 },
  probe: false,
})

/** A drain whose outside is `ports`; by default nothing is due, and every attempt succeeds at once. */
function withDrain(
  ports: Partial<DrainPorts<Due>>,
  work: (drain: Drain<Due>, log: AttemptLog) => Promise<void>,
): Promise<void> {
  return runInDurableObject(env.ENDPOINTS.getByName(crypto.randomUUID()), async (_, { storage }) => {
    const log = new AttemptLog(storage.sql)
    const drain = new Drain<Due>(log, {
      now: () => Date.now(),
      load: async () => ({ due: [], next_at: null }),
      pace: async (count) => ({ count, wait: 0 }),
      kept: () => storage.sync(),
      attempt: async (_due, { number }, turn) => {
        await turn()
        return made(number)
      },
      report: async () => false,
      ...ports,
    })
    await work(drain, log)
  })
}

describe('a drain', { timeout: 20_000 }, () => {
  it('makes an attempt again whose payload could not be read', async () => {
    const open = new Set(['1'])
    let reads = 0
    await withDrain(
      {
        load: async (except) => ({
          due: [...open].filter((id) => !except.includes(id)).map(due),
          next_at: null,
        }),
        attempt: async (_due, { number }, turn) => {
          reads += 1
          if (reads === 1) throw new Error('R2 is away')
          await turn()
          return made(number)
        },
        report: async (reports) => {
          for (const { delivery_id } of reports) open.delete(delivery_id)
          return false
        },
      },
      async (drain, log) => {
        await expect(drain.run()).rejects.toThrow('R2 is away')
        expect(await drain.run()).toBeNull()
        expect([reads, open.size]).toEqual([2, 0])
        expect(log.of('1').map(({ number }) => number)).toEqual([1])
      },
    )
  })

  it('knows when a failed delivery is due again, also where its end was told while others were being read', async () => {
    const again = Date.now() + 3_600_000
    const reading = Promise.withResolvers<void>()
    const told = Promise.withResolvers<void>()
    let loads = 0
    let reported = false
    await withDrain(
      {
        load: async (except) => {
          loads += 1
          if (loads === 1) return { due: [due('1')], next_at: null }
          // Read while the first was busy, and answered when its end was known.
          if (loads === 2) {
            expect(except).toEqual(['1'])
            reading.resolve()
            await told.promise
            await scheduler.wait(20)
            return { due: [], next_at: null }
          }
          return { due: [], next_at: reported ? again : null }
        },
        attempt: async (_due, { number }, turn) => {
          await turn()
          return made(number, { status: 'pending', next_attempt_at: again })
        },
        report: async () => {
          await reading.promise
          reported = true
          told.resolve()
          return false
        },
      },
      async (drain) => {
        const run = drain.run()
        await scheduler.wait(20)
        drain.wake()
        expect(await run).toBe(again)
      },
    )
  })

  it('sends nothing that was claimed before somebody stopped the endpoint', async () => {
    const payload = Promise.withResolvers<void>()
    let [sent, stopped] = [0, false]
    await withDrain(
      {
        load: async () => ({ due: stopped ? [] : [due('1')], next_at: null }),
        attempt: async (_due, { number }, turn) => {
          await payload.promise
          await turn()
          sent += 1
          return made(number)
        },
      },
      async (drain, log) => {
        const run = drain.run()
        await scheduler.wait(20)
        stopped = true
        drain.wake(true)
        payload.resolve()
        expect(await run).toBeNull()
        expect([sent, log.of('1')]).toEqual([0, []])
      },
    )
  })

  it('misses no moment at which something becomes due', async () => {
    const start = Date.now()
    for (let n = 1; n <= 12; n++) {
      // Each look at the clock takes a millisecond, so that the moment lies between any two of them.
      let clock = start
      let loads = 0
      await withDrain(
        {
          now: () => {
            clock += 1
            return clock
          },
          load: async () => {
            loads += 1
            if (loads === 1) return { due: [], next_at: clock + n }
            return { due: [], next_at: null }
          },
        },
        async (drain) => {
          const hangs = scheduler.wait(300).then(() => 'hangs')
          expect(await Promise.race([drain.run(), hangs]), `${n}`).not.toBe('hangs')
        },
      )
    }
  })
})

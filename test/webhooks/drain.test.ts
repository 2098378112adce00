import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { AttemptLog, type Report } from '../../src/domains/webhooks/deliveries/attempt-log'
import { Drain, IN_FLIGHT } from '../../src/domains/webhooks/deliveries/drain'
import type { Due } from '../../src/domains/webhooks/deliveries/drain-ports'
import { Slots } from '../../src/domains/webhooks/deliveries/slots'
import type { Verdict } from '../../src/domains/webhooks/deliveries/verdict'

const VERDICT: Verdict = {
  ...{ status: 'delivered', next_attempt_at: null, disable: null, wait_until: null },
  circuit: null,
}
const ANSWER = {
  ...{ attempted_at: '', duration_ms: 0, response_status: 200, response_body: '' },
  ...{ response_headers: {}, request_headers: {}, error: null },
}

/** A drain over an outside of its own: `backlog` deliveries, each of which takes `took` ms. */
async function drained(backlog: number, took: number, rate: number | null, steps: { stall?: number } = {}) {
  const stub = env.ENDPOINTS.getByName(crypto.randomUUID())
  return runInDurableObject(stub, async (_, state) => {
    const open = Array.from(
      { length: backlog },
      (__, n): Due => ({
        ...{ delivery_id: String(n).padStart(6, '0'), event_id: 'msg_1', event_type: 'a.b' },
        ...{ attempt_count: 0, retries: 0, probe: false },
      }),
    )
    const begun: number[] = []
    const told: Report[][] = []
    let [flying, most, loads] = [0, 0, 0]
    const drain = new Drain<Due>(new AttemptLog(state.storage.sql), {
      now: () => Date.now(),
      load: async (except, limit) => {
        loads += 1
        if (loads === 5 && steps.stall) await scheduler.wait(steps.stall)
        const due = open.filter(({ delivery_id }) => !except.includes(delivery_id))
        return { due: due.slice(0, limit), next_at: due.length > limit ? 0 : null, rate }
      },
      pace: async (count) => ({ count, wait: 0 }),
      kept: () => state.storage.sync(),
      attempt: async (_due, { number }, turn) => {
        await turn()
        begun.push(Date.now())
        flying += 1
        most = Math.max(most, flying)
        await scheduler.wait(took)
        flying -= 1
        return { attempt: { ...ANSWER, number }, verdict: VERDICT }
      },
      report: async (reports) => {
        told.push([...reports])
        for (const { delivery_id } of reports)
          open.splice(
            open.findIndex((one) => one.delivery_id === delivery_id),
            1,
          )
        return false
      },
    })
    expect(await drain.run()).toBeNull()
    return { begun, told, most, loads }
  })
}

/** The most that lie within any second. */
function fullest(at: readonly number[]): number {
  let [most, first] = [0, 0]
  for (const [n, time] of at.entries()) {
    while ((at[first] ?? 0) <= time - 1_000) first += 1
    most = Math.max(most, n - first + 1)
  }
  return most
}

describe('a drain', { timeout: 30_000 }, () => {
  it('makes each attempt once, four at a time, and tells of many at once', async () => {
    const { begun, told, most } = await drained(300, 2, null)
    expect(begun).toHaveLength(300)
    expect(most).toBe(IN_FLIGHT)
    expect(told.flat()).toHaveLength(300)
    expect(told.length).toBeLessThan(60)
  })

  it.each([20, 100, 250])('keeps an endpoint’s own rate of %d a second', async (rate) => {
    const { begun, loads } = await drained(rate * 3, 3, rate)
    // When it is noted down is a moment after its turn: one more or less lies within the second.
    expect(fullest(begun)).toBeLessThanOrEqual(rate + 1)
    expect(begun).toHaveLength(rate * 3)
    // What is due is read ahead, not one by one.
    expect(loads).toBeLessThan(begun.length / 2)
  })
})

describe('the slots of a rate', () => {
  /** When so many begin that come as soon as they may, `late` ms after they are told. */
  function run(rate: number, count: number, late: (n: number) => number): number[] {
    const slots = new Slots()
    const begun: number[] = []
    let now = 1_000_000
    for (let n = 0; n < count; n++) {
      now = Math.max(now, Math.ceil(slots.at(rate, now))) + late(n)
      slots.take(rate, now)
      begun.push(now)
    }
    return begun
  }

  it.each([1, 7, 50, 100, 333, 1000])('let a backlog go at %d a second, within two per cent', (rate) => {
    for (const late of [() => 0, (n: number) => n % 3, (n: number) => (n % (10 * rate) === 7 ? 60 : 0)]) {
      const count = Math.max(rate * 20, 50)
      const at = run(rate, count, late)
      expect(fullest(at)).toBeLessThanOrEqual(rate)
      const perSecond = ((count - 1) / ((at.at(-1) ?? 0) - (at[0] ?? 0))) * 1000
      expect(perSecond, String(late)).toBeGreaterThan(rate * 0.98)
      expect(perSecond).toBeLessThan(rate * 1.02)
    }
  })

  it('do not save up what was not asked for', () => {
    const slots = new Slots()
    slots.take(10, 1_000_000)
    const later = 1_060_000
    const begun: number[] = []
    for (let now = later; now < later + 1_000; now++)
      if (slots.at(10, now) <= now) {
        slots.take(10, now)
        begun.push(now)
      }
    expect(begun.length).toBeLessThanOrEqual(10)
    for (const [n, at] of begun.entries())
      if (n > 0) expect(at - (begun[n - 1] ?? 0)).toBeGreaterThanOrEqual(90)
  })

  it('hold nobody for long when the clock goes back', () => {
    const slots = new Slots()
    for (let n = 0; n < 20; n++) slots.take(10, 9_000_000 + n)
    expect(slots.at(10, 1_000_000)).toBeLessThanOrEqual(1_001_000)
  })
})

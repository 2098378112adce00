import { percentiles } from '../rounds.ts'
import type { Delay } from '../stream.ts'
import { atOnce, atRate } from './poster.ts'
import type { Receiver } from './receiver.ts'
import { type Sender, timeOf } from './sender.ts'

/** Who sends, and who gets it. */
export type Stage = { sender: Sender; receiver: Receiver }

/** How many endpoints the speed of deliveries is measured over. */
export const ENDPOINTS = 100

/** Endpoint n takes `one.n`, which nobody else takes, and the type `ten.m` of its ten. */
export const endpointsOf = (receiver: Receiver) =>
  Array.from({ length: ENDPOINTS }, (_, n) => ({
    url: `${receiver.url}/e/${n}`,
    event_types: [`one.${n}`, `ten.${Math.floor(n / 10)}`],
  }))

/** What is told of an order, some 300 bytes of it. */
const dataOf = (n: number) => ({
  order_id: `A-${n}`,
  status: 'shipped',
  total: { amount: 4_990 + n, currency: 'EUR' },
  lines: [
    { sku: 'LAMP-01', name: 'Desk lamp, brass', quantity: 1, price: 3_990 },
    { sku: 'BULB-27', name: 'Bulb, E27, warm white', quantity: 2, price: 500 },
  ],
  ship_to: { name: 'Zoë Müller', street: 'Hauptstraße 5', city: 'Köln', country: 'DE' },
})

const EVENT_ID = /msg_[0-9a-f-]{36}/

/** Sends one event and answers with its id; throws where it is refused. */
export async function sendEvent({ sender }: Stage, type: string, n: number): Promise<string> {
  const { status, text } = await sender.poster.post({ type, data: dataOf(n) })
  const id = EVENT_ID.exec(text)?.[0]
  if (status !== 201 || !id) throw new Error(`an event was answered ${status}: ${text}`)
  return id
}

/** Waits until so many requests came since `from`, and the sender has recorded the end of every delivery. */
export async function untilRecorded({ sender, receiver }: Stage, from: number, count: number): Promise<void> {
  const { arrivals } = receiver
  for (let last = performance.now(), seen = 0; arrivals.length - from < count; await sleep(2)) {
    if (arrivals.length > seen) last = performance.now()
    seen = arrivals.length
    if (performance.now() - last > 15_000)
      throw new Error(`only ${seen - from} of ${count} deliveries came, and nothing for 15 s`)
  }
  while ((await sender.open()) > 0) await sleep(10)
}

/** Runs `work`, with what the clock and the sender's processes say that each of `count` took. */
async function timed(
  stage: Stage,
  count: number,
  work: (from: number) => Promise<void>,
): Promise<Throughput> {
  const { sender, receiver } = stage
  const before = timeOf(sender.processes)
  const started = performance.now()
  await work(receiver.arrivals.length)
  const seconds = (performance.now() - started) / 1000
  return { deliveries: count, seconds, cpu: (timeOf(sender.processes) - before) / count }
}

export type Latencies = {
  accept: Delay
  fromAnswer: Delay
  fromRequest: Delay
  perSecond: number
  cpu: number
}

/** Sends so many events a second, one endpoint each by turns, for so long; the first `warmUp` ms are not counted. */
export async function measureLatency(
  stage: Stage,
  perSecond: number,
  milliseconds: number,
  warmUp: number,
): Promise<Latencies> {
  const from = stage.receiver.arrivals.length
  const count = Math.round((perSecond * (milliseconds + warmUp)) / 1000)
  const skipped = Math.round((perSecond * warmUp) / 1000)
  const sent = new Map<string, { due: number; answered: number }>()
  const before = timeOf(stage.sender.processes)
  await atRate(perSecond, count, async (n, due) => {
    const id = await sendEvent(stage, `one.${n % ENDPOINTS}`, n)
    if (n >= skipped) sent.set(id, { due, answered: performance.now() })
  })
  await untilRecorded(stage, from, count)
  const cpu = (timeOf(stage.sender.processes) - before) / count
  const arrivals = stage.receiver.arrivals.slice(from)
  const timed = arrivals.flatMap(({ id, at }) => {
    const times = sent.get(id)
    return times ? [{ at, ...times }] : []
  })
  return {
    accept: percentiles([...sent.values()].map(({ due, answered }) => answered - due)),
    fromAnswer: percentiles(timed.map(({ at, answered }) => at - answered)),
    fromRequest: percentiles(timed.map(({ at, due }) => at - due)),
    perSecond,
    cpu,
  }
}

export type Throughput = { deliveries: number; seconds: number; cpu: number }

/** Sends events as fast as they are taken and waits until every delivery is recorded. */
export function measureThroughput(
  stage: Stage,
  { fanOut, events, connections }: { fanOut: 1 | 10; events: number; connections: number },
): Promise<Throughput> {
  return timed(stage, events * fanOut, async (from) => {
    await atOnce(connections, events, async (n) => {
      await sendEvent(stage, fanOut === 1 ? `one.${n % ENDPOINTS}` : `ten.${n % 10}`, n)
    })
    await untilRecorded(stage, from, events * fanOut)
  })
}

/** Holds what is sent, lets all of it go at once, and waits until all is recorded; calls `held` in between. */
export async function measureBacklog(
  stage: Stage,
  events: number,
  held: () => Promise<void> = async () => {},
): Promise<Throughput> {
  await stage.sender.hold()
  await atOnce(16, events, async (n) => {
    await sendEvent(stage, `one.${n % ENDPOINTS}`, n)
  })
  // What follows an accepted event is done as well.
  await sleep(2_000)
  await held()
  return timed(stage, events, async (from) => {
    await stage.sender.release()
    await untilRecorded(stage, from, events)
  })
}

export const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

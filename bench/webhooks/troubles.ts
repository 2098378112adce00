import { percentiles } from '../rounds.ts'
import { atOnce, atRate } from './poster.ts'
import type { Receiver } from './receiver.ts'
import { ENDPOINTS, sendEvent, sleep, untilRecorded } from './runs.ts'
import type { Tenant } from './tenant.ts'

type Stage = { sender: Tenant; receiver: Receiver }

/** The p95 of what goes to the others, in ms, round by round: while the last endpoint answers, and while it hangs. */
export type Dead = { alive: number[]; dead: number[]; all: { alive: number; dead: number } }

/** By turns rounds in which one endpoint of a hundred answers, and rounds in which it takes each request for ever. */
export async function measureDead(stage: Stage, rounds: number, milliseconds: number): Promise<Dead> {
  const waits = { alive: [] as number[][], dead: [] as number[][] }
  for (let round = 0; round < rounds; round++) {
    // Each goes first every other time.
    const order = round % 2 === 0 ? (['alive', 'dead'] as const) : (['dead', 'alive'] as const)
    for (const kind of order) waits[kind].push(await besides(stage, `${kind}-${round}`, kind, milliseconds))
  }
  const p95 = (values: number[]) => percentiles(values).p95
  return {
    alive: waits.alive.map(p95),
    dead: waits.dead.map(p95),
    all: { alive: p95(waits.alive.flat()), dead: p95(waits.dead.flat()) },
  }
}

/** How long after its answer each event for one of the other 99 reached it. */
async function besides(
  { sender, receiver }: Stage,
  name: string,
  kind: 'alive' | 'dead',
  milliseconds: number,
): Promise<number[]> {
  const last = await sender.makeEndpoint({ url: `${receiver.url}/${name}`, event_types: [`last.${name}`] })
  if (kind === 'dead') receiver.dead.add(`/${name}`)
  const from = receiver.arrivals.length
  const count = milliseconds / 5
  const answered = new Map<string, number>()
  await atRate(200, count, async (n) => {
    const isLast = n % ENDPOINTS === ENDPOINTS - 1
    const type = isLast ? `last.${name}` : `one.${n % ENDPOINTS}`
    const id = await sendEvent({ sender, receiver }, type, n)
    if (!isLast) answered.set(id, performance.now())
  })
  const others = () => receiver.arrivals.slice(from).filter(({ id }) => answered.has(id))
  for (const until = performance.now() + 60_000; others().length < answered.size; await sleep(20))
    if (performance.now() > until) throw new Error(`${answered.size - others().length} events did not come`)
  await sender.call('DELETE', `/api/v1/webhooks/${last}`)
  while ((await sender.open()) > 0) await sleep(20)
  return others().map(({ id, at }) => at - (answered.get(id) ?? Number.NaN))
}

/** How a backlog went to an endpoint with a rate of its own. */
export type Limited = { rate: number; count: number; perSecond: number; mostInASecond: number }

/** Holds so many events for one endpoint, lets them go, and notes when each arrives. */
export async function measureLimited(stage: Stage, rate: number, count: number): Promise<Limited> {
  const { sender, receiver } = stage
  const endpoint = { url: `${receiver.url}/limited`, event_types: ['limited'], rate_limit: rate }
  const id = await sender.makeEndpoint({ ...endpoint, status: 'paused' })
  await atOnce(16, count, async (n) => {
    await sendEvent(stage, 'limited', n)
  })
  await sleep(2_000)
  const from = receiver.arrivals.length
  await sender.call('POST', `/api/v1/webhooks/${id}/enable`, {})
  await untilRecorded(stage, from, count)
  const times = receiver.arrivals.slice(from).map(({ at }) => at)
  const [first = 0, last = 0] = [times[0], times.at(-1)]
  const within = (start: number) => times.filter((at) => at >= start && at < start + 1_000).length
  const perSecond = ((times.length - 1) * 1_000) / (last - first)
  return { rate, count, perSecond, mostInASecond: Math.max(...times.map(within)) }
}

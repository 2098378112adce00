import { workerdTime } from './cpu.ts'
import { fire, type LoadResult, type Shot } from './load.ts'

/** One measured thing: the service's answer to a request beside the floor's to its own. */
export type Pair = { name: string; service: Shot; floor: Shot; floorName: string; aim: number | null }

/** `cpu` is what workerd computed for one request, in microseconds; null where the system does not tell. */
export type Speed = { perSecond: number; p50: number; p95: number; p99: number; cpu: number | null }
export type Comparison = {
  name: string
  floorName: string
  aim: number | null
  service: Speed
  floor: Speed
  /** Service over floor, of each round: the middle one, the smallest and the largest. */
  ratio: { median: number; least: number; most: number }
}

type Round = LoadResult & { cpu: number | null }

export type Pace = { rounds: number; milliseconds: number; warmUp: number; connections: number }

/** Measures both sides by turns, so that what else the machine does falls on both. */
export async function compare(pair: Pair, pace: Pace): Promise<Comparison> {
  const time = workerdTime()
  const measure = async (shot: Shot, milliseconds: number): Promise<Round> => {
    const before = time?.() ?? 0
    const result = await fire({ shot, connections: pace.connections, milliseconds })
    const cpu = time ? (time() - before) / result.answers : null
    if (result.refused !== null) throw new Error(`${shot.method} ${shot.url} answers:\n${result.refused}`)
    return { ...result, cpu }
  }
  await measure(pair.service, pace.warmUp)
  await measure(pair.floor, pace.warmUp)
  const service: Round[] = []
  const floor: Round[] = []
  for (let round = 0; round < pace.rounds; round++) {
    // Each goes first every other time: what one leaves behind must not always fall on the same other.
    const order = [
      () => measure(pair.service, pace.milliseconds),
      () => measure(pair.floor, pace.milliseconds),
    ]
    if (round % 2 === 1) order.reverse()
    const results = [await order[0]?.(), await order[1]?.()].flatMap((result) => result ?? [])
    if (round % 2 === 1) results.reverse()
    const [ours, bare] = results
    if (ours && bare) {
      service.push(ours)
      floor.push(bare)
    }
  }
  const rates = (results: Round[]) => results.map(({ answers, seconds }) => answers / seconds)
  const bare = rates(floor)
  const ratios = rates(service).map((rate, round) => rate / (bare[round] ?? Number.NaN))
  const { name, floorName, aim } = pair
  return {
    ...{ name, floorName, aim },
    service: speedOf(service, median(rates(service))),
    floor: speedOf(floor, median(bare)),
    ratio: { median: median(ratios), least: Math.min(...ratios), most: Math.max(...ratios) },
  }
}

function speedOf(results: Round[], perSecond: number): Speed {
  const latencies = results.flatMap((result) => [...result.latencies])
  const cpu = results.flatMap((result) => result.cpu ?? [])
  return { perSecond, ...percentiles(latencies), cpu: cpu.length > 0 ? median(cpu) : null }
}

export function percentiles(values: readonly number[]): { p50: number; p95: number; p99: number } {
  const sorted = Float64Array.from(values).sort()
  const at = (share: number) =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99) }
}

export function median(values: readonly number[]): number {
  return percentiles(values).p50
}

import { type Answers, addAnswers } from './answers'
import type { Latencies } from './latency'
import type { UsageLine } from './line'

/** What requests of one kind came to. */
export type Stat = {
  requests: number
  /** Those answered with 400 or more. */
  errors: number
  request_size_bytes: number
  response_size_bytes: number
  latency: Latencies
  answers?: Answers | null
}

/** How a time's requests are told apart, each way by itself. */
export const PARTS = ['endpoint', 'status', 'caller'] as const
export type Part = (typeof PARTS)[number]

/** What each endpoint, status and caller had. */
export type Parts = Record<Part, Record<string, Stat>>

export const emptyStat = (): Stat => ({
  requests: 0,
  errors: 0,
  request_size_bytes: 0,
  response_size_bytes: 0,
  latency: {},
})

export const emptyParts = (): Parts => ({ endpoint: {}, status: {}, caller: {} })

/** Adds `more` to `stat`. */
export function addStat(stat: Stat, more: Stat): void {
  stat.requests += more.requests
  stat.errors += more.errors
  stat.request_size_bytes += more.request_size_bytes
  stat.response_size_bytes += more.response_size_bytes
  const { latency } = stat
  for (const bucket in more.latency) latency[bucket] = (latency[bucket] ?? 0) + (more.latency[bucket] ?? 0)
  if (more.answers) stat.answers = addAnswers(stat.answers, more.answers)
}

/** The one of that name, made where there is none; with `most` of them there, all others share one. */
export function statOf(stats: Record<string, Stat>, name: string, most = Number.POSITIVE_INFINITY): Stat {
  const found = stats[name]
  if (found) return found
  const key = Object.keys(stats).length < most ? name : OTHERS
  const stat = stats[key] ?? emptyStat()
  stats[key] = stat
  return stat
}

/** The name that stands for all whose own would be one too many. */
export const OTHERS = 'others'
/** Names that one time keeps apart: routes and statuses are never so many, keys may be. */
export const MOST_NAMES = 1_000

/** Counts what a line says under each of its names. */
export function addLine(parts: Parts, line: UsageLine, stat: Stat): void {
  addStat(statOf(parts.endpoint, endpointName(line), MOST_NAMES), stat)
  addStat(statOf(parts.status, String(line.status), MOST_NAMES), stat)
  addStat(statOf(parts.caller, line.caller, MOST_NAMES), stat)
}

/** Adds all of `more` to `parts`. */
export function addParts(parts: Parts, more: Parts): void {
  for (const part of PARTS)
    for (const [name, stat] of Object.entries(more[part]))
      addStat(statOf(parts[part], name, MOST_NAMES), stat)
}

const endpointName = ({ method, endpoint }: UsageLine): string =>
  endpoint === OTHERS ? OTHERS : `${method} ${endpoint}`

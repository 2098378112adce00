import type { Answers } from './answers'
import type { Latencies } from './latency'

// What an isolate measured, as its Meter is told.

/** What users' requests are counted under; an API key's are under its id. */
export const USERS = 'user'

/** What comes by no credential of a user or key, but is the tenant's: signed URLs, public links, sources, agents' runs. */
export const PUBLIC = 'public'

/** Alike requests of one minute; none, where only bytes of their streams passed in it. */
export type UsageLine = {
  /** Minutes since 1970. */
  minute: number
  caller: string
  method: string
  /** The route's pattern, never a path. */
  endpoint: string
  status: number
  requests: number
  request_size_bytes: number
  response_size_bytes: number
  latency: Latencies
  /** When the last of them was answered, in milliseconds since 1970; 0 where none was. */
  last_at: number
  /** Answers of agents that ended in it: no requests, but beside those that asked for them. */
  answers?: Answers
}

/** One request that failed or was slow. */
export type Sample = {
  /** When it was answered, in milliseconds since 1970. */
  at: number
  caller: string
  method: string
  endpoint: string
  status: number
  latency_ms: number
  request_size_bytes: number
  response_size_bytes: number
  request_id: string
}

export type UsageReport = {
  /** Ascends by one with each report of this isolate; a report is sent again until an answer came, and applied once. */
  sequence: number
  lines: UsageLine[]
  samples: Sample[]
}

import { type Answers, addAnswers } from './answers'
import { BUCKETS, bucketOf, type Latencies } from './latency'
import type { Sample, UsageLine, UsageReport } from './line'
import { OTHERS } from './stat'

/** A request once it is answered. */
export type Measured = Sample

/** Bytes that passed after that, of a stream or a socket; and what an agent’s answer came to that ended with them. */
export type Passed = Omit<Sample, 'latency_ms' | 'request_id'> & { answers?: Answers }

/** Slower than this is worth a look (`GET /usage/requests`). */
export const SLOW_MS = 1_000
/** At most one a second and isolate is kept (limits.md); refusals by a limit are all alike, so fewer of them. */
const SAMPLE_EVERY_MS = 1_000
const REFUSAL_EVERY_MS = 10_000
/** Samples that wait while the Meter is silent. */
const MOST_SAMPLES = 100
/** Lines that wait while the Meter is silent; what would be one more is counted without its details. */
const MOST_LINES = 5_000

type Line = Omit<UsageLine, 'latency'> & { latency: Uint32Array }

/**
 * What one isolate measured for one tenant since its Meter took the last report. A request costs three look-ups and some
 * additions; a report waits until it was answered, and what is measured meanwhile goes with the next.
 */
export class UsageSums {
  private minute = -1
  /** The lines of this minute, by caller, endpoint, and method with status. */
  private callers = new Map<string, Map<string, Map<string | number, Line>>>()
  private lines: Line[] = []
  private firstAt = 0
  private samples: Sample[] = []
  private sampledAt = Number.NEGATIVE_INFINITY
  private refusedAt = Number.NEGATIVE_INFINITY
  private sequence = 0
  private unanswered: UsageReport | null = null

  constructor(
    private readonly mostLines = MOST_LINES,
    private readonly mostSamples = MOST_SAMPLES,
  ) {}

  /** Whether there is something that the Meter has not taken. */
  get waits(): boolean {
    return this.lines.length > 0 || this.unanswered !== null
  }

  /** When the first was measured of what no report holds yet; null where that is nothing. */
  get since(): number | null {
    return this.lines.length > 0 ? this.firstAt : null
  }

  add(request: Measured): void {
    const { at, latency_ms } = request
    if (this.lines.length === 0) this.firstAt = at
    const line = this.lineOf(request)
    line.requests += 1
    line.request_size_bytes += request.request_size_bytes
    line.response_size_bytes += request.response_size_bytes
    line.last_at = at
    const bucket = bucketOf(latency_ms)
    line.latency[bucket] = (line.latency[bucket] ?? 0) + 1
    if (request.status >= 400 || latency_ms >= SLOW_MS) this.sample(request)
  }

  /** Adds bytes to the requests of their kind, which were counted when they were answered. */
  addBytes(passed: Passed): void {
    if (this.lines.length === 0) this.firstAt = passed.at
    const line = this.lineOf(passed)
    line.request_size_bytes += passed.request_size_bytes
    line.response_size_bytes += passed.response_size_bytes
    if (passed.answers) line.answers = addAnswers(line.answers, passed.answers)
  }

  /** What to tell the Meter: the report that was not answered yet, else all that was measured; null if there is nothing. */
  report(): UsageReport | null {
    if (this.unanswered || this.lines.length === 0) return this.unanswered
    const { lines, samples } = this
    this.lines = []
    this.samples = []
    this.callers = new Map()
    this.unanswered = { sequence: ++this.sequence, lines: lines.map(printed), samples: samples.map(named) }
    return this.unanswered
  }

  /** The Meter has answered the call that carried the report. */
  answered(): void {
    this.unanswered = null
  }

  private lineOf({ at, caller, endpoint, method, status }: Passed): Line {
    const minute = Math.floor(at / 60_000)
    if (minute !== this.minute) {
      this.minute = minute
      this.callers = new Map()
    }
    const kinds = within(within(this.callers, caller), endpoint)
    // By number, since nearly every request has one of these methods, and a text would have to be made.
    const known = METHODS.indexOf(method)
    const kind = known < 0 ? `${method} ${status}` : known * 1_000 + status
    let line = kinds.get(kind)
    if (!line) {
      line = this.newLine(minute, caller, endpoint, method, status)
      kinds.set(kind, line)
    }
    return line
  }

  private newLine(minute: number, caller: string, endpoint: string, method: string, status: number): Line {
    const full = this.lines.length >= this.mostLines
    const folded = full && this.lines.findLast((line) => line.caller === OTHERS && line.status === status)
    if (folded) return folded
    const names = full ? { caller: OTHERS, endpoint: OTHERS, method: '' } : { caller, endpoint, method }
    const sizes = { requests: 0, request_size_bytes: 0, response_size_bytes: 0 }
    const line = { minute, ...names, status, ...sizes, last_at: 0, latency: new Uint32Array(BUCKETS) }
    this.lines.push(line)
    return line
  }

  private sample(request: Sample): void {
    const { at, status } = request
    // A clock that went back must not silence this for as long as it went.
    const soon = (since: number, gap: number) => at >= since && at < since + gap
    if (soon(this.sampledAt, SAMPLE_EVERY_MS) || this.samples.length >= this.mostSamples) return
    if (status === 429 && soon(this.refusedAt, REFUSAL_EVERY_MS)) return
    if (status === 429) this.refusedAt = at
    this.sampledAt = at
    this.samples.push(request)
  }
}

/** The map of a map under `key`, made where there is none. */
function within<K, L, V>(maps: Map<K, Map<L, V>>, key: K): Map<L, V> {
  let map = maps.get(key)
  if (!map) {
    map = new Map()
    maps.set(key, map)
  }
  return map
}

const METHODS = ['GET', 'POST', 'PATCH', 'DELETE', 'PUT', 'HEAD', 'OPTIONS']

function printed(line: Line): UsageLine {
  const latency: Latencies = {}
  line.latency.forEach((count, bucket) => {
    if (count > 0) latency[bucket] = count
  })
  return named({ ...line, latency })
}

/** `GET /` of a resource is registered with a slash at its end. */
function named<T extends { endpoint: string }>(measured: T): T {
  return { ...measured, endpoint: measured.endpoint.replace(/(.)\/$/, '$1') }
}

import type { Context } from '../../../data/context'
import { withinLimit } from '../../../data/metrics'
import { meterOf } from '../../../data/objects'
import type { Bindings } from '../../../env'
import { describeError, log } from '../../../lib/log'
import { tenantLimiter } from '../isolate'
import type { Defer } from '../limits/ports'
import { type AnswerCost, oneAnswer } from './answers'
import { PUBLIC, USERS } from './line'
import { type Passed, UsageSums } from './sums'

// The bytes of answers that go on: whoever holds a stream or socket counts them among those of its tenant's requests, as
// they pass. The request itself was counted when it was answered.

/** The route of an answer that goes on, and who asked for it. */
export type Streamed = { kind: string; id: string; method: string; endpoint: string; status: number }

/** Counts bytes that were sent, or received, on an answer that goes on. */
export type CountBytes = (sent: number, received?: number) => void

const counter =
  (of: Streamed, add: (passed: Passed) => void): CountBytes =>
  (response_size_bytes, request_size_bytes = 0) =>
    add({ ...lineOf(of), request_size_bytes, response_size_bytes })

const lineOf = ({ kind, id, method, endpoint, status }: Streamed) => ({
  // A public link is one that has no id.
  ...{ at: Date.now(), caller: kind === 'api_key' && id !== '' ? id : kind === 'user' ? USERS : PUBLIC },
  ...{ method, endpoint, status },
})

/** For a stream that a request holds: its isolate's lease carries the bytes. */
export function streamMeter(env: Bindings, tenantId: string, of: Streamed, defer: Defer): CountBytes {
  return counter(of, (passed) => tenantLimiter(env, tenantId).measureBytes(passed, defer))
}

/** For a socket whose caller its first frame has named: the request that opened it, and what passes from then on. */
export function socketMeter(
  ctx: Pick<Context, 'env' | 'tenant' | 'principal' | 'requestId' | 'now' | 'defer'>,
  route: Pick<Streamed, 'method' | 'endpoint' | 'status'>,
): CountBytes {
  const { env, tenant, principal, requestId, now, defer } = ctx
  const of = { kind: principal.kind, id: principal.id ?? '', ...route }
  const sizes = { request_size_bytes: 0, response_size_bytes: 0 }
  const line = lineOf(of)
  const latency_ms = Math.max(0, line.at - now)
  tenantLimiter(env, tenant.id).measure({ ...line, ...sizes, latency_ms, request_id: requestId }, defer)
  return streamMeter(env, tenant.id, of, defer)
}

/** For an agent’s answer that a request waited for: its isolate’s lease carries what that came to. */
export function meterAnswer(
  env: Bindings,
  tenantId: string,
  of: Streamed,
  cost: AnswerCost,
  defer: Defer,
): void {
  const passed = { ...lineOf(of), request_size_bytes: 0, response_size_bytes: 0, answers: oneAnswer(cost) }
  tenantLimiter(env, tenantId).measureBytes(passed, defer)
}

/** Once nothing more has passed for so long it is told, so that an object whose streams are idle can sleep. */
const QUIET_MS = 1_000
/** No byte is told later. */
const LATEST_MS = 8_000
/** The Meter is asked again so long after it did not answer. */
const AGAIN_MS = 5_000

/** For the streams and sockets that an object holds: its own reports, and no timer that outlasts them. */
export class StreamUsage {
  private readonly id = crypto.randomUUID()
  private readonly sums = new UsageSums()
  private lastAt = 0
  private timer: ReturnType<typeof setTimeout> | null = null

  constructor(
    private readonly env: Pick<Bindings, 'DB' | 'METERS'>,
    private readonly tenantId: string,
  ) {}

  /** What counts the bytes of one stream. */
  of(streamed: Streamed): CountBytes {
    return counter(streamed, (passed) => {
      this.sums.addBytes(passed)
      this.lastAt = passed.at
      this.arm(QUIET_MS)
    })
  }

  private arm(ms: number): void {
    this.timer ??= setTimeout(() => {
      this.timer = null
      const now = Date.now()
      const goesOn = Math.abs(now - this.lastAt) < QUIET_MS
      if (goesOn && Math.abs(now - (this.sums.since ?? now)) < LATEST_MS) this.arm(QUIET_MS)
      else void this.tell()
    }, ms)
  }

  private async tell(): Promise<void> {
    try {
      for (let report = this.sums.report(); report; report = this.sums.report()) {
        const told = meterOf(this.env, this.tenantId).then((meter) => meter.takeUsage(this.id, report))
        await withinLimit(told, AGAIN_MS)
        this.sums.answered()
      }
    } catch (error) {
      log.warn('stream_bytes_untold', { tenant_id: this.tenantId, cause: describeError(error) })
      this.arm(AGAIN_MS)
    }
  }
}

import { meterOf } from '../../../data/objects'
import type { Bindings } from '../../../env'
import { log } from '../../../lib/log'
import { type Problem, problem } from '../../../lib/problem'
import type { StreamReport, StreamUse } from '../meter/streams'

/** Longer than this nobody waits for the Meter, which may be asking others (streams.ts). */
const PATIENCE_MS = 2_000
/** When others may have left: nobody knows when they will. */
const RETRY_AFTER_S = 10

type Admission = (StreamUse & { admitted: boolean }) | null

/** The streams and sockets that one object holds, as its tenant's Meter hears of them. */
export class OpenStreams {
  private readonly life = crypto.randomUUID()
  private sequence = 0
  /** Admitted, or asking to be, and not yet among those that are counted. */
  private opening = 0
  private reporting = false
  private changed = false

  constructor(
    private readonly env: Pick<Bindings, 'DB' | 'METERS'>,
    private readonly tenantId: string,
    private readonly holder: string,
    /** How many are open. */
    private readonly count: () => number,
  ) {}

  /** What the Meter is told, also when it asks. */
  report(): StreamReport {
    const { holder, life } = this
    return { holder, life, sequence: ++this.sequence, open: this.count() + this.opening }
  }

  /**
   * Runs `open`, which makes one more, if the tenant may have it; 429 `rate_limited`. A Meter that does not answer
   * refuses nobody. `from` is the tenant that it is for, where that is not the one it counts in: what ends there ends it.
   */
  async admit<T>(open: () => T, from?: string): Promise<T> {
    const before = this.sequence
    this.opening += 1
    let answer: Admission
    try {
      answer = await this.ask()
    } finally {
      this.opening -= 1
    }
    if (!answer || answer.admitted) {
      if (from !== undefined) await this.noteAt(from)
      return open()
    }
    // Who asked meanwhile has counted this one in.
    if (this.sequence > before + 1) await this.tell()
    throw full(answer.limit)
  }

  private async noteAt(home: string): Promise<void> {
    const { holder, tenantId: tenant_id } = this
    const noted = meterOf(this.env, home).then((meter) => meter.noteHost({ holder, tenant_id }))
    const late = scheduler.wait(PATIENCE_MS).then(() => {
      throw new Error(`no answer within ${PATIENCE_MS} ms`)
    })
    // It ends with what would come next, then.
    await Promise.race([noted, late]).catch((error: unknown) =>
      log.warn('guest_not_noted', { tenant_id, cause: String(error) }),
    )
  }

  private ask(): Promise<Admission> {
    const report = this.report()
    const asked = meterOf(this.env, this.tenantId).then((meter) => meter.openStream(report))
    const answer = asked.catch((error: unknown) => {
      log.warn('streams_uncounted', { tenant_id: this.tenantId, cause: String(error) })
      return null
    })
    return Promise.race([answer, scheduler.wait(PATIENCE_MS).then(() => null)])
  }

  /** Tells that some have closed. One word at a time: what closes meanwhile goes with the next. */
  async tell(): Promise<void> {
    this.changed = true
    if (this.reporting) return
    this.reporting = true
    try {
      while (this.changed) {
        this.changed = false
        const meter = await meterOf(this.env, this.tenantId)
        await meter.noteStreams(this.report())
      }
    } catch (error) {
      // The Meter asks before it refuses anyone.
      log.warn('streams_uncounted', { tenant_id: this.tenantId, cause: String(error) })
    } finally {
      this.reporting = false
    }
  }
}

/** 429 where as many are open as may be, with the fields of every answer that was counted (limits.md). */
function full(limit: number): Problem {
  const seconds = String(RETRY_AFTER_S)
  return problem('rate_limited', `The limit open_streams is reached: ${limit} at a time`, {
    headers: {
      'Retry-After': seconds,
      'X-RateLimit-Limit': String(limit),
      'X-RateLimit-Remaining': '0',
      'X-RateLimit-Reset': seconds,
      // The draft's unit of what is counted by how many there are at a time.
      'RateLimit-Policy': `"open_streams";q=${limit};qu="concurrent-requests"`,
      RateLimit: `"open_streams";r=0;t=${seconds}`,
    },
    details: { window: 'open_streams', limit, remaining: 0, retry_after: RETRY_AFTER_S },
  })
}

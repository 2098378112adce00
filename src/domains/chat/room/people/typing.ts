import { log as logger } from '../../../../lib/log'
import { personOf } from '../caller'
import { frameOf } from '../log/protocol'
import type { Audience } from '../readers/audience'
import type { Reader } from '../readers/reader'

/** Who has not said for so long that they type does not any more. */
export const TYPING_MS = 6_000
/** Who goes on typing is said to again after this. */
const AGAIN_MS = 3_000

type Typist = { until: number; saidAt: number }

/** Who is writing something just now. It is not kept anywhere, and ends by itself. */
export class Typing {
  private readonly typists = new Map<string, Typist>()
  private timer: ReturnType<typeof setTimeout> | null = null

  constructor(private readonly audience: Audience) {}

  /** Whether it was said so lately that nothing is to be done. */
  isKnown(userId: string): boolean {
    return Date.now() - (this.typists.get(userId)?.saidAt ?? Number.NEGATIVE_INFINITY) < AGAIN_MS
  }

  start(userId: string): void {
    const now = Date.now()
    const saidAt = this.isKnown(userId) ? (this.typists.get(userId)?.saidAt ?? now) : now
    this.typists.set(userId, { until: now + TYPING_MS, saidAt })
    if (saidAt === now) this.tell(userId, true)
    this.timer ??= setTimeout(() => this.expire(), TYPING_MS)
  }

  /** Ends it before its time; harmless where it is none. */
  stop(userId: string): void {
    if (this.typists.delete(userId)) this.tell(userId, false)
    if (this.typists.size > 0 || this.timer === null) return
    clearTimeout(this.timer)
    this.timer = null
  }

  /** Tells who came who types. */
  greet(reader: Reader): void {
    for (const userId of this.typists.keys()) this.tell(userId, true, reader)
  }

  private expire(): void {
    this.timer = null
    const now = Date.now()
    for (const [userId, { until }] of this.typists) if (until <= now) this.stop(userId)
    const next = Math.min(...[...this.typists.values()].map(({ until }) => until))
    if (this.typists.size > 0) this.timer = setTimeout(() => this.expire(), Math.max(next - now, 0))
  }

  /** All but the typist’s own connections. */
  private tell(user_id: string, typing: boolean, only?: Reader): void {
    const data = { user_id, typing, ...(typing ? { expires_in_ms: TYPING_MS } : {}) }
    const to = (reader: Reader) =>
      (only === undefined || reader === only) && personOf(reader.caller) !== user_id
    this.audience.say(frameOf(null, 'typing', data), to).catch((error: unknown) => {
      logger.warn('typing_not_told', { cause: String(error) })
    })
  }
}

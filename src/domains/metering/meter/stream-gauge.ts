import { log } from '../../../lib/log'

/** Told at once, and then at most this often; well below the ten seconds after which an idle object may be gone. */
const TELL_EVERY_MS = 5_000
/** What does not change is told again, for the metrics forget after a day who says nothing. */
const REFRESH_MS = 3600_000

/** Keeps the metrics told of how many streams are open, without a word where nothing changed. */
export class StreamGauge {
  private told: number | null = null
  private toldAt = Number.NEGATIVE_INFINITY
  private arranged = false

  constructor(
    private readonly read: () => number,
    private readonly tell: (open: number) => Promise<void>,
    private readonly defer: (work: Promise<unknown>) => void,
  ) {}

  /** To be called after whatever may have changed it. */
  touch(now: number): void {
    const fresh = Math.abs(now - this.toldAt)
    if (this.arranged || (this.read() === this.told && fresh < REFRESH_MS)) return
    this.arranged = true
    this.defer(this.send(fresh < TELL_EVERY_MS ? TELL_EVERY_MS - fresh : 0))
  }

  private async send(wait: number): Promise<void> {
    if (wait > 0) await scheduler.wait(wait)
    this.arranged = false
    const open = this.read()
    this.toldAt = Date.now()
    try {
      await this.tell(open)
      this.told = open
      // What changed while it was on its way.
      this.touch(Date.now())
    } catch (error) {
      // Told with the next change, whatever it is.
      this.told = null
      log.warn('streams_untold', { cause: String(error) })
    }
  }
}

import type { CountBytes } from '../../metering/usage/streamed'
import type { Reader } from './audience'
import type { Caller } from './caller'
import { Passed } from './passed'
import { Pipe } from './pipe'
import { type Frame, MAX_EVENT, type RoomEvent, RUN_EVENTS } from './protocol'
import { DELETED, type Loss } from './rights'
import { COMMENT, COMMENT_MS } from './sse'

/**
 * The sender’s own stream: one run from its first entry to its last, at the reader’s own pace. One that is slow reads on
 * from the log when it has taken what it was given.
 */
export class RunReader implements Reader {
  backlog: Iterator<Frame> | null = null
  private readonly pipe: Pipe
  private readonly passed: Passed
  private readonly timer: ReturnType<typeof setInterval>
  readonly readable: ReadableStream<Uint8Array>

  constructor(
    readonly caller: Caller,
    private readonly run: { first_seq: number; last_seq: number | null },
    private readonly events: { wantsMore(reader: RunReader): void; gone(reader: RunReader): void },
    options: { queueBytes?: number; count?: CountBytes } = {},
  ) {
    this.passed = new Passed(options.count)
    const { readable, writable } = new IdentityTransformStream()
    this.readable = readable
    const on = {
      drained: () => events.wantsMore(this),
      gone: () => this.leave(),
      wrote: (chunk: Uint8Array) => this.passed.wrote(chunk),
    }
    this.pipe = new Pipe(writable.getWriter(), on, options.queueBytes)
    this.timer = setInterval(() => this.comment(), COMMENT_MS)
  }

  wants(event: RoomEvent): boolean {
    const { first_seq, last_seq } = this.run
    return RUN_EVENTS.has(event.type) && event.seq > first_seq && event.seq <= (last_seq ?? event.seq)
  }

  ready(): boolean {
    return this.pipe.fits(MAX_EVENT)
  }

  take(frame: Frame): boolean {
    if (!this.pipe.offer(frame.sse)) return false
    if (frame.type === 'done' || frame.type === 'error') this.pipe.close()
    return true
  }

  /** What stands before the first event. */
  greet(words: Uint8Array): void {
    this.pipe.offer(words)
  }

  end(loss: Loss): void {
    if (loss !== DELETED) this.pipe.drop()
    this.pipe.close()
  }

  /** The client has gone. */
  leave(): void {
    clearInterval(this.timer)
    this.pipe.abort()
    this.passed.settle()
    this.events.gone(this)
  }

  private comment(): void {
    this.pipe.check(Date.now())
    if (this.pipe.idle) this.pipe.offer(COMMENT)
  }
}

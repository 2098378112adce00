import type { CountBytes } from '../../../metering/usage/streamed'
import type { Loss } from '../../../realtime/rights'
import type { Caller } from '../caller'
import { asEvents } from '../formats/events'
import type { Telling } from '../formats/format'
import { type Frame, MAX_EVENT, type RoomEvent } from '../log/protocol'
import { DELETED } from '../refusal'
import { Passed } from './passed'
import { Pipe } from './pipe'
import type { Reader } from './reader'
import { COMMENT, COMMENT_MS } from './sse'

type Options = { queueBytes?: number; count?: CountBytes; telling?: Telling }

/**
 * One run from its first entry to its last, in the words that its reader wants and at the reader’s own pace. One that is
 * slow reads on from the log when it has taken what it was given.
 */
export class RunReader implements Reader {
  backlog: Iterator<Frame> | null = null
  private readonly pipe: Pipe
  private readonly passed: Passed
  private readonly telling: Telling
  private readonly timer: ReturnType<typeof setInterval>
  /** A frame had no room: none is asked for before what waits was taken. */
  private full = false
  readonly readable: ReadableStream<Uint8Array>

  constructor(
    readonly caller: Caller,
    private readonly run: { first_seq: number; last_seq: number | null },
    private readonly events: { wantsMore(reader: RunReader): void; gone(reader: RunReader): void },
    options: Options = {},
  ) {
    this.passed = new Passed(options.count)
    this.telling = options.telling ?? asEvents
    const { readable, writable } = new IdentityTransformStream()
    this.readable = readable
    const on = {
      drained: () => {
        this.full = false
        events.wantsMore(this)
      },
      gone: () => this.leave(),
      wrote: (chunk: Uint8Array) => this.passed.wrote(chunk),
    }
    this.pipe = new Pipe(writable.getWriter(), on, options.queueBytes)
    this.pipe.offer(this.telling.greeting)
    this.timer = setInterval(() => this.comment(), COMMENT_MS)
  }

  wants(event: RoomEvent): boolean {
    const { first_seq, last_seq } = this.run
    return this.telling.types.has(event.type) && event.seq > first_seq && event.seq <= (last_seq ?? event.seq)
  }

  ready(): boolean {
    return !this.full && this.pipe.fits(MAX_EVENT)
  }

  take(frame: Frame): boolean {
    const chunks = this.telling.of(frame)
    this.full = !this.pipe.fits(chunks.reduce((bytes, chunk) => bytes + chunk.byteLength, 0))
    if (this.full) return false
    for (const chunk of chunks) this.pipe.offer(chunk)
    this.telling.told(frame)
    if (frame.type !== 'done' && frame.type !== 'error') return true
    this.pipe.close()
    // What the log says after the run is not read.
    this.backlog = null
    return true
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

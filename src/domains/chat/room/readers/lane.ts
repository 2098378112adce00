import type { CountBytes } from '../../../metering/usage/streamed'
import { QUEUE_BYTES } from './pipe'
import { inOne } from './together'

type LaneEvents = {
  /** All that was offered has been taken. */
  drained(): void
  /** The Worker at its other end has gone, or never came. */
  broken(): void
  count: CountBytes
}

/**
 * The direct way from the object to the Worker of one SSE reader, while much is said: a stream costs half of what a
 * message over the reader’s socket does. What comes while the last was not taken waits, and goes out as one.
 */
export class Lane {
  readonly readable: ReadableStream<Uint8Array>
  private controller: ReadableStreamDefaultController<Uint8Array> | null = null
  private queue: Uint8Array[] = []
  private bytes = 0
  /** Nothing waits, and the next is taken as it comes. */
  private wanting = false
  private over = false
  private uncounted = 0
  private unmoved = 0

  constructor(private readonly events: LaneEvents) {
    // Nothing is asked for ahead of the reader: what it did not take yet stays here, where it is counted.
    this.readable = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.controller = controller
        },
        pull: () => this.next(),
        cancel: () => this.leave(),
      },
      { highWaterMark: 0 },
    )
  }

  get ended(): boolean {
    return this.over
  }

  fits(bytes: number): boolean {
    return this.bytes + bytes <= QUEUE_BYTES
  }

  /** Takes whole events; false, and nothing is taken, where too much waits. */
  offer(events: Uint8Array): boolean {
    if (this.over) return true
    if (!this.fits(events.byteLength)) return false
    this.uncounted += events.byteLength
    if (this.wanting) {
      this.wanting = false
      this.controller?.enqueue(events)
    } else {
      this.queue.push(events)
      this.bytes += events.byteLength
    }
    return true
  }

  private next(): void {
    this.unmoved = 0
    if (this.queue.length > 0) this.controller?.enqueue(this.joined())
    else if (this.over) this.controller?.close()
    else {
      this.wanting = true
      this.events.drained()
    }
  }

  private joined(): Uint8Array {
    const all = inOne(this.queue)
    this.queue = []
    this.bytes = 0
    return all
  }

  /** Counts what passed; how often in a row it was found waiting for the reader. */
  look(): number {
    if (this.uncounted > 0) this.events.count(this.uncounted)
    this.uncounted = 0
    this.unmoved = this.wanting || this.over ? 0 : this.unmoved + 1
    return this.unmoved
  }

  /** Takes no more; ends once the reader has what waits, or without that. */
  end(drop = false): void {
    if (this.over) return
    this.over = true
    this.look()
    if (drop) this.queue = []
    if (this.wanting) this.controller?.close()
  }

  /** The other end is gone. */
  leave(): void {
    if (this.over) return
    this.end(true)
    this.events.broken()
  }
}

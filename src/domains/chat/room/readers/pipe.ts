/** What may wait for a slow reader; beyond it the reader is brought up to date in another way. */
export const QUEUE_BYTES = 256 * 1024
/** A reader that took nothing for so long is given up; its browser reconnects if it is still there. */
export const STUCK_MS = 60_000

type PipeEvents = {
  /** All that was offered has been taken. */
  drained(): void
  /** The reader has gone, or was given up. */
  gone(): void
  /** It has taken that. */
  wrote?(chunk: Uint8Array): void
}

type Splice = { stream: Promise<ReadableStream<Uint8Array>>; writable: WritableStream<Uint8Array> }

/**
 * A bounded queue in front of one reader. `offer` never waits: one slow reader can’t hold up the others. One write is
 * under way at a time, so that what waits can still be dropped.
 */
export class Pipe {
  private readonly queue: (Uint8Array | Splice)[] = []
  private bytes = 0
  private writingSince: number | null = null
  private closing = false
  private ended = false
  /** Set while a stream is passed through. */
  private passing: AbortController | null = null

  constructor(
    private writer: WritableStreamDefaultWriter<Uint8Array>,
    private readonly events: PipeEvents,
    private readonly limit = QUEUE_BYTES,
  ) {
    this.hold(writer)
  }

  private hold(writer: WritableStreamDefaultWriter<Uint8Array>): void {
    this.writer = writer
    writer.closed.catch(() => {
      if (this.passing === null) this.end()
    })
  }

  get idle(): boolean {
    return this.writingSince === null
  }

  /** Whether so many bytes can be queued now. */
  fits(bytes: number): boolean {
    return this.bytes + bytes <= this.limit
  }

  /** Queues one write; false, and nothing is queued, where the limit would be passed. */
  offer(chunk: Uint8Array): boolean {
    if (this.ended || this.closing) return true
    if (!this.fits(chunk.byteLength)) return false
    this.queue.push(chunk)
    this.bytes += chunk.byteLength
    if (this.idle) void this.write()
    return true
  }

  /**
   * Queues all of a stream, which is passed through to `writable`, the writer’s own; what waits of it is not counted.
   */
  splice(stream: Promise<ReadableStream<Uint8Array>>, writable: WritableStream<Uint8Array>): void {
    if (this.ended || this.closing) return
    this.queue.push({ stream, writable })
    if (this.idle) void this.write()
  }

  /** Forgets what has not been written yet. */
  drop(): void {
    for (const one of this.queue.splice(0))
      if ('stream' in one) one.stream.then((stream) => stream.cancel()).catch(() => {})
    this.bytes = 0
  }

  /** Gives the reader up if it has taken nothing for too long; called now and then by the owner. */
  check(now: number): void {
    if (this.passing === null && this.writingSince !== null && now - this.writingSince > STUCK_MS)
      this.abort()
  }

  /** Ends the stream when all that waits was written. */
  close(): void {
    this.closing = true
    if (this.idle) void this.finish()
  }

  /** Ends the stream now. */
  abort(): void {
    if (this.passing) this.passing.abort()
    else this.writer.abort().catch(() => {})
    this.end()
  }

  private async write(): Promise<void> {
    try {
      for (let chunk = this.queue.shift(); chunk && !this.ended; chunk = this.queue.shift()) {
        this.writingSince = Date.now()
        if ('stream' in chunk) {
          await this.pass(chunk)
          continue
        }
        this.bytes -= chunk.byteLength
        await this.writer.write(chunk)
        this.events.wrote?.(chunk)
      }
    } catch {
      return this.end()
    }
    this.writingSince = null
    if (this.ended) return
    if (this.closing) return this.finish()
    this.events.drained()
  }

  private async pass({ stream, writable }: Splice): Promise<void> {
    const source = await stream
    if (this.ended) return source.cancel()
    const passing = new AbortController()
    this.passing = passing
    this.writer.releaseLock()
    await source.pipeTo(writable, { preventClose: true, signal: passing.signal })
    this.passing = null
    if (!this.ended) this.hold(writable.getWriter())
  }

  private async finish(): Promise<void> {
    await this.writer.close().catch(() => {})
    this.end()
  }

  private end(): void {
    if (this.ended) return
    this.ended = true
    this.drop()
    this.events.gone()
  }
}

import type { Reader } from './audience'
import type { Caller } from './caller'
import { Pipe } from './pipe'
import { type Frame, MAX_EVENT, type RoomEvent, RUN_EVENTS } from './protocol'
import type { Loss } from './rights'
import { COMMENT, COMMENT_MS } from './sse'

/** Backlog given to the Worker of an SSE reader before it says that its reader has taken it. */
const PAGE_BYTES = 64 * 1024
/**
 * What a WebSocket is sent without a sign of life before it counts as too slow. The runtime does not tell how much of
 * it waits (`bufferedAmount` is missing), so this is far above the 256 KiB of the other readers.
 */
const UNANSWERED_BYTES = 8 * 1024 * 1024

/** What lies beside a sleeping socket (2 KiB at most). */
export type Attachment = { caller: Caller; format: 'sse' | 'ws'; behind: boolean }

/** A socket that sleeps with the object: a client’s WebSocket, or the Worker that holds a client’s SSE response. */
export class SocketReader implements Reader {
  readonly caller: Caller
  private frames: Iterator<Frame> | null = null
  private attachment: Attachment
  private sinceGo = 0
  private unanswered = 0
  private heardAt = Date.now()

  constructor(
    readonly socket: WebSocket,
    private readonly lastPing: (socket: WebSocket) => Date | null,
  ) {
    this.attachment = socket.deserializeAttachment() as Attachment
    this.caller = this.attachment.caller
  }

  get format(): 'sse' | 'ws' {
    return this.attachment.format
  }

  /** Whether the object went to sleep before it had given all: what was left is not known any more. */
  get lost(): boolean {
    return this.attachment.behind && this.frames === null
  }

  get backlog(): Iterator<Frame> | null {
    return this.frames
  }

  set backlog(frames: Iterator<Frame> | null) {
    this.frames = frames
    if (this.attachment.behind === (frames !== null)) return
    this.attachment = { ...this.attachment, behind: frames !== null }
    this.socket.serializeAttachment(this.attachment)
  }

  wants(): boolean {
    return true
  }

  ready(): boolean {
    return this.format === 'ws' || this.sinceGo < PAGE_BYTES
  }

  take(frame: Frame): boolean {
    if (this.format === 'ws') return this.answer(frame.text)
    this.send(frame.sse)
    if (this.frames) {
      this.sinceGo += frame.sse.byteLength
      // The word on which the Worker says `more` once its reader has taken all.
      if (!this.ready()) this.send('pause')
    }
    return true
  }

  /** The Worker’s reader has taken what it was given. */
  go(): void {
    this.sinceGo = 0
  }

  /** The client gave a sign of life. */
  heard(): void {
    this.heardAt = Date.now()
    this.unanswered = 0
  }

  /** Sends a WebSocket message, but to one that is too slow. */
  answer(text: string): boolean {
    this.unanswered += text.length
    if (this.unanswered > UNANSWERED_BYTES) {
      const ping = this.lastPing(this.socket)?.getTime() ?? 0
      if (ping <= this.heardAt) this.close(4409, 'too slow: reconnect with the id of the last event')
      else this.heard()
    }
    this.send(text)
    return true
  }

  end(loss: Loss): void {
    this.close(loss.code, loss.reason)
  }

  close(code: number, reason: string): void {
    try {
      this.socket.close(code, reason)
    } catch {
      // It is closed already.
    }
  }

  private send(data: string | Uint8Array): void {
    try {
      this.socket.send(data)
    } catch {
      // The client has gone; the runtime says so by webSocketClose.
    }
  }
}

/**
 * The sender’s own stream: one run from its first entry to its last, at the reader’s own pace. One that is slow reads on
 * from the log when it has taken what it was given.
 */
export class RunReader implements Reader {
  backlog: Iterator<Frame> | null = null
  private readonly pipe: Pipe
  private readonly timer: ReturnType<typeof setInterval>
  readonly readable: ReadableStream<Uint8Array>

  constructor(
    readonly caller: Caller,
    private readonly run: { first_seq: number; last_seq: number | null },
    private readonly events: { wantsMore(reader: RunReader): void; gone(reader: RunReader): void },
    queueBytes?: number,
  ) {
    const { readable, writable } = new IdentityTransformStream()
    this.readable = readable
    const on = { drained: () => events.wantsMore(this), gone: () => this.leave() }
    this.pipe = new Pipe(writable.getWriter(), on, queueBytes)
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

  end(): void {
    this.pipe.drop()
    this.pipe.close()
  }

  /** The client has gone. */
  leave(): void {
    clearInterval(this.timer)
    this.pipe.abort()
    this.events.gone(this)
  }

  private comment(): void {
    this.pipe.check(Date.now())
    if (this.pipe.idle) this.pipe.offer(COMMENT)
  }
}

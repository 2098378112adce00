import type { CountBytes } from '../../../metering/usage/streamed'
import { DELETED } from '../refusal'
import { ECHO } from './crowd'
import { Passed } from './passed'
import { Pipe } from './pipe'
import { COMMENT, COMMENT_MS, RETRY } from './sse'

type Options = {
  commentMs?: number
  queueBytes?: number
  count?: CountBytes
  /** Fetches the stream that the object has asked to be fetched by that word. */
  lane?: (id: string) => Promise<ReadableStream<Uint8Array> | null>
}

/**
 * A client’s SSE response over a socket to the chat’s object: the object can sleep while the response stays open. Binary
 * messages are events, ready to write; words tell how to go on. A reader that is too slow loses what waits for it and is
 * brought to the chat as it stands.
 */
export function streamOver(
  socket: WebSocket,
  signal: AbortSignal | null = null,
  options: Options = {},
): ReadableStream<Uint8Array> {
  const { readable, writable } = new IdentityTransformStream()
  const held = new HeldStream(socket, writable, options)
  signal?.addEventListener('abort', () => held.leave())
  return readable
}

class HeldStream {
  private readonly pipe: Pipe
  private readonly passed: Passed
  private readonly timer: ReturnType<typeof setInterval>
  /** The object waits for `more`. */
  private paused = false
  /** Events were dropped: nothing is written until the object begins anew. */
  private dropping = false
  private asked = false
  /** The object’s own stream, on its way. */
  private lane: Promise<ReadableStream<Uint8Array> | null> | null = null

  constructor(
    private readonly socket: WebSocket,
    private readonly writable: WritableStream<Uint8Array>,
    private readonly options: Options,
  ) {
    const { commentMs = COMMENT_MS, queueBytes, count } = options
    this.passed = new Passed(count)
    const on = {
      drained: () => this.goOn(),
      gone: () => this.leave(),
      wrote: (chunk: Uint8Array) => this.passed.wrote(chunk),
    }
    this.pipe = new Pipe(writable.getWriter(), on, queueBytes)
    this.pipe.offer(RETRY)
    this.timer = setInterval(() => this.comment(), commentMs)
    socket.binaryType = 'arraybuffer'
    socket.addEventListener('message', ({ data }) => this.hear(data))
    socket.addEventListener('close', ({ code, reason }) => {
      if ((code === 4401 || code === 4403) && reason !== DELETED.reason) this.pipe.drop()
      if (code === 4409) this.leave()
      else this.pipe.close()
    })
    socket.addEventListener('error', () => this.pipe.close())
    socket.accept()
  }

  /** The client has gone, or takes nothing any more. */
  leave(): void {
    clearInterval(this.timer)
    this.pipe.abort()
    this.passed.settle()
    try {
      this.socket.close(1000, 'the reader has gone')
    } catch {
      // The object closed it before.
    }
  }

  private hear(data: unknown): void {
    if (data instanceof ArrayBuffer) this.write(new Uint8Array(data))
    else if (data === ECHO) this.say(ECHO)
    else if (data === 'turn') this.turn()
    else if (typeof data === 'string' && data.startsWith('lane:')) this.fetchLane(data.slice(5))
    else {
      this.paused = data === 'pause'
      if (data === 'fresh') {
        this.dropping = false
        this.asked = false
      }
      if (this.pipe.idle) this.goOn()
    }
  }

  private fetchLane(id: string): void {
    if (this.dropping || !this.options.lane) return
    this.lane = this.options.lane(id)
    // Whether it matters is seen when its turn comes.
    this.lane.catch(() => {})
  }

  /** What follows comes by the lane, until that ends. */
  private turn(): void {
    const lane = this.lane?.then((stream) => {
      if (!stream) throw new Error('the chat’s object has no stream')
      return stream
    })
    this.lane = null
    if (!lane) return
    if (this.dropping) lane.then((stream) => stream.cancel()).catch(() => {})
    else this.pipe.splice(lane, this.writable)
  }

  private write(event: Uint8Array): void {
    if (this.dropping || this.pipe.offer(event)) return
    this.pipe.drop()
    this.dropping = true
    this.paused = false
  }

  /** All that was there is written: asks for what comes next. */
  private goOn(): void {
    if (this.dropping && !this.asked) {
      this.asked = true
      this.say('snapshot')
    } else if (this.paused && !this.dropping) {
      this.paused = false
      this.say('more')
    }
  }

  private say(word: string): void {
    try {
      this.socket.send(word)
    } catch {
      // It was closed from this side, and what came before that is still read.
    }
  }

  private comment(): void {
    this.pipe.check(Date.now())
    if (this.pipe.idle) this.pipe.offer(COMMENT)
  }
}

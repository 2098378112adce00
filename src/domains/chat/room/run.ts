import { log as logger } from '../../../lib/log'
import { type UpstreamEvent, UpstreamFailure } from '../agents/upstreams/upstream'
import type { Usage } from '../messages/schema'
import { cut, type DataOf, type Finish, MAX_DELTA } from './protocol'

/** How a run ended. */
export type RunEnd =
  | { kind: 'done'; finish: Finish; usage: Usage }
  | { kind: 'error'; code: string; message: string; retryable: boolean; usage: Usage }

/** What a run does to the chat. Pieces of text are numbered and sent on at once and written by `flush`. */
export type RunSink = {
  status(data: DataOf['status']): void
  /** Takes one frame’s text; true where enough has come together for a row. */
  text(content: string): boolean
  flush(): void
  end(end: RunEnd): void
}

export type Timings = {
  /** Least time between two frames, the first excepted. */
  frameMs: number
  /** Longest time that sent text waits for its row. */
  rowMs: number
}

/** The contract’s numbers: a reader sees 20 frames a second, a crash loses a quarter of a second of text. */
export const TIMINGS: Timings = { frameMs: 50, rowMs: 250 }

/**
 * One answer on its way: takes what the upstream says, cuts it into frames and rows, and ends exactly once, be it by the
 * upstream’s end, its failure or `stop`. It knows no reader and waits for none.
 */
export class Run {
  private readonly started = Date.now()
  private readonly controller = new AbortController()
  private firstTokenAt: number | null = null
  private lastFrameAt = Number.NEGATIVE_INFINITY
  private waiting = ''
  private frameTimer: ReturnType<typeof setTimeout> | null = null
  private rowTimer: ReturnType<typeof setTimeout> | null = null
  private finish: Finish = 'stop'
  private tokens: { prompt_tokens: number | null; completion_tokens: number | null } | null = null
  private over = false

  constructor(
    readonly id: string,
    private readonly sink: RunSink,
    private readonly timings: Timings = TIMINGS,
  ) {}

  /** Aborts when the run is stopped: the upstream’s call goes with it. */
  get signal(): AbortSignal {
    return this.controller.signal
  }

  /** Takes the upstream’s events to their end; never rejects. */
  async pump(upstream: () => AsyncIterable<UpstreamEvent>): Promise<void> {
    try {
      for await (const event of upstream()) {
        if (this.over) return
        this.take(event)
      }
      this.conclude({ kind: 'done', finish: this.finish, usage: this.usage() })
    } catch (error) {
      this.fail(error)
    }
  }

  /** Ends the run now with the text there is; without effect on one that is over. */
  stop(): void {
    this.conclude({ kind: 'done', finish: 'stopped', usage: this.usage() })
    this.controller.abort()
  }

  private take(event: UpstreamEvent): void {
    switch (event.kind) {
      case 'delta':
        this.takeText(event.text)
        break
      case 'status':
        this.frame()
        this.sink.status({ description: event.description, level: event.level, done: false })
        break
      case 'usage':
        this.tokens = {
          prompt_tokens: event.prompt_tokens ?? this.tokens?.prompt_tokens ?? null,
          completion_tokens: event.completion_tokens ?? this.tokens?.completion_tokens ?? null,
        }
        break
      case 'finish':
        this.finish = event.reason
    }
  }

  private takeText(text: string): void {
    if (text === '') return
    const now = Date.now()
    this.firstTokenAt ??= now
    this.waiting += text
    const due = this.lastFrameAt + this.timings.frameMs - now
    if (due <= 0) this.frame()
    else this.frameTimer ??= setTimeout(() => this.frame(), due)
  }

  /** Sends what has come since the last frame. Half a character waits for its other half, but for the end. */
  private frame(last = false): void {
    if (this.frameTimer !== null) clearTimeout(this.frameTimer)
    this.frameTimer = null
    const half = !last && endsInHalf(this.waiting) ? this.waiting.slice(-1) : ''
    let rest = (half ? this.waiting.slice(0, -1) : this.waiting).toWellFormed()
    this.waiting = half
    if (rest === '') return
    this.lastFrameAt = Date.now()
    while (rest !== '') {
      const [piece, more] = cut(rest, MAX_DELTA)
      if (this.sink.text(piece)) this.writeRow()
      rest = more
    }
    this.rowTimer ??= setTimeout(() => this.writeRow(), this.timings.rowMs)
  }

  private writeRow(): void {
    if (this.rowTimer !== null) clearTimeout(this.rowTimer)
    this.rowTimer = null
    this.sink.flush()
  }

  private conclude(end: RunEnd): void {
    if (this.over) return
    this.frame(true)
    if (this.rowTimer !== null) clearTimeout(this.rowTimer)
    this.over = true
    this.sink.end(end)
  }

  private fail(error: unknown): void {
    if (this.over) return
    if (error instanceof UpstreamFailure) {
      const { code, message, retryable } = error
      this.conclude({ kind: 'error', code, message, retryable, usage: this.usage() })
      return
    }
    logger.error('run_failed', {
      run_id: this.id,
      cause: error instanceof Error ? error.stack : String(error),
    })
    const message = 'Something went wrong on our side'
    this.conclude({ kind: 'error', code: 'internal_error', message, retryable: true, usage: this.usage() })
  }

  private usage(): Usage {
    const first = this.firstTokenAt
    return {
      prompt_tokens: this.tokens?.prompt_tokens ?? null,
      completion_tokens: this.tokens?.completion_tokens ?? null,
      time_to_first_token_ms: first === null ? null : first - this.started,
      duration_ms: Date.now() - this.started,
    }
  }
}

function endsInHalf(text: string): boolean {
  const code = text.charCodeAt(text.length - 1)
  return code >= 0xd800 && code <= 0xdbff
}

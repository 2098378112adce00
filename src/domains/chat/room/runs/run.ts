import { log as logger } from '../../../../lib/log'
import { type UpstreamEvent, UpstreamFailure } from '../../agents/upstreams/upstream'
import type { Source, Usage } from '../../messages/schema'
import { cut, type DataOf, type Finish, MAX_DELTA, MAX_WORDS } from '../log/protocol'
import { toolEntry } from '../log/tool-entry'

/** How a run ended. */
export type RunEnd =
  | { kind: 'done'; finish: Finish; usage: Usage }
  | { kind: 'error'; code: string; message: string; retryable: boolean; usage: Usage }

/** What a run does to the chat. Pieces of text are numbered and sent on at once and written by `flush`. */
export type RunSink = {
  status(data: DataOf['status']): void
  tool(data: DataOf['tool']): void
  /** What the agent was told of its knowledge bases. */
  sources(sources: Source[]): void
  /** Takes one frame’s text; true where enough has come together for a row. */
  text(content: string): boolean
  flush(): void
  /** The agent said that it answers by callback. */
  handedOver(): void
  end(end: RunEnd): void
}

/** When a run that goes on after a restart began, and its answer. */
export type Past = { started_at: number; first_at: number | null }

/** What an upstream says of the answer itself. */
export type TakenEvent = Exclude<UpstreamEvent, { kind: 'callback' }>

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
  private readonly started: number
  private readonly controller = new AbortController()
  private spoke = false
  private handed = false
  firstTokenAt: number | null
  /** When the next frame may go. */
  private dueAt = Number.NEGATIVE_INFINITY
  private waiting = ''
  /** Pieces of text that wait. */
  private pieces = 0
  private frameTimer: ReturnType<typeof setTimeout> | null = null
  private rowTimer: ReturnType<typeof setTimeout> | null = null
  private finish: Finish = 'stop'
  private tokens: { prompt_tokens: number | null; completion_tokens: number | null } | null = null
  private over = false

  constructor(
    readonly id: string,
    private readonly sink: RunSink,
    private readonly timings: Timings = TIMINGS,
    past: Past | null = null,
  ) {
    this.started = past?.started_at ?? Date.now()
    this.firstTokenAt = past?.first_at ?? null
    this.handed = past !== null
  }

  /** Whether the answer comes by callback: what becomes of the call itself does not matter any more. */
  get handedOver(): boolean {
    return this.handed
  }

  /** Aborts when the run is stopped: the upstream’s call goes with it. */
  get signal(): AbortSignal {
    return this.controller.signal
  }

  /** Takes the upstream’s events to their end; never rejects. */
  async pump(upstream: () => AsyncIterable<UpstreamEvent>): Promise<void> {
    try {
      for await (const event of upstream()) {
        if (this.over) return
        if (event.kind === 'callback') this.handOver()
        else if (!this.handed) this.take(event)
      }
      if (!this.handed) this.complete()
    } catch (error) {
      if (!this.handed) this.fail(error)
    }
  }

  /** Goes on by callback from now; false where the agent answers over its connection already. */
  handOver(): boolean {
    if (this.handed || this.over) return this.handed
    if (this.spoke) return false
    this.handed = true
    this.sink.handedOver()
    return true
  }

  /** Takes what came by callback: as one frame where it is text alone, and written when this returns. */
  receive(events: readonly TakenEvent[]): void {
    for (const event of events) {
      if (event.kind === 'delta') this.hold(event.text)
      else this.take(event)
    }
    this.frame()
    this.writeRow()
  }

  /** Ends the run as the agent said that it should. */
  complete(): void {
    this.conclude({ kind: 'done', finish: this.finish, usage: this.usage() })
  }

  /** Ends the run now with the text there is; without effect on one that is over. */
  stop(): void {
    this.conclude({ kind: 'done', finish: 'stopped', usage: this.usage() })
    this.controller.abort()
  }

  private take(event: TakenEvent): void {
    if (event.kind !== 'status' && event.kind !== 'sources') this.spoke = true
    switch (event.kind) {
      case 'delta':
        this.takeText(event.text)
        break
      case 'status':
        this.frame()
        this.sink.status({ description: event.description, level: event.level, done: false })
        break
      case 'tool':
        this.frame()
        this.sink.tool(toolEntry(event))
        break
      case 'sources':
        this.sink.sources(event.sources)
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
    this.hold(text)
    const due = this.dueAt - Date.now()
    if (due <= 0) this.frame()
    else this.frameTimer ??= setTimeout(() => this.frame(), due)
  }

  private hold(text: string): void {
    if (text !== '') this.firstTokenAt ??= Date.now()
    this.waiting += text
    this.pieces += 1
  }

  /** Sends what has come since the last frame. Half a character waits for its other half, but for the end. */
  private frame(last = false): void {
    if (this.frameTimer !== null) clearTimeout(this.frameTimer)
    this.frameTimer = null
    const half = !last && endsInHalf(this.waiting) ? this.waiting.slice(-1) : ''
    let rest = (half ? this.waiting.slice(0, -1) : this.waiting).toWellFormed()
    this.waiting = half
    if (rest === '') return
    this.dueAt = this.nextDue(Date.now())
    this.pieces = 0
    while (rest !== '') {
      const [piece, more] = cut(rest, MAX_DELTA)
      if (this.sink.text(piece)) this.writeRow()
      rest = more
    }
    this.rowTimer ??= setTimeout(() => this.writeRow(), this.timings.rowMs)
  }

  /**
   * Where an upstream speaks as often as frames may go, a word that came a little late must not make all that follow
   * wait for it: single words keep their beat, and creep up to it, and are never closer than half of it.
   */
  private nextDue(now: number): number {
    const { frameMs } = this.timings
    if (this.pieces > 1 || now - this.dueAt > 2 * frameMs) return now + frameMs
    return Math.max(this.dueAt + frameMs * 0.98, now + frameMs / 2)
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

  /** Ends the run as failed, with the text there is. */
  fail(error: unknown): void {
    if (this.over) return
    if (error instanceof UpstreamFailure) {
      const { code, retryable } = error
      const message = cut(error.message, MAX_WORDS)[0]
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

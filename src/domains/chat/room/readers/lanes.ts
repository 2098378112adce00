import type { CountBytes } from '../../../metering/usage/streamed'
import type { Room } from '../room'
import { CALL_HEADER } from '../verbs'
import { ECHO } from './crowd'
import { Lane } from './lane'
import { STUCK_MS } from './pipe'
import type { SocketReader } from './socket-reader'

/** Fewer readers than these are served by their sockets well enough. */
export const LANES_FROM = 16
/** So many events must have come, none much later than the one before: a lane is not worth it for a word or two. */
const WARM_EVENTS = 10
/** When nothing was said for so long the lanes end, and the object can sleep. */
const QUIET_MS = 10_000
/** So many are asked over at once, then others: opening lanes must not hold up what is being said. */
const AT_ONCE = 16
const STEP_MS = 25
/** Once all were asked over, others who have come are looked for this many times less often. */
const LOOK_STEPS = 40
/** Between looks at how readers get on. */
const LOOK_MS = 1_000
/** Who did not come is asked again after this. */
const AGAIN_MS = 10_000
/** Whose lane broke has gone, most likely, and its socket closes within this. */
const GONE_MS = 500

/** What tests set: when the lanes end, how long between invitations, from how many readers on there are any, and a crowd. */
export type LaneTimings = { quietMs?: number; stepMs?: number; from?: number; crowdFrom?: number }

/**
 * Who serves many readers of server-sent events while an answer is written: their Workers are asked to fetch a stream of
 * their own, which costs less than their sockets. When the chat falls quiet the sockets, over which the object can sleep,
 * are used again. Each reader gets every event once and in order, by the one or the other.
 */
export class Lanes {
  private readonly invited = new Map<string, SocketReader>()
  private readonly open = new Map<SocketReader, Lane>()
  private readonly askedAt = new WeakMap<SocketReader, number>()
  private heard = 0
  private heardAt = Number.NEGATIVE_INFINITY
  private lookedAt = 0
  private timer: ReturnType<typeof setTimeout> | null = null

  constructor(
    private readonly room: Room,
    private readonly readers: () => Iterable<SocketReader>,
    private readonly counting: (reader: SocketReader) => CountBytes,
    private readonly timings: LaneTimings = {},
  ) {
    room.audience.heard = (readers) => this.hear(readers)
  }

  get size(): number {
    return this.open.size
  }

  /** Something was said to so many readers. */
  private hear(readers: number): void {
    if (readers < (this.timings.from ?? LANES_FROM)) return
    const now = Date.now()
    if (this.quiet(now)) this.heard = 0
    this.heardAt = now
    this.heard += 1
    if (this.heard >= WARM_EVENTS) this.timer ??= setTimeout(() => this.step(), 0)
  }

  private quiet(now: number): boolean {
    return now - this.heardAt > (this.timings.quietMs ?? QUIET_MS)
  }

  private step(): void {
    this.timer = null
    const now = Date.now()
    if (this.quiet(now)) {
      this.close()
      return
    }
    if (now - this.lookedAt >= LOOK_MS) this.look(now)
    const stepMs = this.timings.stepMs ?? STEP_MS
    const next = this.invite(now) ? stepMs : stepMs * LOOK_STEPS
    this.timer = setTimeout(() => this.step(), next)
  }

  /** Asks some who are up to date over; whether there may be more of them. */
  private invite(now: number): boolean {
    let left = AT_ONCE
    for (const reader of this.readers()) {
      if (reader.format !== 'sse' || !reader.open || reader.lane || reader.backlog) continue
      if (now - (this.askedAt.get(reader) ?? 0) < AGAIN_MS) continue
      if (left === 0) return true
      left -= 1
      this.askedAt.set(reader, now)
      const id = crypto.randomUUID()
      this.invited.set(id, reader)
      reader.invite(id)
    }
    return false
  }

  private look(now: number): void {
    this.lookedAt = now
    for (const [id, reader] of this.invited)
      if (now - (this.askedAt.get(reader) ?? 0) >= AGAIN_MS) this.invited.delete(id)
    for (const [reader, lane] of this.open)
      if (!reader.open) this.leave(reader)
      else if (lane.look() * LOOK_MS > STUCK_MS)
        reader.close(4409, 'too slow: nothing was taken for a minute')
  }

  /** The answer to a Worker that was asked over: the lane, or nothing. */
  answer({ headers, signal }: Request): ReadableStream | null {
    const lane = this.enter(headers.get(CALL_HEADER) ?? '', signal)
    return lane?.readable ?? null
  }

  /** The lane of who was asked over by that word; null where there is nothing to be had by it any more. */
  private enter(id: string, signal: AbortSignal): Lane | null {
    const reader = this.invited.get(id)
    this.invited.delete(id)
    if (!reader?.open || reader.lane || reader.backlog || this.quiet(Date.now())) return null
    this.room.audience.settle(reader)
    if (!reader.open) return null
    const lane: Lane = new Lane({
      drained: () => this.room.audience.pull(reader),
      broken: () => setTimeout(() => this.lose(reader, lane), GONE_MS),
      count: this.counting(reader),
    })
    signal.addEventListener('abort', () => lane.leave())
    this.open.set(reader, lane)
    reader.turn(lane)
    return lane
  }

  /** What the Worker of a reader says: that it has what it was sent, that its reader has, or that some was dropped for it. */
  told(reader: SocketReader, word: string | ArrayBuffer): void {
    if (word === ECHO) {
      this.room.audience.crowd.heard(reader)
      return
    }
    reader.go()
    if (word === 'more') this.room.audience.pull(reader)
    else this.begin(reader)
  }

  /** What was on its way is lost with the lane: who still listens begins anew. */
  private lose(reader: SocketReader, lane: Lane): void {
    if (this.open.get(reader) !== lane) return
    if (reader.open) this.begin(reader)
    else this.leave(reader)
  }

  private begin(reader: SocketReader): void {
    this.leave(reader)
    reader.fresh()
    reader.backlog = this.room.snapshot('reset')
    this.room.audience.pull(reader)
  }

  /** The reader is served by its socket again. */
  leave(reader: SocketReader): void {
    const lane = this.open.get(reader)
    this.open.delete(reader)
    reader.turn(null)
    lane?.end()
  }

  /** Ends all lanes; what is not taken yet is, and the rest comes by the sockets. */
  close(): void {
    if (this.timer !== null) clearTimeout(this.timer)
    this.timer = null
    this.invited.clear()
    for (const reader of [...this.open.keys()]) {
      this.askedAt.delete(reader)
      this.leave(reader)
      this.room.audience.pull(reader)
    }
  }
}

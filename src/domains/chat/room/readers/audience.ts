import { log as logger } from '../../../../lib/log'
import { isLoss, type Loss, type Rights } from '../../../realtime/rights'
import { type Caller, personOf } from '../caller'
import type { ChatLog } from '../log/log'
import { type Frame, framesOf, type RoomEvent } from '../log/protocol'
import type { Timings } from '../runs/run'
import { Crowd, type Printed } from './crowd'
import type { Reader } from './reader'
import { framesIn, those } from './together'

/** Entries read from the log at once for a reader that is behind. */
const PAGE = 64
/** What a client’s own socket adds to the time between two frames: to send one takes half of that, at most. */
const SOCKET_MS = 1 / 8
/** After a look-up of rights failed; until one succeeds nobody whose rights are stale is told anything. */
const RETRY_MS = 1_000

/** Everyone who follows the chat: each is given every entry once and in order, live or from the log, while allowed to. */
export class Audience {
  private readonly readers = new Set<Reader>()
  /** The frame that a reader could not take of its backlog. */
  private readonly refused = new WeakMap<Iterator<Frame>, Frame>()
  /** How far each was given the log; of who has a backlog, how far it had been before. */
  private readonly given = new WeakMap<Reader, number>()
  readonly crowd: Crowd
  private rechecking = false
  /** Told how many are given what is published. */
  heard: (readers: number) => void = () => {}
  /** How many were given what was published last by sockets of their own. */
  private sockets = 0

  constructor(
    private readonly log: ChatLog,
    private readonly rights: Rights<Caller>,
    crowdFrom?: number,
  ) {
    this.crowd = new Crowd((owed) => this.giveAll(owed, isTogether), crowdFrom)
  }

  /** The timings for as many as have sockets of their own: frames come less often to thousands, or they would pile up. */
  paced({ frameMs, rowMs }: Timings): Timings {
    const pace = () => this.sockets * SOCKET_MS
    return {
      get frameMs() {
        return Math.max(frameMs, pace())
      },
      rowMs,
    }
  }

  /** Takes in a reader that has its backlog, and begins to give it. */
  add(reader: Reader): void {
    this.readers.add(reader)
    this.given.set(reader, this.log.head)
    this.pull(reader)
  }

  remove(reader: Reader): void {
    this.readers.delete(reader)
  }

  /** Gives new entries to all who are up to date. Each is printed once. */
  publish(events: readonly RoomEvent[]): void {
    if (this.readers.size === 0) return
    this.heard(this.readers.size)
    const printed = events.map((event) => ({ event, frames: framesOf(this.log.idOf(event.seq), event) }))
    const { waits } = this.crowd
    const much = waits && this.crowd.owe(printed)
    this.sockets = 0
    this.giveAll(printed, (reader) => {
      if (reader.served === 'alone') this.sockets += 1
      return !(waits && isTogether(reader))
    })
    // An edit may withdraw words, and who may see it is asked of the chat as it stands.
    if (much || (waits && events.some(({ type }) => type === 'message.updated'))) this.crowd.go()
  }

  private giveAll(printed: readonly Printed[], to: (reader: Reader) => boolean): void {
    const now = Date.now()
    let stale = false
    for (const reader of this.readers) {
      if (reader.backlog || !to(reader)) continue
      if (isTogether(reader)) this.crowd.sent(reader)
      if (!this.giveOne(reader, printed, now)) stale = true
    }
    this.crowd.allSent()
    if (stale) void this.recheck()
  }

  /** False where its rights are to be looked up first: then it is given it from the log. */
  private giveOne(reader: Reader, printed: readonly Printed[], now: number): boolean {
    const verdict = this.rights.of(reader.caller.key, now)
    if (verdict === null) {
      reader.backlog = this.after(this.given.get(reader) ?? 0, reader)
      return false
    }
    if (isLoss(verdict)) this.expel(reader, verdict)
    else this.give(reader, printed)
    return true
  }

  private give(reader: Reader, printed: readonly Printed[]): void {
    const given = this.given.get(reader) ?? 0
    const fresh = those(printed, ({ event }) => event.seq > given)
    const last = fresh.at(-1)
    if (!last) return
    this.given.set(reader, last.event.seq)
    const wanted = those(fresh, ({ event }) => reader.wants(event))
    if (isTogether(reader)) {
      reader.takeTogether?.(framesIn(wanted))
      return
    }
    for (const { event, frames } of wanted) {
      const refused = frames.findIndex((frame) => !reader.take(frame))
      if (refused < 0) continue
      reader.backlog = chained(frames.slice(refused), this.after(event.seq, reader))
      return
    }
  }

  /** Gives a reader what it is owed as one of a crowd, before it is served otherwise or sent away. */
  settle(reader: Reader): void {
    if (reader.backlog || !isTogether(reader)) return
    if (!this.giveOne(reader, this.crowd.waiting, Date.now())) void this.recheck()
  }

  /** Gives a reader of its backlog what it takes now. */
  pull(reader: Reader): void {
    while (reader.backlog && this.readers.has(reader)) {
      const verdict = this.rights.of(reader.caller.key, Date.now())
      if (verdict === null) void this.recheck()
      else if (isLoss(verdict)) this.expel(reader, verdict)
      if (verdict === null || isLoss(verdict) || !reader.ready()) return
      const { backlog } = reader
      const frame = this.nextOf(backlog)
      if (!frame) {
        reader.backlog = null
        this.given.set(reader, this.log.head)
      } else if (!reader.take(frame)) {
        this.refused.set(backlog, frame)
        return
      }
    }
  }

  private nextOf(backlog: Iterator<Frame>): Frame | null {
    const refused = this.refused.get(backlog)
    this.refused.delete(backlog)
    if (refused) return refused
    const next = backlog.next()
    return next.done ? null : next.value
  }

  /** The frames of what the log holds after `seq`, read as they are asked for. */
  *after(seq: number, reader: Pick<Reader, 'wants'>): Generator<Frame, void> {
    for (let at = seq; ; ) {
      const events = this.log.after(at, PAGE, Date.now())
      if (events.length === 0) return
      for (const event of events) {
        at = event.seq
        if (reader.wants(event)) yield* framesOf(event.id, event)
      }
    }
  }

  /** Tells those who follow what is not kept. Who is behind is not told; rejects where rights can’t be looked up. */
  async say(frame: Frame, to: (reader: Reader) => boolean = () => true): Promise<void> {
    const readers = [...this.readers].filter((reader) => reader.follows && to(reader))
    const isStale = ({ caller }: Reader) => this.rights.of(caller.key, Date.now()) === null
    if (readers.some(isStale)) await this.refresh()
    for (const reader of readers) {
      const verdict = this.rights.of(reader.caller.key, Date.now())
      if (verdict === null || !this.readers.has(reader)) continue
      if (isLoss(verdict)) this.expel(reader, verdict)
      else if (!reader.backlog && reader.ready()) reader.take(frame)
    }
  }

  /** Whether a user follows or reads here at this moment, not by a key. */
  watches(userId: string): boolean {
    for (const { caller } of this.readers)
      if (caller.kind === 'user' && personOf(caller) === userId) return true
    return false
  }

  /** Replaces what every reader has still to be given. */
  restart(backlogOf: (reader: Reader) => Iterator<Frame>): void {
    for (const reader of this.readers) {
      reader.backlog = backlogOf(reader)
      this.pull(reader)
    }
  }

  /** Looks everyone’s rights up before they grow stale; who has lost them is sent away. */
  async refresh(): Promise<void> {
    if (this.readers.size === 0) return
    const callers = new Map([...this.readers].map((reader) => [reader.caller.key, reader.caller]))
    this.rights.keepOnly(new Set(callers.keys()))
    await this.rights.refresh([...callers.values()])
    const now = Date.now()
    for (const reader of [...this.readers]) {
      const verdict = this.rights.of(reader.caller.key, now)
      if (verdict !== null && isLoss(verdict)) this.expel(reader, verdict)
    }
  }

  /** Ends every connection. */
  dismiss(loss: Loss): void {
    for (const reader of this.readers) {
      this.settle(reader)
      if (this.readers.has(reader)) this.expel(reader, loss)
    }
  }

  private expel(reader: Reader, loss: Loss): void {
    this.readers.delete(reader)
    reader.end(loss)
  }

  /** Looks rights up and goes on with everyone who waits for that, as often as it takes. */
  private async recheck(): Promise<void> {
    if (this.rechecking) return
    this.rechecking = true
    try {
      while ([...this.readers].some((reader) => reader.backlog && reader.ready())) {
        const known = await this.refresh().then(
          () => true,
          (error: unknown) => logger.warn('chat_rights_unknown', { cause: String(error) }),
        )
        if (!known) await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
        else for (const reader of [...this.readers]) this.pullKnown(reader)
      }
    } finally {
      this.rechecking = false
    }
  }

  private pullKnown(reader: Reader): void {
    if (reader.backlog && this.rights.of(reader.caller.key, Date.now()) !== null) this.pull(reader)
  }
}

const isTogether = ({ served }: Reader): boolean => served === 'together'

function* chained(frames: Frame[], rest: Iterable<Frame>): Generator<Frame, void> {
  yield* frames
  yield* rest
}

import { iso } from '../../../../lib/ids'
import { problem } from '../../../../lib/problem'
import type { ChatLog } from '../log/log'
import type { DataOf, RoomEvent } from '../log/protocol'
import type { Outbox } from '../outbox'
import type { Audience } from '../readers/audience'
import type { Store } from '../store'

/** Receipts are written together, at most so often. */
export const RECEIPTS_MS = 1_000
/** Users of one entry: an event has at most 4 KiB. */
const USERS_AN_ENTRY = 40
/** Receipts that go to D1 in one batch. */
const MOST_TOLD = 500

type Parts = { store: Store; log: ChatLog; audience: Audience; outbox: Outbox }
type Row = { user_id: string; seq: number; read_count: number; at: number; told: number }

/** How far a user has read. */
export type Receipt = { user_id: string; seq: number; read_at: string }

/** What a user has read and not: messages count once they are there whole. */
export type Standing = { seq: number; unread_count: number }

/** Who has read how far: entries of the log, but no more than one row a second for all readers together. */
export class Receipts {
  private waiting = new Map<string, number>()
  private writing: Promise<void> | null = null
  private lastAt = Number.NEGATIVE_INFINITY

  constructor(private readonly parts: Parts) {}

  /** Brings the tables to where the log is with `event`. */
  apply(event: RoomEvent): void {
    if (event.type === 'read') for (const { user_id, seq } of event.data.reads) this.keep(user_id, seq)
    else if (isArrival(event)) this.parts.store.run('insert into arrivals (seq) values (?)', event.seq)
  }

  private keep(userId: string, seq: number): void {
    this.parts.store.run(
      `insert into reads (user_id, seq, read_count, at) values (?, ?, ?, ?)
       on conflict (user_id) do update set seq = excluded.seq, read_count = excluded.read_count, at = excluded.at, told = 0
       where excluded.seq > reads.seq`,
      ...[userId, seq, this.countAt(seq), Date.now()],
    )
  }

  /**
   * Notes that a user has read up to an entry, or all there is; resolves once that is kept. It moves with whole messages:
   * one that passes none is nothing new. 422 for an entry that there is not.
   */
  mark(userId: string, given?: number): Promise<void> {
    const { head } = this.parts.log
    const seq = given ?? head
    if (seq > head) throw problem.invalid({ seq: `must be at most ${head}, the number of the newest event` })
    if (!this.parts.store.exists) return Promise.resolve()
    const before = this.waiting.get(userId) ?? this.rowOf(userId)?.seq ?? 0
    if (this.countAt(seq) > this.countAt(before)) this.waiting.set(userId, seq)
    return this.waiting.has(userId) ? this.written() : Promise.resolve()
  }

  /** Who writes a message has read what came before it. */
  wrote(userId: string): void {
    this.waiting.delete(userId)
    this.keep(userId, this.parts.log.head)
  }

  /** When what waits has been written. */
  private written(): Promise<void> {
    if (this.writing) return this.writing
    const due = this.lastAt + RECEIPTS_MS - Date.now()
    if (due <= 0) {
      this.write()
      return Promise.resolve()
    }
    this.writing = new Promise<void>((resolve, reject) => {
      setTimeout(() => {
        this.writing = null
        try {
          resolve(this.write())
        } catch (error) {
          reject(error)
        }
      }, due)
    })
    return this.writing
  }

  private write(): void {
    const { store, log, audience, outbox } = this.parts
    const now = Date.now()
    this.lastAt = now
    const reads = [...this.waiting].map(([user_id, seq]) => ({ user_id, seq }))
    this.waiting = new Map()
    // The chat may have been deleted meanwhile.
    if (reads.length === 0 || !store.exists) return
    const entries: DataOf['read'][] = []
    for (let at = 0; at < reads.length; at += USERS_AN_ENTRY)
      entries.push({ reads: reads.slice(at, at + USERS_AN_ENTRY) })
    const events = store.atomically(() => {
      const written = log.append(now, 'read', ...entries)
      outbox.add(now)
      return written
    })
    audience.publish(events)
    outbox.soon()
  }

  /** What a user has read, and how many messages not. */
  of(userId: string): Standing {
    if (!this.parts.store.exists) return { seq: 0, unread_count: 0 }
    const { seq, read_count } = this.rowOf(userId) ?? { seq: 0, read_count: 0 }
    return { seq, unread_count: this.countAt(Number.MAX_SAFE_INTEGER) - read_count }
  }

  /** Everyone who has read anything, in the order of their ids after `after`. */
  list(after: string, limit: number): Receipt[] {
    if (!this.parts.store.exists) return []
    const query = 'select * from reads where user_id > ? order by user_id limit ?'
    const rows = this.parts.store.rows<Row>(query, after, limit)
    return rows.map(({ user_id, seq, at }) => ({ user_id, seq, read_at: iso(at) }))
  }

  /** What D1 was not told yet. */
  untold(): Row[] {
    return this.parts.store.rows<Row>('select * from reads where told = 0 limit ?', MOST_TOLD)
  }

  /** Notes that D1 was told that. */
  told(rows: readonly Row[]): void {
    for (const { user_id, seq } of rows)
      this.parts.store.run('update reads set told = 1 where user_id = ? and seq = ?', user_id, seq)
    if (rows.length === MOST_TOLD) this.parts.outbox.add(Date.now())
  }

  private rowOf(userId: string): Row | undefined {
    return this.parts.store.row<Row>('select * from reads where user_id = ?', userId)
  }

  /** How many messages were there whole by an entry. */
  private countAt(seq: number): number {
    const query = 'select n from arrivals where seq <= ? order by seq desc limit 1'
    return this.parts.store.row<{ n: number }>(query, seq)?.n ?? 0
  }
}

/** Whether a message is there whole with this entry: a question as it is sent, an answer with its end. */
function isArrival(event: RoomEvent): boolean {
  if (event.type === 'message.created') return event.data.status !== 'streaming'
  return event.type === 'done' || (event.type === 'error' && event.data.message_id !== undefined)
}

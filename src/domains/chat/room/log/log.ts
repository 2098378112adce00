import { utf8 } from '../../../../lib/encoding'
import type { Store } from '../store'
import { type Cursor, type DataOf, type EventType, printCursor, type RoomEvent } from './protocol'

/** A row is written when this much text waits for it. */
const ROW_BYTES = 4096
/** Text of a compacted row: far below the 2 MB at which a row ends. */
const COMPACT_CHARS = 256 * 1024

/** Text that is read at once: entries of 128 KiB and more would come to more than a call of an object can answer. */
const READ_CHARS = 2 * 1024 * 1024

type Row = { first: number; last: number; type: string; data: string; at: number }

/** An entry as `GET /events` shows it, with the time when its row was written. */
export type TimedEvent = RoomEvent & { id: string; at: number }

/**
 * The chat's one append-only log. Entries have their number at once; the text of an answer waits in memory until `flush`
 * writes it as one row, which every other entry does first. Each entry is folded into the tables as it is written.
 */
export class ChatLog {
  head = 0
  epoch = 1
  /** Text up to this number was compacted: a cursor before it may stand inside what is one entry now. */
  private trimmed = 0
  private starts: { epoch: number; first_seq: number }[] = []
  private waiting: string[] = []
  private waitingBytes = 0

  constructor(
    private readonly store: Store,
    private readonly fold: (event: RoomEvent) => void,
  ) {
    this.open()
  }

  /** Reads where the log stands. */
  open(): void {
    this.waiting = []
    this.waitingBytes = 0
    if (!this.store.exists) {
      Object.assign(this, { head: 0, epoch: 1, trimmed: 0, starts: [{ epoch: 1, first_seq: 1 }] })
      return
    }
    this.head = this.store.row<{ last: number }>('select last from log order by last desc limit 1')?.last ?? 0
    this.starts = this.store.rows('select epoch, first_seq from epochs order by epoch')
    this.epoch = this.starts.at(-1)?.epoch ?? 1
    this.trimmed = Number(this.store.get('trimmed') ?? 0)
  }

  /** Makes the tables where nothing was ever written. */
  begin(): void {
    if (this.store.exists) return
    this.store.create()
    this.open()
  }

  /** Where the log ends now. */
  get cursor(): string {
    return printCursor({ epoch: this.epoch, seq: this.head })
  }

  /** The last entry that is written: what comes after it would be lost with the object. */
  get written(): number {
    return this.head - this.waiting.length
  }

  /** Writes entries of one type as one row, after the text that waits. */
  append<T extends EventType>(now: number, type: T, ...data: DataOf[T][]): RoomEvent[] {
    this.flush(now)
    const first = this.head + 1
    const events = data.map((one, i) => ({ seq: first + i, type, data: one }) as RoomEvent)
    this.head += data.length
    this.insert({ first, last: this.head, type, data: JSON.stringify(data), at: now })
    for (const event of events) this.fold(event)
    return events
  }

  /** Numbers a piece of an answer; it is written with the next row. True where that row is due now. */
  delta(content: string): { event: RoomEvent; full: boolean } {
    this.head += 1
    this.waiting.push(content)
    this.waitingBytes += utf8(content).byteLength
    const event: RoomEvent = { seq: this.head, type: 'message', data: { content } }
    return { event, full: this.waitingBytes >= ROW_BYTES }
  }

  /** Writes the text that waits. */
  flush(now: number): void {
    if (this.waiting.length === 0) return
    const first = this.head - this.waiting.length + 1
    this.insert({ first, last: this.head, type: 'message', data: JSON.stringify(this.waiting), at: now })
    this.waiting = []
    this.waitingBytes = 0
  }

  /** Begins a new epoch: cursors of the old one stand for what may not have been kept. */
  beginEpoch(): void {
    this.epoch += 1
    this.starts.push({ epoch: this.epoch, first_seq: this.head + 1 })
    this.store.run('insert into epochs values (?, ?)', this.epoch, this.head + 1)
  }

  /** Whether everything after the cursor can be given exactly as it was sent. */
  resumes(cursor: Cursor): boolean {
    // The place before the epoch’s first entry is its own: a snapshot may stand there.
    const first = this.starts.at(-1)?.first_seq ?? 1
    const given = cursor.epoch === this.epoch && cursor.seq >= first - 1 && cursor.seq <= this.head
    return given && cursor.seq >= this.trimmed
  }

  /** Whether reading on after the cursor skips and repeats nothing, be it with compacted text. */
  reads(cursor: Cursor): boolean {
    const next = this.starts.find((start) => start.epoch === cursor.epoch + 1)
    const known = next ? cursor.seq < next.first_seq : cursor.epoch === this.epoch && cursor.seq <= this.head
    return known && !this.compactedAround(cursor.seq)
  }

  private compactedAround(seq: number): boolean {
    if (seq >= this.trimmed) return false
    const row = this.store.row<Row>('select * from log where last > ? order by last limit 1', seq)
    return row !== undefined && row.first <= seq && eventsOf(row).length < row.last - row.first + 1
  }

  /** Entries after `seq`, from whole rows until there are `limit`, or much text; what waits is written first. */
  after(seq: number, limit: number, now: number): TimedEvent[] {
    if (!this.store.exists) return []
    this.flush(now)
    const events: TimedEvent[] = []
    let chars = 0
    for (const row of this.store.sql.exec<Row>('select * from log where last > ? order by last', seq)) {
      for (const event of eventsOf(row))
        if (event.seq > seq) events.push({ ...event, id: this.idOf(event.seq), at: row.at })
      chars += row.data.length
      if (events.length >= limit || chars >= READ_CHARS) break
    }
    return events
  }

  /** The id that an entry was given when it was written. */
  idOf(seq: number): string {
    const start = this.starts.findLast((candidate) => candidate.first_seq <= seq)
    return printCursor({ epoch: start?.epoch ?? 1, seq })
  }

  /** The text of the answer whose entries begin after `seq`, up to `last`, written or waiting. */
  textBetween(seq: number, last = Number.MAX_SAFE_INTEGER): string {
    const rows = this.store.rows<{ data: string }>(
      `select data from log where last > ? and last <= ? and type = 'message' order by last`,
      seq,
      last,
    )
    const written = rows.map(textOf).join('')
    return last > this.head ? written + this.waiting.join('') : written
  }

  /** Joins the text between two entries into few rows: how it was cut into frames is kept for a day only. */
  compact(first: number, last: number): void {
    const within = `last > ? and last <= ? and type = 'message'`
    const rows = this.store.rows<Row>(`select * from log where ${within} order by last`, first, last)
    if (rows.length === 0) return
    this.store.run(`delete from log where ${within}`, first, last)
    for (const group of grouped(rows)) {
      const [head, end] = [group[0] as Row, group.at(-1) as Row]
      const text = group.map((row) => textOf(row)).join('')
      this.insert({ ...end, first: head.first, data: JSON.stringify([text]) })
    }
    this.trimmed = Math.max(this.trimmed, rows.at(-1)?.last ?? 0)
    this.store.set('trimmed', String(this.trimmed))
  }

  private insert(row: Row): void {
    const { last, first, type, data, at } = row
    this.store.run(
      'insert into log (last, first, type, data, at) values (?, ?, ?, ?, ?)',
      last,
      first,
      type,
      data,
      at,
    )
  }
}

function eventsOf(row: Row): RoomEvent[] {
  const list = JSON.parse(row.data) as unknown[]
  const start = row.last - list.length + 1
  return list.map((element, i) => {
    const data = row.type === 'message' ? { content: element } : element
    return { seq: start + i, type: row.type, data } as RoomEvent
  })
}

const textOf = (row: { data: string }): string => (JSON.parse(row.data) as string[]).join('')

/** Rows that follow each other without another entry between them, in groups of bounded length. */
function grouped(rows: Row[]): Row[][] {
  const groups: Row[][] = []
  let chars = 0
  for (const row of rows) {
    const open = groups.at(-1)
    const follows = open !== undefined && row.first === (open.at(-1) as Row).last + 1
    if (follows && chars + row.data.length <= COMPACT_CHARS) open.push(row)
    else {
      groups.push([row])
      chars = 0
    }
    chars += row.data.length
  }
  return groups
}

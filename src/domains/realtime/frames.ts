import { hex } from '../../lib/encoding'
import type { Said } from './channels'

/** Frames that a channel keeps, and for how long after nobody listens any more: who comes back within it misses none. */
const MOST_KEPT = 1_000
export const KEPT_MS = 60_000

/**
 * What was said in a channel lately, in its object's SQLite. Numbers count within one life of the log, whose name comes
 * before them: an id of another life is known for one.
 */
export class FrameLog {
  private life: string | null = null

  constructor(private readonly sql: SqlStorage) {}

  /** Begins to keep, where it did not; a number stands for the beginning too. */
  open(): void {
    this.sql.exec(
      'create table if not exists frames (number integer primary key autoincrement, frame text not null)',
    )
    this.sql.exec('create table if not exists life (name text not null)')
    const [row] = this.sql.exec<{ name: string }>('select name from life').toArray()
    this.life = row?.name ?? hex(crypto.getRandomValues(new Uint8Array(6)))
    if (row) return
    this.sql.exec('insert into life (name) values (?)', this.life)
    this.sql.exec("insert into frames (frame) values ('')")
  }

  /** Keeps a frame; answers with it as it is sent. */
  add(channel: string, { type, data }: Said, timestamp: string): string {
    const { number } = this.sql
      .exec<{ number: number }>("insert into frames (frame) values ('') returning number")
      .one()
    const frame = JSON.stringify({ type, channel, data, timestamp, id: this.idOf(number) })
    this.sql.exec('update frames set frame = ? where number = ?', frame, number)
    this.sql.exec('delete from frames where number <= ?', number - MOST_KEPT)
    return frame
  }

  /** The id of the last frame, from which one goes on. */
  last(): string {
    return this.idOf(this.sql.exec<{ last: number }>('select max(number) as last from frames').one().last)
  }

  /** The frames after an id; null where what came since is not known any more. */
  after(id: string): string[] | null {
    const [life, number] = id.split('-')
    if (life !== this.life || !/^\d{1,15}$/.test(number ?? '')) return null
    const rows = this.sql
      .exec<{ number: number; frame: string }>(
        'select number, frame from frames where number >= ? order by number',
        Number(number),
      )
      .toArray()
    return rows[0]?.number === Number(number) ? rows.slice(1).map(({ frame }) => frame) : null
  }

  private idOf(number: number): string {
    return `${this.life}-${number}`
  }
}

import { type Cursor, isInside } from '../log/protocol'
import { QUEUE_BYTES } from './pipe'

/** Marks closer to each other than this are one: an acknowledgement counts to within a frame or two. */
const GRAIN = 4 * 1024
/** Marks that lie beside a sleeping socket. */
const STORED_MARKS = 16

/** Where in what was sent the frame of an id ends. */
type Mark = Cursor & { end: number }

/** A window as it lies beside a sleeping socket; `marks` is epoch, number and end of each in turn. */
export type StoredWindow = { unacknowledged: number; acknowledges: boolean; marks: number[] }

/**
 * How much of what a connection was sent its client has not said to have received: at most 256 KiB. The runtime does not
 * tell what waits in a socket (cloudflare/workerd#988), so only the client can.
 */
export class SendWindow {
  /** Bytes that were sent. */
  sent: number
  private received = 0
  private marks: Mark[] = []
  private restarting = false
  /** Whether the client has acknowledged anything yet. */
  acknowledges: boolean

  constructor(stored?: StoredWindow) {
    this.sent = stored?.unacknowledged ?? 0
    this.acknowledges = stored?.acknowledges ?? false
    const { marks = [] } = stored ?? {}
    for (let i = 0; i + 2 < marks.length; i += 3) {
      const [epoch = 0, seq = 0, end = 0] = marks.slice(i, i + 3)
      this.marks.push({ epoch, seq, end })
    }
  }

  get unacknowledged(): number {
    return this.sent - this.received
  }

  fits(bytes: number): boolean {
    return this.unacknowledged + bytes <= QUEUE_BYTES
  }

  /** Notes so many bytes as sent, with the cursor that they carry. */
  count(bytes: number, cursor: Cursor | null): void {
    this.sent += bytes
    if (!cursor) return
    if (this.restarting) this.marks = []
    this.restarting = false
    const before = this.marks.at(-2)
    if (before && this.sent - before.end < GRAIN) this.marks.pop()
    this.marks.push({ ...cursor, end: this.sent })
  }

  /** Takes all up to the cursor as received, of what was sent; false where that is nothing new. */
  acknowledge(cursor: Cursor): boolean {
    const at = this.marks.findLastIndex(
      (mark) => isInside(mark) === isInside(cursor) && reaches(cursor, mark),
    )
    const mark = this.marks[at]
    if (!mark) return false
    this.received = mark.end
    this.marks.splice(0, at + 1)
    this.acknowledges = true
    return true
  }

  /** Events that were sent before may be sent again: an id now means the later of them. */
  restart(): void {
    this.restarting = true
  }

  get stored(): StoredWindow {
    const every = Math.ceil(this.marks.length / STORED_MARKS)
    const marks = this.marks.filter((_, i) => (this.marks.length - 1 - i) % every === 0)
    return {
      unacknowledged: this.unacknowledged,
      acknowledges: this.acknowledges,
      marks: marks.flatMap(({ epoch, seq, end }) => [epoch, seq, end - this.received]),
    }
  }
}

const reaches = (cursor: Cursor, mark: Cursor): boolean =>
  cursor.epoch > mark.epoch || (cursor.epoch === mark.epoch && cursor.seq >= mark.seq)

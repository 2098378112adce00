import type { Frame, RoomEvent } from '../log/protocol'
import type { Reader } from './reader'

/** From so many readers on what is said waits until they have had what was said before. */
const CROWD_FROM = 128
/** Nothing waits longer, whatever became of the Worker that was asked. */
const LONGEST_MS = 1_000
/** More than this does not wait: a Worker holds twice as much for its reader. */
const MOST_BYTES = 128 * 1024
/** The word that a Worker says back as it comes. */
export const ECHO = 'echo'

/** An event as it is sent. */
export type Printed = { event: RoomEvent; frames: Frame[] }

/**
 * What is still to be given to many readers who are each sent a message for it. Where one more for each of thousands sets
 * out before those of the last event have arrived, all of them come later and later: so one of the Workers that they go to
 * is asked to say a word back, and until it does, and for as long again, what is said waits, and then goes to each as one.
 */
export class Crowd {
  /** Never changed, only replaced: what is made of it is kept beside it. */
  private owed: readonly Printed[] = []
  private bytes = 0
  private timer: ReturnType<typeof setTimeout> | null = null
  private askedAt = 0
  /** Whose Worker is asked for the word; null once it is back. */
  private asked: Reader | null = null
  /** How many have been sent something, and one of them. */
  private members = 0
  private one: Reader | null = null

  constructor(
    private readonly release: (owed: readonly Printed[]) => void,
    private readonly from = CROWD_FROM,
  ) {}

  /** Whether what is said waits. */
  get waits(): boolean {
    return this.timer !== null
  }

  /** What waits. */
  get waiting(): readonly Printed[] {
    return this.owed
  }

  /** Has something wait; true where that is too much. */
  owe(printed: readonly Printed[]): boolean {
    this.owed = [...this.owed, ...printed]
    for (const { frames } of printed) for (const { sse } of frames) this.bytes += sse.byteLength
    return this.bytes > MOST_BYTES
  }

  /** Counts a reader that is being sent something; any of them may be asked. */
  sent(reader: Reader): void {
    this.members += 1
    if (Math.random() * this.members < 1) this.one = reader
  }

  /** All of them have been sent it. */
  allSent(): void {
    const { members, one } = this
    this.members = 0
    this.one = null
    if (members < this.from || this.waits) return
    this.asked = one
    this.askedAt = Date.now()
    this.timer = setTimeout(() => this.go(), LONGEST_MS)
    one?.echo?.()
  }

  /** The word came back from there. */
  heard(from: Reader): void {
    if (this.timer === null || this.asked !== from) return
    const took = Date.now() - this.askedAt
    this.asked = null
    clearTimeout(this.timer)
    this.timer = setTimeout(() => this.go(), Math.max(0, Math.min(took, LONGEST_MS - took)))
  }

  /** Lets what waits go now. */
  go(): void {
    if (this.timer !== null) clearTimeout(this.timer)
    this.timer = null
    this.asked = null
    const { owed } = this
    this.owed = []
    this.bytes = 0
    if (owed.length > 0) this.release(owed)
  }
}

import type { Frame, RoomEvent } from '../log/protocol'
import type { Reader } from './reader'

/** From so many readers on what is said waits until they have had what was said before. */
const CROWD_FROM = 128
/** Nothing waits longer, whatever became of the Worker that was asked. */
const LONGEST_MS = 1_000
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
  private askedAt: number | null = null
  private timer: ReturnType<typeof setTimeout> | null = null
  private members = 0
  private asked: Reader | null = null

  constructor(
    private readonly release: (owed: readonly Printed[]) => void,
    private readonly from = CROWD_FROM,
  ) {}

  /** Whether what is said waits. */
  get waits(): boolean {
    return this.timer !== null
  }

  owe(printed: readonly Printed[]): void {
    this.owed = [...this.owed, ...printed]
  }

  /** What waits. */
  get waiting(): readonly Printed[] {
    return this.owed
  }

  /** Counts a reader that is being sent something; any of them may be asked. */
  sent(reader: Reader): void {
    this.members += 1
    if (Math.random() * this.members < 1) this.asked = reader
  }

  /** All of them have been sent it. */
  allSent(): void {
    const { members, asked } = this
    this.members = 0
    this.asked = null
    if (members < this.from || this.waits) return
    this.askedAt = Date.now()
    this.timer = setTimeout(() => this.go(), LONGEST_MS)
    asked?.echo?.()
  }

  /** The word came back. */
  heard(): void {
    if (this.askedAt === null || this.timer === null) return
    const took = Date.now() - this.askedAt
    this.askedAt = null
    clearTimeout(this.timer)
    this.timer = setTimeout(() => this.go(), Math.max(0, Math.min(took, LONGEST_MS - took)))
  }

  private go(): void {
    this.timer = null
    this.askedAt = null
    const { owed } = this
    this.owed = []
    if (owed.length > 0) this.release(owed)
  }
}

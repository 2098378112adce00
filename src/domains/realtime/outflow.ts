import { utf8 } from '../../lib/encoding'

/** What may be on its way to a client that has not said that it arrived. */
const WINDOW_BYTES = 256 * 1024
/** What may wait here beyond that. */
const HELD_BYTES = 4 * 1024 * 1024
/** Who was sent too much has so long for its first acknowledgement, and for the next. */
export const FIRST_ACK_MS = 5_000
const STUCK_MS = 60_000

type Frame = { channel: string; id: string | null; text: string; bytes: number }

const ID = /"id":"([^"]+)"\}$/

/**
 * What the channels of a socket say, no faster than its client takes it: the runtime does not tell what waits in a
 * socket, so only the client can. Who is too slow is given up, and goes on where it was when it comes again.
 */
export class Outflow {
  private readonly sent: Frame[] = []
  private sentBytes = 0
  private held: Frame[] = []
  private heldBytes = 0
  private acknowledges = false
  private patience: ReturnType<typeof setTimeout> | null = null

  constructor(
    private readonly send: (text: string) => void,
    private readonly giveUp: () => void,
  ) {}

  /** Sends a frame of a channel, now or when there is room. */
  offer(channel: string, text: string): void {
    const frame = { channel, id: ID.exec(text)?.[1] ?? null, text, bytes: utf8(text).byteLength }
    if (this.held.length === 0 && this.fits(frame)) this.give(frame)
    else this.hold(frame)
  }

  private hold(frame: Frame): void {
    this.held.push(frame)
    this.heldBytes += frame.bytes
    if (this.heldBytes > HELD_BYTES) this.giveUp()
    else this.patience ??= setTimeout(this.giveUp, this.acknowledges ? STUCK_MS : FIRST_ACK_MS)
  }

  /** The client has all up to a frame of a channel; false where that is nothing that was sent. */
  acknowledge(channel: string, id: string): boolean {
    const last = this.sent.findLastIndex((frame) => frame.channel === channel && frame.id === id)
    if (last < 0) return false
    this.acknowledges = true
    // They arrive in the order in which they were sent: what other channels said before has, too.
    for (const { bytes } of this.sent.splice(0, last + 1)) this.sentBytes -= bytes
    this.end()
    const waiting = this.held
    this.held = []
    this.heldBytes = 0
    for (const { channel: its, text } of waiting) this.offer(its, text)
    return true
  }

  /** Nothing more of a channel is wanted; what was sent of it is on its way all the same. */
  forget(channel: string): void {
    this.held = this.held.filter((frame) => frame.channel !== channel)
    this.heldBytes = this.held.reduce((sum, { bytes }) => sum + bytes, 0)
    if (this.held.length === 0) this.end()
  }

  /** Waits for nothing any more. */
  end(): void {
    if (this.patience !== null) clearTimeout(this.patience)
    this.patience = null
  }

  private fits({ bytes }: Frame): boolean {
    // A frame that is larger than all that may be on its way goes alone.
    return this.sentBytes === 0 || this.sentBytes + bytes <= WINDOW_BYTES
  }

  private give(frame: Frame): void {
    this.send(frame.text)
    this.sent.push({ ...frame, text: '' })
    this.sentBytes += frame.bytes
  }
}

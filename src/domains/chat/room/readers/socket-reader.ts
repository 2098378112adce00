import { utf8 } from '../../../../lib/encoding'
import type { Loss } from '../../../realtime/rights'
import type { Caller } from '../caller'
import { type Cursor, type Frame, MAX_EVENT, parseCursor, type RoomEvent } from '../log/protocol'
import { DELETED } from '../refusal'
import type { Attachment, SocketOptions } from './attachment'
import { ECHO } from './crowd'
import type { Lane } from './lane'
import { openFrame } from './open-frames'
import { STUCK_MS } from './pipe'
import type { Reader } from './reader'
import { joined } from './together'
import { SendWindow } from './window'

/** Backlog given to the Worker of an SSE reader before it says that its reader has taken it. */
const PAGE_BYTES = 64 * 1024
/** Clients are told to acknowledge as often as this. */
const ACK_BYTES = 64 * 1024
/** Who was sent so much has this long for its first acknowledgement: a backlog goes out faster than any can come in. */
export const FIRST_ACK_MS = 5_000
/** After so many bytes the count is written beside the socket. */
const STEP_BYTES = 16 * 1024

const SLOW = 4409
const NEVER = 'too slow: reconnect with the id of the last event, and send ack frames'
const STUCK = 'too slow: nothing was acknowledged; reconnect with the id of the last event'

/** A socket that sleeps with the object: a client’s WebSocket, or the Worker that holds a client’s SSE response. */
export class SocketReader implements Reader {
  readonly caller: Caller
  readonly format: 'sse' | 'ws'
  readonly follows = true
  private frames: Iterator<Frame> | null = null
  private behind: boolean
  private over = false
  private sinceGo = 0
  /** The stream that the Worker has fetched, and is served by instead of the socket. */
  lane: Lane | null = null
  private readonly window: SendWindow
  /** Where the window stood when it was last written. */
  private savedAt: number
  /** When who never acknowledged anything should have. */
  private firstAckDue: number | null = null
  /** Set while nothing more may be sent before an acknowledgement. */
  private holding: ReturnType<typeof setTimeout> | null = null
  /** What ends the snapshot that is being sent, for who will not have more of it. */
  private cutOff: Frame | null = null

  constructor(
    readonly socket: WebSocket,
    private readonly options: SocketOptions = {},
  ) {
    const { caller, format, behind, window } = socket.deserializeAttachment() as Attachment
    this.caller = caller
    this.format = format
    this.behind = behind
    this.window = new SendWindow(window)
    this.savedAt = this.window.sent
  }

  /** Whether it was not closed from this side. */
  get open(): boolean {
    return !this.over
  }

  /** Whether the object went to sleep before it had given all: what was left is not known any more. */
  get lost(): boolean {
    return this.behind && this.frames === null
  }

  get backlog(): Iterator<Frame> | null {
    return this.frames
  }

  set backlog(frames: Iterator<Frame> | null) {
    this.frames = frames
    this.cutOff = null
    if (this.behind === (frames !== null)) return
    this.behind = frames !== null
    this.save()
  }

  wants(event: RoomEvent): boolean {
    const seesAll = this.caller.link === undefined || event.type !== 'message.updated'
    return seesAll || this.options.shows?.(event.data.id) !== false
  }

  ready(): boolean {
    if (this.over) return false
    if (this.format === 'ws') return this.holding === null
    return this.lane ? this.lane.fits(MAX_EVENT) : this.sinceGo < PAGE_BYTES
  }

  take(whole: Frame): boolean {
    const frame = this.caller.link !== undefined ? openFrame(whole) : whole
    if (!frame) return true
    if (this.format === 'ws') return this.takeText(frame)
    if (this.lane) return this.lane.offer(frame.sse)
    this.send(frame.sse)
    if (this.frames) {
      this.sinceGo += frame.sse.byteLength
      // The word on which the Worker says `more` once its reader has taken all.
      if (!this.ready()) this.send('pause')
    }
    return true
  }

  get served(): 'alone' | 'together' | null {
    return this.format === 'ws' ? 'alone' : this.lane ? null : 'together'
  }

  takeTogether(frames: readonly Frame[]): void {
    for (const bytes of joined(frames, this.caller.link !== undefined)) this.send(bytes)
  }

  echo(): void {
    this.send(ECHO)
  }

  /** The Worker’s reader has taken what it was given. */
  go(): void {
    this.sinceGo = 0
  }

  /** Asks the Worker to fetch that stream. */
  invite(id: string): void {
    this.send(`lane:${id}`)
  }

  /** All that follows goes by the lane, or by the socket again. */
  turn(lane: Lane | null): void {
    this.lane = lane
    if (lane) this.send('turn')
  }

  /** All that follows begins anew. */
  fresh(): void {
    this.sinceGo = 0
    this.send('fresh')
  }

  private takeText(frame: Frame): boolean {
    if (this.over) return true
    if (this.holding !== null) return false
    if (!this.window.fits(frame.size + (frame.cutOff?.size ?? 0))) {
      this.hold(frame)
      return this.over
    }
    this.sendText(frame.text, frame.size, frame.place)
    // Text is followed by more of it, or by the end of its run.
    const burst = frame.type === 'message' || frame.type === 'status'
    if (!burst || this.window.sent - this.savedAt >= STEP_BYTES) this.save()
    return true
  }

  /** Sends what is no event. Who has no room for it is closed: unlike an event it is not kept anywhere. */
  answer(text: string): void {
    if (this.over) return
    const size = utf8(text).byteLength
    if (this.window.fits(size)) this.sendText(text, size, null)
    else this.giveUp()
    this.save()
  }

  private sendText(text: string, size: number, id: string | null): void {
    this.send(text)
    this.options.count?.(size)
    this.window.count(size, id === null ? null : parseCursor(id))
    if (this.window.acknowledges || this.window.unacknowledged < ACK_BYTES) return
    this.firstAckDue ??= Date.now() + (this.options.firstAckMs ?? FIRST_ACK_MS)
  }

  /** The client has received all up to the cursor. True where it may be given more for that. */
  acknowledge(cursor: Cursor): boolean {
    if (this.over || !this.window.acknowledge(cursor)) return false
    if (this.holding !== null) clearTimeout(this.holding)
    this.holding = null
    this.save()
    return true
  }

  /** The client has sent so much. */
  heard(bytes: number): void {
    this.options.count?.(0, bytes)
  }

  /** The client wants to be given again what came after the cursor, which says that it has all up to there. */
  resume(cursor: Cursor | null): void {
    if (cursor) this.acknowledge(cursor)
    this.window.restart()
  }

  /** Sends nothing before the next acknowledgement, and gives the client up if none comes. */
  private hold(refused: Frame): void {
    this.cutOff = refused.cutOff
    const now = Date.now()
    this.firstAckDue ??= now + (this.options.firstAckMs ?? FIRST_ACK_MS)
    const patience = this.window.acknowledges ? STUCK_MS : this.firstAckDue - now
    if (patience <= 0) this.giveUp()
    else this.holding = setTimeout(() => this.giveUp(), patience)
  }

  private giveUp(): void {
    const { cutOff } = this
    const { acknowledges } = this.window
    if (cutOff && !acknowledges && this.window.fits(cutOff.size))
      this.sendText(cutOff.text, cutOff.size, cutOff.place)
    this.close(SLOW, acknowledges ? STUCK : NEVER)
  }

  end(loss: Loss): void {
    this.close(loss.code, loss.reason)
  }

  close(code: number, reason: string): void {
    if (this.over) return
    this.over = true
    this.lane?.end(reason !== DELETED.reason)
    this.leave()
    try {
      this.socket.close(code, reason)
    } catch {
      // It is closed already.
    }
    this.options.gone?.(this)
  }

  /** The connection is no more. */
  leave(): void {
    if (this.holding !== null) clearTimeout(this.holding)
    this.holding = null
    this.lane?.end(true)
  }

  private save(): void {
    if (this.over) return
    this.savedAt = this.window.sent
    const { caller, format, behind } = this
    const window = format === 'ws' ? { window: this.window.stored } : {}
    this.socket.serializeAttachment({ caller, format, behind, ...window } satisfies Attachment)
  }

  private send(data: string | Uint8Array): void {
    try {
      this.socket.send(data)
    } catch {
      // The client has gone; the runtime says so by webSocketClose.
    }
  }
}

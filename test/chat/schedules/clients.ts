import { expect } from 'vitest'
import { streamOver } from '../../../src/domains/chat/room/readers/stream'
import { CALL_HEADER, LANE_PATH } from '../../../src/domains/chat/room/verbs'
import { type Event, EventReader, eventually, Socket } from '../kit'
import { Picture, placeOf } from './picture'
import { asked, type Place } from './place'

// Those who follow a chat over each of its transports, as its Worker serves them: each keeps the last id it was given,
// is cut off, comes back with it, and stops reading now and then.

/** How many bytes wait for a reader that does not read, here: just more than a page of the log. */
const QUEUE = 72 * 1024

export abstract class Follower {
  readonly picture = new Picture()
  connected = false

  constructor(protected readonly place: Place) {}

  /** Connects, from the last id it has, or from another. */
  abstract connect(cursor?: string): Promise<void>
  abstract cut(): Promise<void>
  /** Stops reading, or goes on. */
  abstract pause(paused: boolean): void

  /** Resolves once it has come to `id`. */
  async reached(id: string): Promise<void> {
    this.pause(false)
    const there = () => this.picture.cursor === id
    for (let tries = 0; ; tries += 1) {
      if (!this.connected) await this.connect()
      const arrived = await eventually(() => there() || !this.connected, 15_000).catch(() => false)
      if (there()) return
      if (!arrived || tries > 20)
        throw new Error(`${this.constructor.name} stays at ${this.picture.cursor}, the log ends at ${id}`)
    }
  }

  protected async open(format: 'sse' | 'ws', cursor: string | null): Promise<WebSocket> {
    const words = encodeURIComponent(JSON.stringify({ ...this.place.call, format, cursor }))
    const answer = await this.place.stub.fetch('http://room/socket', {
      headers: { Upgrade: 'websocket', [CALL_HEADER]: words },
    })
    if (!answer.webSocket) throw new Error(`${answer.status}: ${await answer.text()}`)
    return answer.webSocket
  }

  /** What the first event must be. */
  protected expectFirst(event: Event, cursor: string | null): void {
    if (cursor === null) expect(event.type).toBe('snapshot')
    else expect(event.type).not.toBe('snapshot')
  }
}

/** Over SSE: the Worker’s end of it runs here, as it does in the Worker. */
export class SseFollower extends Follower {
  private socket: WebSocket | null = null
  private reader: EventReader | null = null
  private reading: Promise<void> = Promise.resolve()
  private resume: (() => void) | null = null
  private resumed: Promise<void> | null = null

  async connect(cursor = this.picture.cursor ?? undefined): Promise<void> {
    await this.cut()
    const socket = await this.open('sse', cursor ?? null)
    this.socket = socket
    const lane = async (id: string) => {
      const request = new Request(`http://room${LANE_PATH}`, { headers: { [CALL_HEADER]: id } })
      return (await this.place.object.fetch(request)).body
    }
    const reader = new EventReader(streamOver(socket, null, { queueBytes: QUEUE, lane }))
    this.reader = reader
    this.connected = true
    this.reading = this.read(reader, cursor ?? null)
  }

  private async read(reader: EventReader, cursor: string | null): Promise<void> {
    // A stream that breaks is one that was cut: what counts is that going on from the last id is exact.
    const following = () => reader.next().catch(brokenOff)
    let first = true
    try {
      for (let event = await following(); event && this.reader === reader; event = await following()) {
        if (first) this.expectFirst(event, cursor)
        first = false
        this.picture.stream(event)
        if (this.resumed) await this.resumed
      }
    } catch (error) {
      this.place.fail(error as Error)
    }
    if (this.reader === reader) this.connected = false
  }

  async cut(): Promise<void> {
    this.pause(false)
    const { socket } = this
    this.reader = null
    this.socket = null
    this.connected = false
    socket?.close(1000)
    await this.reading
  }

  pause(paused: boolean): void {
    this.resume?.()
    this.resume = null
    this.resumed = null
    if (!paused) return
    this.resumed = new Promise((resolve) => {
      this.resume = resolve
    })
  }
}

/** Over a WebSocket of its own, which acknowledges or doesn’t. */
export class SocketFollower extends Follower {
  private socket: Socket | null = null
  private at = 0
  private paused = false
  private cursorAtOpen: string | null = null
  /** Where it asked to begin again, and how far what it then gets is known to it. */
  private resumedAt: { epoch: number; seq: number } | null = null
  private repeatedTo: number | null = null

  constructor(
    place: Place,
    private readonly acknowledges: boolean,
  ) {
    super(place)
  }

  async connect(cursor = this.picture.cursor ?? undefined): Promise<void> {
    await this.cut()
    this.cursorAtOpen = cursor ?? null
    const socket = new Socket(await this.open('ws', this.cursorAtOpen))
    this.socket = socket
    this.at = 0
    this.connected = true
    if (this.acknowledges) socket.acknowledging(2048)
    socket.ws.addEventListener('message', () => this.take(socket))
    this.take(socket)
    void socket.closed.then(() => {
      if (this.socket === socket) this.connected = false
    })
  }

  /** Begins again at the last id, on the same connection: only who acknowledges, since that is an acknowledgement too. */
  resume(): void {
    if (!this.acknowledges || !this.connected || this.paused || this.picture.cursor === null) return
    // One at a time: what comes twice could not be told from what comes three times.
    if (this.resumedAt !== null || this.repeatedTo !== null) return
    this.resumedAt = placeOf(this.picture.cursor)
    this.socket?.send('resume', { last_event_id: this.picture.cursor })
  }

  private take(socket: Socket): void {
    if (this.socket !== socket || this.paused) return
    try {
      for (; this.at < socket.seen.length; this.at += 1) {
        const event = { ...(socket.seen[this.at] as Event) }
        event.id ??= null
        if (this.at === 0) this.expectFirst(event, this.cursorAtOpen)
        if (!this.isRepeated(event)) this.picture.stream(event)
      }
    } catch (error) {
      this.place.fail(error as Error)
    }
  }

  /** What was on its way when the client asked to begin again comes a second time, the same as at first. */
  private isRepeated(event: Event): boolean {
    const { cursor } = this.picture
    if (event.type === 'reset') this.repeatedTo = null
    if (event.id === null || event.type === 'reset' || cursor === null) return false
    const { epoch, seq } = placeOf(event.id)
    const [from, last] = [this.resumedAt, placeOf(cursor)]
    if (from && epoch === from.epoch && seq === from.seq + 1 && last.seq > from.seq) {
      this.repeatedTo = last.seq
      this.resumedAt = null
    }
    if (this.repeatedTo === null) return false
    expect(event).toEqual(this.picture.since.get(event.id) ?? event)
    if (seq >= this.repeatedTo) this.repeatedTo = null
    return true
  }

  async cut(): Promise<void> {
    const { socket } = this
    this.socket = null
    this.connected = false
    this.paused = false
    this.resumedAt = null
    this.repeatedTo = null
    socket?.ws.close(1000)
  }

  pause(paused: boolean): void {
    this.paused = paused
    if (this.socket && !paused) this.take(this.socket)
  }
}

/** Over `GET /events`, a page now and then. */
export class PageFollower extends Follower {
  override async connect(): Promise<void> {
    this.connected = true
  }

  async poll(limit: number): Promise<boolean> {
    const { items, next_cursor } = await asked(this.place, 'events', { after: this.picture.cursor, limit })
    expect(items.length).toBeLessThanOrEqual(Math.max(limit, 1))
    for (const event of items) this.picture.page(event as Event, this.place.joined)
    return next_cursor !== null
  }

  override async cut(): Promise<void> {}

  override pause(): void {}

  override async reached(): Promise<void> {
    while (await this.poll(40));
  }
}

/** The end of a stream that was cut; what is no event of a stream is no cut. */
function brokenOff(error: unknown): null {
  if (error instanceof SyntaxError || String(error).includes('not a line')) throw error
  return null
}

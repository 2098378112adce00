import * as z from 'zod'
import { Problem, problem } from '../../../lib/problem'
import { isLoss } from '../../realtime/rights'
import type { Caller } from './caller'
import { FRAMES, parse } from './client-frames'
import type { SocketReader } from './readers/socket-reader'
import type { Room } from './room'

// What a client sends over its WebSocket: each frame passes what the REST route it stands for asks.

/** Beyond these a connection is closed: 4413, 4429. */
const MAX_FRAME = 64 * 1024
const MAX_FRAMES_A_SECOND = 50
/** Frames of a connection that wait while one takes long. */
const MAX_WAITING = 100

const Envelope = z.strictObject({ type: z.string(), data: z.unknown().optional() })

/** Frames from clients, in their order, one at a time for each connection. */
export class Inbox {
  private readonly seen = new WeakMap<SocketReader, number[]>()
  private readonly queues = new WeakMap<SocketReader, Promise<void>>()
  private readonly waiting = new WeakMap<SocketReader, number>()

  constructor(
    private readonly room: Room,
    /** Counts a frame as the request it stands for; rejects with a 429. */
    private readonly count: (caller: Caller, kind: 'message' | 'request') => Promise<void>,
  ) {}

  /** Takes one frame; what is wrong with it is said by an `error` frame. */
  receive(reader: SocketReader, frame: string | ArrayBuffer): Promise<void> {
    // Who was sent away and goes on talking is not heard.
    if (!reader.open) return Promise.resolve()
    const size = typeof frame === 'string' ? new TextEncoder().encode(frame).byteLength : frame.byteLength
    reader.heard(size)
    if (size > MAX_FRAME) reader.close(4413, 'a frame has at most 64 KiB')
    if (size > MAX_FRAME) return Promise.resolve()
    if (this.tooMany(reader)) {
      reader.close(4429, 'at most 50 frames a second')
      return Promise.resolve()
    }
    const waiting = this.waiting.get(reader) ?? 0
    if (waiting >= MAX_WAITING) {
      reader.close(4429, 'more than 100 frames wait to be taken')
      return Promise.resolve()
    }
    this.waiting.set(reader, waiting + 1)
    const before = this.queues.get(reader) ?? Promise.resolve()
    const work = before
      .then(() => this.take(reader, frame))
      .finally(() => this.waiting.set(reader, (this.waiting.get(reader) ?? 1) - 1))
    this.queues.set(reader, work)
    return work
  }

  private tooMany(reader: SocketReader): boolean {
    const now = Date.now()
    const times = (this.seen.get(reader) ?? []).filter((time) => time > now - 1000)
    times.push(now)
    this.seen.set(reader, times)
    return times.length > MAX_FRAMES_A_SECOND
  }

  private async take(reader: SocketReader, frame: string | ArrayBuffer): Promise<void> {
    try {
      await this.act(reader, frame)
    } catch (error) {
      const refusal =
        error instanceof Problem ? error : problem('internal_error', 'Something went wrong on our side')
      const { code, message, retryable, details } = refusal
      reader.answer(JSON.stringify({ type: 'error', data: { code, message, retryable, details } }))
    }
  }

  private async act(reader: SocketReader, frame: string | ArrayBuffer): Promise<void> {
    const { type, data } = parse(Envelope, jsonOf(frame))
    const caller = await this.allowed(reader)
    if (!caller) return
    const frameType = Object.hasOwn(FRAMES, type) ? FRAMES[type] : undefined
    if (!frameType) throw problem.invalid({ type: `must be one of ${Object.keys(FRAMES).join(', ')}` })
    // What is wrong with it is said after it was counted, as of any request.
    if (frameType.counts) await this.count(caller, frameType.counts)
    if (frameType.writes) writing(caller)
    await frameType.act({ room: this.room, reader, caller }, data)
  }

  /** Rights as they were at most five seconds ago; who has lost them is sent away, and null is answered. */
  private async allowed(reader: SocketReader): Promise<Caller | null> {
    const verdict = await this.room.rights.settle(reader.caller)
    if (!isLoss(verdict)) return verdict
    this.room.audience.remove(reader)
    reader.end(verdict)
    return null
  }
}

function writing(caller: Caller): void {
  if (caller.scopes.includes('chats:write')) return
  throw problem('insufficient_scope', 'This needs the scope chats:write', {
    details: { required: ['chats:write'], missing: 'chats:write' },
  })
}

function jsonOf(frame: string | ArrayBuffer): unknown {
  if (typeof frame !== 'string') throw problem('malformed_json', 'A frame must be text: {"type", "data"}')
  try {
    return JSON.parse(frame)
  } catch {
    throw problem('malformed_json', 'A frame must be JSON: {"type", "data"}')
  }
}

import * as z from 'zod'
import { fieldErrors } from '../../../lib/fields'
import { Problem, problem } from '../../../lib/problem'
import { CursorText, SendMessage, StopRun } from '../messages/schema'
import type { Caller } from './caller'
import { type Cursor, parseCursor } from './protocol'
import { isLoss } from './rights'
import type { Room } from './room'
import type { SocketReader } from './socket-reader'

// What a client sends over its WebSocket: each frame passes what the REST route it stands for asks.

/** Beyond these a connection is closed: 4413, 4429. */
const MAX_FRAME = 64 * 1024
const MAX_FRAMES_A_SECOND = 50

const Resume = z.strictObject({ last_event_id: CursorText.optional(), after: CursorText.optional() })
const Ack = z.strictObject({ last_event_id: CursorText })
const Envelope = z.strictObject({ type: z.string(), data: z.unknown().optional() })

/** Frames from clients, in their order, one at a time for each connection. */
export class Inbox {
  private readonly seen = new WeakMap<SocketReader, number[]>()
  private readonly queues = new WeakMap<SocketReader, Promise<void>>()

  constructor(
    private readonly room: Room,
    /** Counts a frame as the request it stands for; rejects with a 429. */
    private readonly count: (caller: Caller, kind: 'message' | 'request') => Promise<void>,
  ) {}

  /** Takes one frame; what is wrong with it is said by an `error` frame. */
  receive(reader: SocketReader, frame: string | ArrayBuffer): Promise<void> {
    const size = typeof frame === 'string' ? new TextEncoder().encode(frame).byteLength : frame.byteLength
    reader.heard(size)
    if (size > MAX_FRAME) reader.close(4413, 'a frame has at most 64 KiB')
    if (size > MAX_FRAME) return Promise.resolve()
    if (this.tooMany(reader)) {
      reader.close(4429, 'at most 50 frames a second')
      return Promise.resolve()
    }
    const before = this.queues.get(reader) ?? Promise.resolve()
    const work = before.then(() => this.take(reader, frame))
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
    switch (type) {
      case 'message': {
        // What is wrong with it is said after it was counted, as of any request.
        await this.count(caller, 'message')
        const input = parse(SendMessage, data, ['data'])
        const { traceparent } = this.room.access.context()
        await this.room.send({ caller: writing(caller), traceparent, input })
        return
      }
      case 'stop': {
        await this.count(caller, 'request')
        const { run_id } = parse(StopRun, data ?? {}, ['data'])
        await this.room.stop(writing(caller), run_id)
        return
      }
      case 'resume': {
        const { last_event_id, after } = parse(Resume, data ?? {}, ['data'])
        const from = last_event_id ?? after ?? null
        reader.resume(from === null ? null : this.known(from))
        return this.room.follow(reader, from)
      }
      case 'ack':
        return this.acknowledge(reader, parse(Ack, data, ['data']).last_event_id)
      default:
        throw problem.invalid({ type: 'must be one of message, stop, resume, ack' })
    }
  }

  private acknowledge(reader: SocketReader, id: string): void {
    const cursor = this.known(id)
    if (!cursor) throw problem.invalid({ 'data.last_event_id': 'must be the id of an event of this chat' })
    if (reader.acknowledge(cursor)) this.room.audience.pull(reader)
  }

  /** The cursor of an id that the chat may have given. */
  private known(id: string): Cursor | null {
    const cursor = parseCursor(id)
    return cursor && cursor.epoch <= this.room.log.epoch ? cursor : null
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

function writing(caller: Caller): Caller {
  if (caller.scopes.includes('chats:write')) return caller
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

function parse<S extends z.ZodType>(schema: S, value: unknown, path: PropertyKey[] = []): z.output<S> {
  const result = schema.safeParse(value)
  if (!result.success) throw problem.invalid(fieldErrors(result.error.issues, path))
  return result.data
}

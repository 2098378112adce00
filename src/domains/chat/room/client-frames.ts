import * as z from 'zod'
import { fieldErrors } from '../../../lib/fields'
import { problem } from '../../../lib/problem'
import { Id } from '../../../lib/wire'
import { CursorText, EditMessage, Regenerate, SendMessage, StopRun } from '../messages/schema'
import { MarkRead, TypingHere } from '../people/schema'
import type { Caller } from './caller'
import { activate, edit } from './log/edits'
import { type Cursor, parseCursor } from './log/protocol'
import type { SocketReader } from './readers/socket-reader'
import type { Room } from './room'

/** Who sent a frame, with rights that are at most five seconds old, and where. */
export type From = { room: Room; reader: SocketReader; caller: Caller }

/** A frame that clients send: what it counts as, whether it needs `chats:write`, and what it does. */
type ClientFrame = {
  counts?: 'message' | 'request'
  writes?: boolean
  act: (from: From, data: unknown) => void | Promise<void>
}

const Resume = z.strictObject({ last_event_id: CursorText.optional(), after: CursorText.optional() })
const Named = z.strictObject({ message_id: Id })
const Ack = z.strictObject({ last_event_id: CursorText })

/** Every type of frame that a client may send over its WebSocket: each stands for a REST route, or for the socket’s own care. */
export const FRAMES: Record<string, ClientFrame> = {
  message: {
    ...{ counts: 'message', writes: true },
    act: async ({ room, caller }, data) => {
      const input = parse(SendMessage, data, ['data'])
      await room.send({ caller, traceparent: traceOf(room), input: { kind: 'send', ...input } })
    },
  },
  regenerate: {
    ...{ counts: 'message', writes: true },
    act: async ({ room, caller }, data) => {
      const input = parse(Named.extend(Regenerate.shape), data, ['data'])
      await room.send({ caller, traceparent: traceOf(room), input: { kind: 'regenerate', ...input } })
    },
  },
  edit: {
    ...{ counts: 'message', writes: true },
    act: async ({ room, caller }, data) => {
      const { in_place, ...said } = parse(Named.extend(EditMessage.shape), data, ['data'])
      if (await edit(room, caller, { in_place, ...said })) return
      await room.send({ caller, traceparent: traceOf(room), input: { kind: 'edit', ...said } })
    },
  },
  active_leaf: {
    ...{ counts: 'request', writes: true },
    act: async ({ room, caller }, data) => {
      await activate(room, caller, parse(Named, data, ['data']).message_id)
    },
  },
  stop: {
    ...{ counts: 'request', writes: true },
    act: async ({ room, caller }, data) => {
      await room.stop(caller, parse(StopRun, data ?? {}, ['data']).run_id)
    },
  },
  typing: {
    ...{ counts: 'request', writes: true },
    act: ({ room, caller }, data) =>
      room.people.types(caller, parse(TypingHere, data ?? {}, ['data']).typing),
  },
  read: {
    counts: 'request',
    act: ({ room, caller }, data) => room.people.noteRead(caller, parse(MarkRead, data ?? {}, ['data']).seq),
  },
  resume: {
    counts: 'request',
    act: ({ room, reader }, data) => {
      const { last_event_id, after } = parse(Resume, data ?? {}, ['data'])
      const from = last_event_id ?? after ?? null
      reader.resume(from === null ? null : known(room, from))
      room.follow(reader, from)
    },
  },
  ack: {
    act: ({ room, reader }, data) => {
      const cursor = known(room, parse(Ack, data, ['data']).last_event_id)
      if (!cursor) throw problem.invalid({ 'data.last_event_id': 'must be the id of an event of this chat' })
      if (reader.acknowledge(cursor)) room.audience.pull(reader)
    },
  },
}

const traceOf = (room: Room) => room.access.context().traceparent

/** The cursor of an id that the chat may have given. */
function known(room: Room, id: string): Cursor | null {
  const cursor = parseCursor(id)
  return cursor && cursor.epoch <= room.log.epoch ? cursor : null
}

/** `value` as the schema has it; 422 naming the field, whose path begins with `path`. */
export function parse<S extends z.ZodType>(schema: S, value: unknown, path: PropertyKey[] = []): z.output<S> {
  const result = schema.safeParse(value)
  if (!result.success) throw problem.invalid(fieldErrors(result.error.issues, path))
  return result.data
}

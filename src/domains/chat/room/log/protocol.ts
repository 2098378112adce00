import { utf8 } from '../../../../lib/encoding'
import { CURSOR, type Message, type MessageUpdate, type Source } from '../../messages/schema'
import { lined } from '../readers/line-up'

// The one wire format of a chat: what an event is, how its place in the log is named, and how it is printed. An event
// is printed once, whoever reads it and over whichever transport.

/** A place in the log. The epoch changes when what was sent and what was kept may differ. */
export type Cursor = { epoch: number; seq: number }

export const printCursor = ({ epoch, seq }: Cursor): string => `e${epoch}-${seq}`

/** The cursor that `text` names; null where it is none. */
export function parseCursor(text: string): Cursor | null {
  const match = CURSOR.exec(text)
  return match ? { epoch: Number(match[1]), seq: Number(match[2]) } : null
}

/** Epoch 0 is of no log: its cursors name places inside a snapshot, from which nothing can be resumed. */
export const isInside = ({ epoch }: Cursor): boolean => epoch === 0

export type Finish = 'stop' | 'length' | 'stopped'

export type DataOf = {
  'message.created': Message
  'message.updated': MessageUpdate
  status: { description: string; level: 'info' | 'warning' | 'error'; done: boolean }
  message: { content: string }
  title: { title: string }
  /** Who has read how far, up to forty users an entry. */
  read: { reads: { user_id: string; seq: number }[] }
  tool: {
    id: string
    name: string
    status: 'call' | 'result' | 'error'
    arguments?: unknown
    result?: unknown
    /** What did not fit into a frame was cut; see tool-entry.ts. */
    truncated?: true
  }
  done: {
    message: string
    message_id: string
    run_id: string
    finish: Finish
    usage?: unknown
    /** Of an agent with knowledge bases: what it was told of them. */
    sources?: Source[]
  }
  error: { message: string; code: string; retryable: boolean; message_id?: string }
}

export type EventType = keyof DataOf

/** One entry of the log. */
export type RoomEvent = { [T in EventType]: { seq: number; type: T; data: DataOf[T] } }[EventType]

/** What a run consists of, besides the messages it made: all that the sender’s own stream shows. */
export const RUN_EVENTS: ReadonlySet<string> = new Set(['status', 'message', 'done', 'error'])

/** Each event is one write of at most 4 KiB, so that a reader who parses what one read brought finds whole events. */
export const MAX_EVENT = 4096
/** Room for `id: e123456789-123456789012345`, `data: ` and the line ends. */
const FRAMING = 64
export const MAX_JSON = MAX_EVENT - FRAMING
/** What is left for the text of a `message` event, printed as JSON. */
export const MAX_DELTA = MAX_JSON - JSON.stringify({ type: 'message', data: { content: '' } }).length
/** The longest text of a status or an error; an upstream’s words may be of any length. */
export const MAX_WORDS = 1024

/** An event as it goes out: printed when first asked for, then shared by all readers. */
export class Frame {
  private bytes: Uint8Array<ArrayBuffer> | undefined
  private json: string | undefined
  private length: number | undefined

  constructor(
    readonly id: string | null,
    readonly type: string,
    /** The event as JSON, `{"type": …, "data": …}`. */
    readonly body: string,
    /** What a client can acknowledge by it: its id, or a place inside a snapshot. */
    readonly place = id,
    /** What can stand for it and for all that follows it in a snapshot. */
    readonly cutOff: Frame | null = null,
  ) {}

  /** The frame as a part of a snapshot that is longer than one. */
  within(place: string | null, cutOff: Frame | null): Frame {
    return new Frame(this.id, this.type, this.body, place ?? this.place, cutOff)
  }

  /** As a server-sent event. */
  get sse(): Uint8Array<ArrayBuffer> {
    this.bytes ??= utf8(
      lined(
        this.id === null ? '' : `id: ${this.id}\n`,
        `data: ${this.body}\n\n`,
        (text) => utf8(text).byteLength,
      ),
    )
    return this.bytes
  }

  /** As a WebSocket message: `{id, type, data}`. */
  get text(): string {
    this.json ??= this.place === null ? this.body : `{"id":"${this.place}",${this.body.slice(1)}`
    return this.json
  }

  /** Bytes of that. */
  get size(): number {
    this.length ??= utf8(this.text).byteLength
    return this.length
  }
}

/** The frames of one event: one, or several where its text is longer than a frame; only the last carries the id. */
export function framesOf(id: string, event: RoomEvent): Frame[] {
  if (event.type === 'message') return [...textFrames(event.data.content, id)]
  return [frameOf(id, event.type, shortened(event))]
}

export function frameOf(id: string | null, type: string, data: unknown): Frame {
  return new Frame(id, type, JSON.stringify({ type, data }))
}

/** `content` as `message` frames; `id` stands on the last. */
export function* textFrames(content: string, id: string): Generator<Frame, void> {
  let rest = content
  do {
    const [piece, more] = cut(rest, MAX_DELTA)
    yield frameOf(more === '' ? id : null, 'message', { content: piece })
    rest = more
  } while (rest !== '')
}

/** The event’s data, cut to what a frame holds; `GET /events` and the chat itself have all of it. */
function shortened(event: Exclude<RoomEvent, { type: 'message' }>): unknown {
  switch (event.type) {
    case 'message.created':
      return shortMessage(event.data, MAX_JSON - JSON.stringify({ type: event.type, data: 0 }).length)
    case 'message.updated':
      return shortUpdate(event.data, MAX_JSON - JSON.stringify({ type: event.type, data: 0 }).length)
    case 'status':
      return { ...event.data, description: cut(event.data.description, MAX_WORDS)[0] }
    case 'error':
      return { ...event.data, message: cut(event.data.message, MAX_WORDS)[0] }
    case 'title':
    case 'read':
    case 'tool':
    case 'done':
      return event.data
  }
}

/** The message with as much of its content as `limit` bytes of JSON hold; cut content is marked. */
function shortMessage(whole: Message, limit: number): Message & { content_truncated?: true } {
  const message = slim(whole, limit)
  if (jsonSize(message.content) + sizeWithout(message) <= limit) return message
  const marked = { ...message, content_truncated: true as const }
  return { ...marked, content: cut(message.content, limit - sizeWithout(marked))[0] }
}

/**
 * The message with what `limit` bytes of JSON hold of what stands beside its content, marked where that is not all: first
 * goes what people think of it, then its metadata but for the name that its client knows it by.
 */
export function slim(message: Message, limit: number): Message & { metadata_truncated?: true } {
  const room = limit - MARK.length
  if (sizeWithout(message) <= room) return message
  const { feedback: _, ...unrated } = message
  if (sizeWithout(unrated) <= room) return { ...unrated, metadata_truncated: true }
  const { client_message_id } = message.metadata
  const named = { ...unrated, metadata: client_message_id === undefined ? {} : { client_message_id } }
  const bare = sizeWithout(named) <= room ? named : { ...unrated, metadata: {} }
  return { ...bare, metadata_truncated: true }
}

/** What a message is marked with where something of it was left out. */
const MARK = ',"metadata_truncated":true,"content_truncated":true'

/** The same of what a message says anew; of a comment its beginning. */
function shortUpdate(update: MessageUpdate, limit: number): MessageUpdate & { content_truncated?: true } {
  if (utf8(JSON.stringify(update)).byteLength <= limit) return update
  const { feedback, content, added, ...rest } = update
  const comment = feedback?.comment ? cut(feedback.comment, MAX_WORDS)[0] : null
  const said = feedback ? { ...rest, feedback: { ...feedback, comment } } : rest
  if (content === undefined && added === undefined) return said
  const field = content === undefined ? 'added' : 'content'
  const marked = { ...said, content_truncated: true as const, [field]: '' }
  const [text] = cut(content ?? added ?? '', limit - utf8(JSON.stringify(marked)).byteLength)
  return { ...marked, [field]: text }
}

/** Bytes of the message’s JSON but for its content. */
export const sizeWithout = (message: Message): number =>
  utf8(JSON.stringify({ ...message, content: '' })).byteLength

/** Bytes of `text` inside a JSON string. */
export function jsonSize(text: string): number {
  let size = 0
  for (let at = 0; at < text.length; at += 1) {
    size += unitSize(text, at)
    if (isPair(text, at)) at += 1
  }
  return size
}

/** Splits `text` where its JSON form would pass `limit` bytes, never inside a character. */
export function cut(text: string, limit: number): [head: string, rest: string] {
  // Nothing in JSON takes more than six bytes a code unit.
  if (text.length * 6 <= limit) return [text, '']
  let size = 0
  for (let at = 0; at < text.length; ) {
    size += unitSize(text, at)
    if (size > limit) return [text.slice(0, at), text.slice(at)]
    at += isPair(text, at) ? 2 : 1
  }
  return [text, '']
}

const isPair = (text: string, at: number): boolean => (text.codePointAt(at) ?? 0) > 0xffff

/** Bytes that the character at `at` takes in a JSON string (JSON.stringify’s escapes, UTF-8). */
function unitSize(text: string, at: number): number {
  const code = text.codePointAt(at) ?? 0
  if (code === 0x22 || code === 0x5c) return 2
  if (code < 0x20) return code === 8 || code === 9 || code === 10 || code === 12 || code === 13 ? 2 : 6
  if (code < 0x80) return 1
  if (code < 0x800) return 2
  if (code > 0xffff) return 4
  return code >= 0xd800 && code <= 0xdfff ? 6 : 3
}

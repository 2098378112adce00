import type { ListedMessage, Message } from '../../messages/schema'
import {
  cut,
  type Frame,
  frameOf,
  jsonSize,
  MAX_JSON,
  printCursor,
  sizeWithout,
  slim,
  textFrames,
} from './protocol'

/** A chat as it stands at a cursor: who has this needs nothing older. */
export type Snapshot = {
  cursor: string
  title: string | null
  /** The run that is going on. */
  run: { id: string; message_id: string } | null
  /** The newest messages of the active branch, oldest first. */
  messages: Message[]
  /** Whether `messages` reach back to the first; if not, `GET /chats/{id}` has them all. */
  complete: boolean
}

/**
 * The snapshot as a `snapshot` or `reset` event. What of the newest message does not fit into one event follows in
 * `message` events, the last of which carries the cursor: who is cut off before it starts again. A client’s own socket
 * acknowledges the others by their place; where it never does, the text ends early by an event that says so and carries
 * the cursor, since it would start again for ever.
 */
export function* snapshotFrames(type: 'snapshot' | 'reset', snapshot: Snapshot): Generator<Frame, void> {
  const [first, rest] = firstFrame(type, snapshot)
  if (rest === '') return yield first
  const cutOff = frameOf(snapshot.cursor, 'message', { content: '', content_truncated: true })
  let place = 1
  // Nothing stands for the first: without it the cursor would mean nothing.
  yield first.within(inside(place), null)
  for (const frame of textFrames(rest, snapshot.cursor)) {
    place += 1
    yield frame.within(frame.id === null ? inside(place) : null, cutOff)
  }
}

/** What a frame says of feedback: there may be much of it. */
const MOST_RATINGS = 8

function withoutComments(message: Message): Message {
  if (!message.feedback) return message
  const newest = message.feedback.toSorted((one, other) => (one.timestamp < other.timestamp ? 1 : -1))
  return { ...message, feedback: newest.slice(0, MOST_RATINGS).map((one) => ({ ...one, comment: null })) }
}

const inside = (place: number): string => printCursor({ epoch: 0, seq: place })

/** The first frame, and what of the newest message is to follow. */
function firstFrame(type: 'snapshot' | 'reset', snapshot: Snapshot): [frame: Frame, rest: string] {
  const shown = snapshot.messages.map(withoutComments)
  const head = { ...snapshot, messages: [] as Message[], complete: false }
  // The event’s own type and its name of 8 letters at most.
  let room =
    MAX_JSON - jsonSize(snapshot.title ?? '') - JSON.stringify({ type, data: { ...head, title: '' } }).length
  const whole = shown.at(-1)
  if (!whole) return [frameOf(snapshot.cursor, type, snapshot), '']
  const newest = slim(whole, room)
  const [content, rest] = cut(newest.content, room - sizeWithout(newest))
  const messages: Message[] = [{ ...newest, content }]
  room -= sizeWithout(newest) + jsonSize(content)
  let at = shown.length - 2
  for (; at >= 0; at -= 1) {
    const message = shown[at] as Message
    room -= sizeWithout(message) + jsonSize(message.content) + 1
    if (room < 0) break
    messages.unshift(message)
  }
  const data = { ...head, messages, complete: at < 0 && snapshot.complete }
  return [frameOf(rest === '' ? snapshot.cursor : null, type, data), rest]
}

/** Characters of a message that a list of chats shows; an answer may have millions. */
const MOST_LISTED = 32 * 1024

/** A message as a list shows it: its beginning, marked where that is not all. */
export function listed(message: Message): ListedMessage {
  if (message.content.length <= MOST_LISTED) return message
  // A pair of surrogates is not cut in two.
  const content = message.content.slice(0, MOST_LISTED).replace(/[\ud800-\udbff]$/, '')
  return { ...message, content, content_truncated: true }
}

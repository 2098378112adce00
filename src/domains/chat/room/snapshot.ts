import type { Message } from '../messages/schema'
import { cut, type Frame, frameOf, jsonSize, MAX_JSON, sizeWithout, textFrames } from './protocol'

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
 * `message` events, the last of which carries the cursor: who is cut off before it starts again.
 */
export function snapshotFrames(type: 'snapshot' | 'reset', snapshot: Snapshot): Frame[] {
  const newest = snapshot.messages.at(-1)
  const head = { ...snapshot, messages: [] as Message[], complete: false }
  // The event’s own type and its name of 8 letters at most.
  let room =
    MAX_JSON - jsonSize(snapshot.title ?? '') - JSON.stringify({ type, data: { ...head, title: '' } }).length
  if (!newest) return [frameOf(snapshot.cursor, type, snapshot)]
  const [content, rest] = cut(newest.content, room - sizeWithout(newest))
  const messages: Message[] = [{ ...newest, content }]
  room -= sizeWithout(newest) + jsonSize(content)
  let at = snapshot.messages.length - 2
  for (; at >= 0; at -= 1) {
    const message = snapshot.messages[at] as Message
    room -= sizeWithout(message) + jsonSize(message.content) + 1
    if (room < 0) break
    messages.unshift(message)
  }
  const data = { ...head, messages, complete: at < 0 && snapshot.complete }
  if (rest === '') return [frameOf(snapshot.cursor, type, data)]
  return [frameOf(null, type, data), ...textFrames(rest, snapshot.cursor)]
}

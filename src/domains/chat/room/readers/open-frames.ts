import type { Message, MessageUpdate } from '../../messages/schema'
import { type DataOf, Frame } from '../log/protocol'

// What who has a chat's public link is told: what was said, and nothing of whom. What is not named here is not for them.

/** Made once for all of them, and only where there is one. */
const made = new WeakMap<Frame, Frame | null>()

/** The frame as a public link shows it; null where it is nothing for it. */
export function openFrame(frame: Frame): Frame | null {
  const known = made.get(frame)
  if (known !== undefined) return known
  const open = opened(frame)
  made.set(frame, open)
  return open
}

function opened(frame: Frame): Frame | null {
  if (frame.type === 'message' || frame.type === 'status' || frame.type === 'title') return frame
  const data = openData(frame.type, JSON.parse(frame.body).data)
  if (data === null) return null
  return new Frame(
    frame.id,
    frame.type,
    JSON.stringify({ type: frame.type, data }),
    frame.place,
    frame.cutOff,
  )
}

type Standing = { cursor: string; title: string | null; run: unknown; messages: Message[]; complete: boolean }

function openData(type: string, data: unknown): object | null {
  switch (type) {
    case 'snapshot':
    case 'reset': {
      const { cursor, title, run, messages, complete } = data as Standing
      return { cursor, title, run, messages: messages.map(openMessage), complete }
    }
    case 'message.created':
      return openMessage(data as Message)
    case 'message.updated': {
      const { id, content, added, active_leaf, content_truncated } = data as MessageUpdate & {
        content_truncated?: true
      }
      if (content === undefined && added === undefined && active_leaf === undefined) return null
      return { id, content, added, active_leaf, content_truncated }
    }
    case 'done': {
      const { message, message_id, run_id, finish } = data as DataOf['done']
      return { message, message_id, run_id, finish }
    }
    case 'error': {
      // In an agent's own words there may be anything.
      const { code, message_id } = data as DataOf['error']
      return { message: 'The answer failed', code, retryable: false, ...(message_id ? { message_id } : {}) }
    }
    default:
      return null
  }
}

function openMessage(message: Message & { content_truncated?: true }) {
  const { id, parent_id, role, content, status, attachments, timestamp, content_truncated } = message
  return { id, parent_id, role, content, status, attachments, timestamp, content_truncated }
}

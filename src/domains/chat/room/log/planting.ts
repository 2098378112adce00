import { problem } from '../../../../lib/problem'
import type { Message } from '../../messages/schema'
import type { Room } from '../room'

/** Where nobody comes to write the chat’s row, what was planted is removed after this. */
const REMOVAL_MS = 60_000
/** Characters of one entry’s text, and of the entries of one row of the log: far below the 2 MB at which a row ends. */
const PIECE = 128 * 1024

/** What a chat begins with that was not said in it: each message after the one that it follows. */
export type Planted = {
  messages: Message[]
  title: string | null
  /** The last message of the branch that is shown. */
  leaf: string | null
  agent_id: string
  /** Whose chat it is: to whom none of it is new. */
  user_id: string
}

/**
 * Writes a conversation into the log of a chat that has no row yet: who does this writes the row next, with where the log
 * stands then. Done again it begins anew. 409 where there is such a chat.
 */
export async function plant(room: Room, { messages, ...planted }: Planted): Promise<{ log_seq: number }> {
  const { log, store, alarms } = room
  if (await room.access.find()) throw problem('conflict', 'There is such a chat already')
  if (store.exists) await room.erase()
  log.begin()
  alarms.set('removal', Date.now() + REMOVAL_MS)
  const now = Date.now()
  store.atomically(() => {
    for (const group of grouped(messages)) {
      log.append(now, 'message.created', ...group.map(beginning))
      for (const { id, content, feedback } of group) {
        for (const added of pieces(content).slice(1)) log.append(now, 'message.updated', { id, added })
        for (const one of feedback ?? []) log.append(now, 'message.updated', { id, feedback: one })
      }
    }
    if (planted.leaf !== null && planted.leaf !== messages.at(-1)?.id)
      log.append(now, 'message.updated', { id: planted.leaf, active_leaf: true })
    if (planted.title !== null) log.append(now, 'title', { title: planted.title })
    store.set('agent_id', planted.agent_id)
    const last = lastTime(messages)
    if (last !== null) store.set('last_message_at', last)
    // It goes into the index with the row.
    store.set('found_seq', String(log.head))
    if (messages.length > 0) room.people.receipts.wrote(planted.user_id)
  })
  return { log_seq: log.head }
}

/** When the newest of the messages was said. */
export const lastTime = (messages: readonly Message[]): string | null =>
  messages.reduce<string | null>((last, { timestamp }) => (last && last > timestamp ? last : timestamp), null)

function beginning({ feedback: _, ...message }: Message): Message {
  return { ...message, content: pieces(message.content)[0] ?? '' }
}

/** A text in pieces of bounded length, cut at no character. */
function pieces(text: string): string[] {
  const found: string[] = []
  for (let at = 0; at < text.length; ) {
    let end = Math.min(text.length, at + PIECE)
    if (end < text.length && /[\ud800-\udbff]/.test(text[end - 1] ?? '')) end -= 1
    found.push(text.slice(at, end))
    at = end
  }
  return found
}

/** Messages in groups of which each fits into one row: who is longer than a piece stands at the end of one. */
function grouped(messages: readonly Message[]): Message[][] {
  const groups: Message[][] = []
  let room = 0
  for (const message of messages) {
    const size = Math.min(PIECE, message.content.length) + 512
    if (room < size) {
      groups.push([])
      room = 2 * PIECE
    }
    groups.at(-1)?.push(message)
    room -= message.content.length > PIECE || message.feedback ? room : size
  }
  return groups
}

import { sha256 } from '../../../../lib/crypto'
import { iso, newId } from '../../../../lib/ids'
import { problem } from '../../../../lib/problem'
import type { EditMessage, Feedback, GiveFeedback, Message, MessageUpdate } from '../../messages/schema'
import { feedbackGiven, messageCreated } from '../announcements'
import type { Caller } from '../caller'
import type { Room } from '../room'
import { keepEdit, printOfEdit } from './named-edits'
import type { RoomEvent } from './protocol'

// What editors do to messages that are there, without asking the agent anything.

export type Edit = { message_id: string } & EditMessage

/**
 * Changes a message where it stands, or puts what another than a user should have said beside it. Null for a user’s
 * message that is to be answered anew: that is an order. 404, 403, 409 while it is written, or the chat archived.
 */
export async function edit(room: Room, caller: Caller, input: Edit): Promise<Message | null> {
  const { message_id, content, in_place, client_message_id } = input
  const print = await sha256(content)
  const chat = await room.access.chat(caller, 'editor')
  const message = messageOf(room, message_id)
  if (chat.is_archived) throw problem('chat_archived', 'The chat is archived')
  if (message.role === 'user' && !in_place) return null
  if (input.attachments)
    throw problem.invalid({ attachments: 'must be left out where no agent is asked: the files stay' })
  const now = Date.now()
  const metadata = { edited_at: iso(now), edited_by: caller.user_id }
  if (in_place) {
    const name = client_message_id && `${caller.user_id} ${message_id} ${client_message_id}`
    const before = name ? printOfEdit(room, name) : null
    if (before === print) return message
    if (before !== null) throw reused()
    if (message.status === 'streaming') throw busy(room)
    change(room, now, { id: message_id, content, metadata }, () => {
      room.outbox.add(now)
      if (name) keepEdit(room, { name, print })
    })
    return messageOf(room, message_id)
  }
  if (room.runs.going) throw busy(room)
  const { parent_id, role, attachments } = message
  const named_by = caller.user_id
  const before = client_message_id && room.conversation.namedBeside(parent_id, client_message_id, named_by)
  if (before) {
    const said = messageOf(room, before)
    const changed = said.metadata.edited_at !== said.timestamp
    if (said.metadata.edited_from === message_id && (changed || said.content === content)) return said
    throw reused()
  }
  const base = { id: newId(now), parent_id, role, content, attachments, status: 'complete' as const }
  const sibling: Message = {
    ...base,
    run_id: null,
    metadata: {
      ...metadata,
      edited_from: message_id,
      ...(client_message_id === undefined ? {} : { client_message_id, named_by }),
    },
    timestamp: iso(now),
  }
  write(room, () => {
    const { log, outbox, store } = room
    store.set('last_message_at', iso(now))
    outbox.add(now, messageCreated(room.ids.chat_id, sibling, caller.user_id))
    return log.append(now, 'message.created', sibling)
  })
  return sibling
}

/** Shows the branch through a message, down to its newest end; answers that end. 404, 403, 409 while a run goes on. */
export async function activate(room: Room, caller: Caller, messageId: string): Promise<string> {
  await room.access.chat(caller, 'editor')
  messageOf(room, messageId)
  const leaf = room.conversation.below(messageId)
  if (leaf === room.conversation.leaf) return leaf
  // Who comes now is told what is being written as the newest message of what is shown.
  if (room.runs.going) throw busy(room)
  change(room, Date.now(), { id: leaf, active_leaf: true })
  return leaf
}

/** Keeps what the caller thinks of an answer, in the place of what was said before. 404, 403, 422. */
export async function giveFeedback(
  room: Room,
  caller: Caller,
  { message_id, rating, comment }: GiveFeedback,
): Promise<Feedback> {
  await room.access.chat(caller, 'editor')
  const message = messageOf(room, message_id, 'body')
  if (message.role !== 'assistant') throw problem.invalid({ message_id: 'must be the id of an answer' })
  const now = Date.now()
  const given = { user_id: caller.user_id, rating, comment: comment ?? null }
  const before = message.feedback?.find(({ user_id }) => user_id === caller.user_id)
  const [said, known] = [before?.rating ?? null, before?.comment ?? null]
  if (said === rating && known === given.comment) return before ?? { ...given, timestamp: iso(now) }
  const feedback = { ...given, timestamp: iso(now) }
  const agentId = room.store.get('agent_id') ?? ''
  change(room, now, { id: message_id, feedback }, () =>
    room.outbox.add(now, feedbackGiven(room.ids.chat_id, agentId, message, feedback)),
  )
  return feedback
}

/** 404 where the chat has no such message; 422 where a body names it. */
function messageOf(room: Room, id: string, from: 'path' | 'body' = 'path'): Message {
  const message = room.conversation.message(id, room.log)
  if (message) return message
  throw from === 'path'
    ? problem.notFound('message', id)
    : problem.invalid({ message_id: 'must be the id of a message of this chat' })
}

const reused = () =>
  problem('idempotency_key_reused', 'This client_message_id or key stands for another message')

const busy = (room: Room) =>
  problem('run_in_progress', 'The chat is answering a message', {
    details: { run_id: room.runs.going?.id },
  })

function change(room: Room, now: number, update: MessageUpdate, also?: () => void): void {
  write(room, () => {
    const events = room.log.append(now, 'message.updated', update)
    if (also) also()
    else room.outbox.add(now)
    return events
  })
}

function write(room: Room, work: () => RoomEvent[]): void {
  room.audience.publish(room.store.atomically(work))
  room.outbox.soon()
}

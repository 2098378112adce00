import { problem } from '../../../../lib/problem'
import type { Message, Siblings, TreeMessage } from '../../messages/schema'
import type { Caller } from '../caller'
import type { Room } from '../room'
import type { Store } from '../store'
import type { Conversation } from './conversation'
import type { ChatLog } from './log'

// Reading messages as the tree that they are.

/** Characters of one page of messages: its messages come whole, and at least one does. */
const PAGE_CHARS = 4 * 1024 * 1024

type Parts = { store: Store; conversation: Conversation; log: ChatLog }

/** All messages, of every branch, in the order in which they were made: each after the one that it follows. */
export async function messagesPage(
  room: Room,
  caller: Caller,
  { after, limit }: { after: string | null; limit: number },
): Promise<{ items: TreeMessage[]; more: boolean }> {
  await room.access.chat(caller)
  if (!room.store.exists) return { items: [], more: false }
  const found = room.store.rows<{ id: string; chars: number }>(
    `select id, (select coalesce(sum(length(text)), 0) from contents where message_id = id) as chars
     from messages where id > ? order by id limit ?`,
    after ?? '',
    limit + 1,
  )
  const ids = within(found, limit)
  const active = activeAmong(room, ids[0] ?? '')
  const items = room.conversation.those(ids, room.log).map((message) => ({
    ...message,
    is_active: active.has(message.id),
    siblings: siblingsOf(room, message),
    children: childrenOf(room, message.id),
  }))
  return { items, more: ids.length < found.length }
}

/**
 * The branch that ends at a message, oldest first and whole. 422 where there is no such message, or the branch is longer
 * than one answer of an object holds; 409 while the message is written.
 */
export async function branchTo(room: Room, caller: Caller, messageId: string): Promise<Message[]> {
  await room.access.chat(caller)
  if (!room.conversation.has(messageId))
    throw problem.invalid({ message_id: 'must be the id of a message of this chat' })
  const going = room.runs.going
  if (going?.answer_id === messageId)
    throw problem('run_in_progress', 'This message is still being written', {
      details: { run_id: going.id },
    })
  const messages = room.conversation.branch(room.log, undefined, undefined, messageId)
  if (messages[0]?.parent_id !== null)
    throw problem.invalid({
      message_id: 'must be nearer to the beginning: what comes before it has more than 8 million characters',
    })
  return messages
}

/** Of what was found as much as one page holds. */
function within(found: { id: string; chars: number }[], limit: number): string[] {
  const ids: string[] = []
  let chars = 0
  for (const row of found.slice(0, limit)) {
    chars += row.chars
    if (ids.length > 0 && chars > PAGE_CHARS) break
    ids.push(row.id)
  }
  return ids
}

/** The messages of the branch that is shown, from `first` on: none comes before the one that it follows. */
function activeAmong({ store, conversation }: Parts, first: string): Set<string> {
  const rows = store.rows<{ id: string }>(
    `with recursive branch (id) as (
       select ? union all
       select parent_id from messages join branch using (id) where parent_id >= ?)
     select id from branch`,
    conversation.leaf,
    first,
  )
  return new Set(rows.map(({ id }) => id))
}

/** A message among those that follow the same one. */
function siblingsOf({ store }: Parts, { id, parent_id }: Message): Siblings {
  const row = store.row<Siblings>(
    `select count(*) as count, coalesce(sum(id <= ?), 0) as position,
       max(case when id < ? then id end) as previous_id, min(case when id > ? then id end) as next_id
     from messages where parent_id ${parent_id === null ? 'is null' : '= ?'}`,
    ...[id, id, id],
    ...(parent_id === null ? [] : [parent_id]),
  )
  return row ?? { count: 1, position: 1, previous_id: null, next_id: null }
}

const childrenOf = ({ store }: Parts, id: string): string[] =>
  store
    .rows<{ id: string }>('select id from messages where parent_id = ? order by id', id)
    .map((row) => row.id)

/** Messages of a branch, each with its siblings where it has any: they are looked for together. */
export function withSiblings(parts: Parts, messages: Message[]): (Message & { siblings?: Siblings })[] {
  const [first] = messages
  if (!first) return []
  const rows = parts.store.rows<Siblings & { id: string }>(
    `select one.id as id, count(*) as count, sum(other.id <= one.id) as position,
       max(case when other.id < one.id then other.id end) as previous_id,
       min(case when other.id > one.id then other.id end) as next_id
     from json_each(?) cross join messages as one on one.id = value
     cross join messages as other on other.parent_id = one.parent_id
     group by one.id having count(*) > 1`,
    JSON.stringify(messages.map(({ id }) => id)),
  )
  const found = new Map(rows.map(({ id, ...siblings }) => [id, siblings]))
  // Nothing is equal to no parent.
  if (first.parent_id === null) found.set(first.id, siblingsOf(parts, first))
  return messages.map((message) => {
    const siblings = found.get(message.id)
    return siblings && siblings.count > 1 ? { ...message, siblings } : message
  })
}

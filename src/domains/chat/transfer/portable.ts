import { iso, isUuid, newId } from '../../../lib/ids'
import { type FieldErrors, problem } from '../../../lib/problem'
import type { Message } from '../messages/schema'

// A chat between two formats: what is read from a file comes to this, whoever wrote the file.

/** A message under whatever name its file gives it. `timestamp` is null where the file does not say. */
export type PortableMessage = Omit<Message, 'id' | 'parent_id' | 'run_id' | 'timestamp'> & {
  key: string
  parent: string | null
  timestamp: number | null
}

export type PortableChat = {
  title: string | null
  is_archived: boolean
  is_pinned: boolean
  tags: string[]
  metadata: Record<string, unknown>
  created_at: number | null
  messages: PortableMessage[]
  /** The last message of the branch that is shown; the newest message where the file does not say. */
  leaf: string | null
}

/** A chat as it can be taken in: each message after the one that it follows, under ids that sort so. */
export type ImportedChat = Omit<PortableChat, 'messages' | 'created_at' | 'leaf'> & {
  created_at: string
  messages: Message[]
  leaf: string | null
}

/** Characters of a message: an answer ends at 4 MiB. */
export const MOST_CONTENT = 4 * 1024 * 1024
/** Messages of one chat that is taken in. */
export const MOST_MESSAGES = 10_000

/** 422 for a file, at `path` of it. */
export const wrong = (path: string, why: string) => problem.invalid({ [path]: why } as FieldErrors)

type Node = PortableMessage & { at: number; depth: number; index: number }

/** The chat as it can be taken in now; 422 at `path` where its messages are no tree. `where` names a message’s parent. */
export function settled(
  { messages, created_at, leaf, ...chat }: PortableChat,
  now: number,
  path: string,
  where: (message: PortableMessage, index: number) => string,
): ImportedChat {
  if (messages.length > MOST_MESSAGES)
    throw wrong(path, `must have at most ${MOST_MESSAGES.toLocaleString('en')} messages`)
  const long = messages.findIndex(({ content }) => content.length > MOST_CONTENT)
  if (long >= 0)
    throw wrong(path, `must have at most 4 MiB of text a message: see ${messages[long]?.key ?? long}`)
  const first = messages.find(({ timestamp }) => timestamp !== null)?.timestamp
  const nodes = placed(messages, created_at ?? first ?? now, where)
  // A message is never older than what it follows; of one time the first is the one that others follow.
  nodes.sort((a, b) => a.at - b.at || a.depth - b.depth || a.index - b.index)
  const ids = idsOf(nodes, now)
  const taken = nodes.map(({ key, parent, at, depth: _, index: _index, timestamp, ...message }): Message => {
    const status = message.status === 'streaming' ? 'interrupted' : message.status
    return {
      ...message,
      id: ids.get(key) ?? '',
      parent_id: parent === null ? null : (ids.get(parent) ?? null),
      run_id: null,
      status,
      // Nothing was said later than now: such a chat would stay the newest for ever.
      timestamp: iso(Math.min(timestamp ?? at, now)),
    }
  })
  return {
    ...chat,
    created_at: iso(Math.min(created_at ?? nodes[0]?.at ?? now, now)),
    messages: taken,
    leaf: (leaf === null ? null : ids.get(leaf)) ?? taken.at(-1)?.id ?? null,
  }
}

/** The messages with how deep in the tree each stands; 422 where one follows none that there is, or itself. */
function placed(
  messages: PortableMessage[],
  start: number,
  where: (message: PortableMessage, index: number) => string,
): Node[] {
  const byKey = new Map<string, Node>()
  messages.forEach((message, index) => {
    if (byKey.has(message.key))
      throw wrong(where(message, index).replace(/parent\w*$/, 'id'), 'must be unique')
    byKey.set(message.key, { ...message, index, depth: -1, at: message.timestamp ?? start })
  })
  for (const node of byKey.values()) {
    const above = new Set<Node>()
    let at: Node | undefined = node
    while (at && at.depth < 0) {
      if (above.has(at)) throw wrong(where(at, at.index), 'must not lead back to the message itself')
      above.add(at)
      const { parent, index }: Node = at
      const next: Node | undefined = parent === null ? undefined : byKey.get(parent)
      if (parent !== null && !next) throw wrong(where(at, index), 'must be the id of a message of the chat')
      at = next
    }
    let depth = at?.depth ?? -1
    let time = at?.at ?? Number.NEGATIVE_INFINITY
    for (const one of [...above].reverse()) {
      depth += 1
      time = Math.max(time, one.at)
      Object.assign(one, { depth, at: time })
    }
  }
  return [...byKey.values()]
}

/** An id for each, in their order; those that they have, where these tell the same order. */
function idsOf(nodes: readonly Node[], now: number): Map<string, string> {
  const end = newId(now)
  const keys = nodes.map(({ key }) => key)
  const keep = nodes.every(({ key, parent }) => isUuid(key) && key < end && (parent === null || parent < key))
  if (keep) return new Map(keys.map((key) => [key, key]))
  // Time goes on by a millisecond where they share one, and never ahead of now, or new messages would be older.
  let last = 0
  const times = nodes.map(({ at }) => {
    last = Math.max(last + 1, Math.min(at, now))
    return last
  })
  const ahead = Math.max(0, (times.at(-1) ?? 0) - now)
  return new Map(keys.map((key, i) => [key, idAt(Math.max(0, (times[i] ?? 0) - ahead), i)]))
}

/** A UUIDv7 of a time that is long past, with its place among those of the same millisecond. */
function idAt(ms: number, place: number): string {
  const time = Math.floor(ms).toString(16).padStart(12, '0')
  const counter = (place & 0xfff).toString(16).padStart(3, '0')
  return `${time.slice(0, 8)}-${time.slice(8)}-7${counter}-${crypto.randomUUID().slice(19)}`
}

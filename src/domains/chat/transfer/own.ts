import { fieldErrors } from '../../../lib/fields'
import { problem } from '../../../lib/problem'
import { shownName } from '../attachments/named'
import { cut, MAX_WORDS } from '../room/log/protocol'
import { type PortableChat, type PortableMessage, settled, wrong } from './portable'
import { ExportedChat, FORMAT } from './schema'

/** Whether it is a chat that was exported here. */
export const isOwn = (value: Record<string, unknown>): boolean => value.format === FORMAT

/** Reads what `GET …/export` wrote; `agentId` is the agent that it names. 422 under `path`. */
export function fromOwn(value: Record<string, unknown>, path: string[], now: number) {
  const result = ExportedChat.safeParse(shortened(value))
  if (!result.success) throw problem.invalid(fieldErrors(result.error.issues, path))
  const { chat, messages, active_leaf } = result.data
  const { id: _, agent_id, created_at, ...kept } = chat
  const portable: PortableChat = {
    ...kept,
    tags: [...new Set(kept.tags)],
    created_at: Date.parse(created_at),
    leaf: active_leaf,
    messages: messages.map(
      ({ id, parent_id, timestamp, feedback, attachments, ...message }): PortableMessage => ({
        ...message,
        attachments: attachments.map(({ name, content_type, ...file }) => ({
          ...{ ...file, name: shownName(name), content_type: shownName(content_type) },
        })),
        key: id,
        parent: parent_id,
        timestamp: Date.parse(timestamp),
        ...(feedback ? { feedback } : {}),
      }),
    ),
  }
  const at = (name: string) => [...path, name].join('.')
  const taken = settled(portable, now, at('messages'), (_message, i) => at(`messages.${i}.parent_id`))
  if (active_leaf !== null && !messages.some((message) => message.id === active_leaf))
    throw wrong(at('active_leaf'), 'must be the id of a message of the chat')
  return { agentId: agent_id, chat: taken }
}

/**
 * An upstream’s words may be of any length: of why an answer failed no more is kept than its event says, and not what it
 * was to be written with.
 */
function shortened(value: Record<string, unknown>): Record<string, unknown> {
  if (!Array.isArray(value.messages)) return value
  const messages = value.messages.map((message: unknown) => {
    const { metadata } = (message ?? {}) as { metadata?: { error?: { message?: unknown } } }
    if (typeof metadata?.error?.message !== 'string') return message
    const error = { ...metadata.error, message: cut(metadata.error.message, MAX_WORDS)[0] }
    const { sources: _, ...rest } = metadata as { sources?: unknown }
    return { ...(message as object), metadata: { ...rest, error } }
  })
  return { ...value, messages }
}

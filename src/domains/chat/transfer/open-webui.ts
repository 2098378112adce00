import * as z from 'zod'
import { fieldErrors } from '../../../lib/fields'
import { problem } from '../../../lib/problem'
import { type PortableChat, type PortableMessage, settled, wrong } from './portable'

// Open WebUI's export: a list of chats, each with its messages by id under `chat.history.messages`.

const Seconds = z.number().nonnegative().nullish()

const Message = z.looseObject({
  parentId: z.string('must be the id of a message, or null').nullish(),
  role: z.enum(['user', 'assistant', 'system'], 'must be user, assistant or system'),
  content: z.string('must be a text').nullish(),
  timestamp: Seconds,
  model: z.string().nullish(),
  done: z.boolean().nullish(),
})

const Chat = z.looseObject({
  id: z.string().nullish(),
  title: z.string().nullish(),
  archived: z.boolean().nullish(),
  pinned: z.boolean().nullish(),
  created_at: Seconds,
  meta: z.looseObject({ tags: z.array(z.string()).nullish() }).nullish(),
  chat: z.looseObject({
    title: z.string().nullish(),
    timestamp: Seconds,
    tags: z.array(z.string()).nullish().catch(null),
    history: z.looseObject({
      messages: z.record(z.string(), Message),
      currentId: z.string().nullish(),
    }),
  }),
})

/** Whether it looks like a chat of Open WebUI. */
export function isOpenWebUi({ chat }: Record<string, unknown>): boolean {
  const history = (chat as { history?: { messages?: unknown } } | null | undefined)?.history
  return typeof history === 'object' && history !== null && typeof history.messages === 'object'
}

/** Reads a chat of Open WebUI. 422 under `path`. */
export function fromOpenWebUi(value: Record<string, unknown>, path: string[], now: number) {
  const result = Chat.safeParse(value)
  if (!result.success) throw problem.invalid(fieldErrors(result.error.issues, path))
  const { chat, meta, created_at, title, archived, pinned, id } = result.data
  const { messages, currentId } = chat.history
  const base = [...path, 'chat', 'history', 'messages']
  const at = (key: string) => [...base, key, 'parentId'].join('.')
  for (const [key, { parentId }] of Object.entries(messages))
    if (parentId && !Object.hasOwn(messages, parentId))
      throw wrong(at(key), 'must be the id of a message of the chat')
  const portable: PortableChat = {
    title: (title ?? chat.title)?.trim().slice(0, 200).toWellFormed() || null,
    is_archived: archived ?? false,
    is_pinned: pinned ?? false,
    tags: tagsOf(meta?.tags ?? chat.tags ?? []),
    metadata: { imported_from: 'open-webui', ...(id ? { chat_id: id.slice(0, 100) } : {}) },
    created_at: millis(created_at ?? chat.timestamp),
    leaf: currentId ?? null,
    messages: Object.entries(messages).map(
      ([key, message]): PortableMessage => ({
        key,
        parent: message.parentId || null,
        role: message.role,
        content: (message.content ?? '').toWellFormed(),
        status: message.done === false ? 'interrupted' : 'complete',
        attachments: [],
        metadata: message.model ? { model: message.model.slice(0, 100) } : {},
        timestamp: millis(message.timestamp),
      }),
    ),
  }
  return { agentId: null, chat: settled(portable, now, base.join('.'), ({ key }) => at(key)) }
}

const tagsOf = (tags: readonly string[]): string[] =>
  [...new Set(tags.map((tag) => tag.trim().slice(0, 50)).filter(Boolean))].slice(0, 20)

/** Open WebUI writes seconds, and at some places milliseconds: those would be after the year 5000. */
function millis(time: number | null | undefined): number | null {
  if (time === null || time === undefined) return null
  return Math.round(Math.min(time > 1e11 ? time : time * 1000, 253_402_300_799_000))
}

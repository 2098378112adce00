import * as z from 'zod'
import { fieldErrors } from '../../../lib/fields'
import { problem } from '../../../lib/problem'
import { type PortableChat, type PortableMessage, settled, wrong } from './portable'

// ChatGPT's conversations.json: a list of conversations, each with a `mapping` of nodes by id. A node without a message, or
// with one that nobody was shown, is left out, and what follows it follows what it followed.

const Seconds = z.number().nonnegative().max(253_402_300_799).nullish()

const Content = z.looseObject({
  content_type: z.string(),
  parts: z.array(z.unknown()).nullish(),
  text: z.string().nullish(),
  language: z.string().nullish(),
  result: z.string().nullish(),
  content: z.string().nullish(),
  thoughts: z
    .array(z.looseObject({ summary: z.string().nullish(), content: z.string().nullish() }))
    .nullish(),
})
type Content = z.output<typeof Content>

const Node = z.looseObject({
  parent: z.string('must be the id of a node, or null').nullish(),
  message: z
    .looseObject({
      author: z.looseObject({ role: z.string(), name: z.string().nullish() }),
      create_time: Seconds,
      content: Content.nullish(),
      status: z.string().nullish(),
      metadata: z.record(z.string(), z.unknown()).nullish(),
    })
    .nullish(),
})
type Node = z.output<typeof Node>

const Conversation = z.looseObject({
  title: z.string().nullish(),
  create_time: Seconds,
  is_archived: z.boolean().nullish(),
  is_starred: z.boolean().nullish(),
  conversation_id: z.string().nullish(),
  id: z.string().nullish(),
  current_node: z.string().nullish(),
  mapping: z.record(z.string(), Node),
})

/** Whether it looks like one of ChatGPT’s conversations. */
export const isChatGpt = (value: Record<string, unknown>): boolean =>
  typeof value.mapping === 'object' && value.mapping !== null

/** Reads one of ChatGPT’s conversations. 422 under `path`. */
export function fromChatGpt(value: Record<string, unknown>, path: string[], now: number) {
  const result = Conversation.safeParse(value)
  if (!result.success) throw problem.invalid(fieldErrors(result.error.issues, path))
  const { mapping, title, create_time, current_node, ...conversation } = result.data
  const at = (id: string) => [...path, 'mapping', id, 'parent'].join('.')
  const shown = nearestShown(mapping, at)
  const messages = Object.entries(mapping).flatMap(([id, node]): PortableMessage[] => {
    const message = messageOf(id, node)
    return message ? [{ ...message, parent: node.parent ? (shown.get(node.parent) ?? null) : null }] : []
  })
  const source = conversation.conversation_id ?? conversation.id
  const portable: PortableChat = {
    title: title?.trim().slice(0, 200).toWellFormed() || null,
    is_archived: conversation.is_archived ?? false,
    is_pinned: conversation.is_starred ?? false,
    tags: [],
    metadata: { imported_from: 'chatgpt', ...(source ? { conversation_id: source.slice(0, 100) } : {}) },
    created_at: millis(create_time),
    messages,
    leaf: current_node ? (shown.get(current_node) ?? null) : null,
  }
  return { agentId: null, chat: settled(portable, now, [...path, 'mapping'].join('.'), ({ key }) => at(key)) }
}

const millis = (seconds: number | null | undefined): number | null =>
  seconds === null || seconds === undefined ? null : Math.round(seconds * 1000)

/** Of each node the nearest on its way up that is shown, itself among them; 422 where the way is none. */
function nearestShown(mapping: Record<string, Node>, at: (id: string) => string): Map<string, string | null> {
  const shown = new Map<string, string | null>()
  for (const start of Object.keys(mapping)) {
    const above = new Set<string>()
    let id: string | null = start
    while (id !== null && !shown.has(id)) {
      const node: Node | undefined = Object.hasOwn(mapping, id) ? mapping[id] : undefined
      if (!node) throw wrong(at([...above].at(-1) ?? start), 'must be the id of a node of the mapping')
      if (above.has(id)) throw wrong(at(id), 'must not lead back to the node itself')
      above.add(id)
      if (messageOf(id, node)) break
      id = node.parent ?? null
    }
    const found = id === null ? null : shown.has(id) ? (shown.get(id) ?? null) : id
    for (const one of above) shown.set(one, found)
  }
  return checked(mapping, shown, at)
}

/** The ways between those that are shown must lead somewhere, too. */
function checked(
  mapping: Record<string, Node>,
  shown: Map<string, string | null>,
  at: (id: string) => string,
) {
  for (const [id, { parent }] of Object.entries(mapping))
    if (parent && !Object.hasOwn(mapping, parent))
      throw wrong(at(id), 'must be the id of a node of the mapping')
  return shown
}

/** The message of a node; null where nobody was shown it. */
function messageOf(key: string, { message }: Node): Omit<PortableMessage, 'parent'> | null {
  if (!message?.content) return null
  const { author, content, metadata, create_time, status } = message
  if (metadata?.is_visually_hidden_from_conversation === true) return null
  if (HIDDEN.has(content.content_type) || author.role === 'system') return null
  const text = textOf(content).trim().toWellFormed()
  if (text === '') return null
  const model = metadata?.model_slug
  const tool = author.role === 'tool' ? (author.name ?? 'tool').slice(0, 100) : null
  return {
    key,
    role: author.role === 'user' ? 'user' : 'assistant',
    content: text,
    status: status === 'in_progress' ? 'interrupted' : 'complete',
    attachments: [],
    metadata: {
      ...(typeof model === 'string' ? { model: model.slice(0, 100) } : {}),
      ...(tool ? { tool } : {}),
    },
    timestamp: millis(create_time),
  }
}

/** What ChatGPT tells its models about the user, and what they think. */
const HIDDEN = new Set([
  'user_editable_context',
  'model_editable_context',
  'thoughts',
  'reasoning_recap',
  'app_pairing_content',
])

function textOf(content: Content): string {
  const { content_type, parts, text, language, result } = content
  switch (content_type) {
    case 'code':
      return fenced(text ?? '', language === 'unknown' ? '' : (language ?? ''))
    case 'execution_output':
      return fenced(text ?? '', '')
    case 'tether_quote':
      return (text ?? '').replace(/^/gm, '> ')
    case 'tether_browsing_display':
      return result ?? ''
    default:
      return parts ? parts.map(partOf).filter(Boolean).join('\n\n') : (text ?? content.content ?? '')
  }
}

function fenced(code: string, language: string): string {
  if (code.trim() === '') return ''
  // Longer than any within.
  const longest = Math.max(2, ...(code.match(/`+/g) ?? []).map((ticks) => ticks.length))
  const fence = '`'.repeat(longest + 1)
  return `${fence}${language.replace(/[^\w+#.-]/g, '')}\n${code}\n${fence}`
}

/** A part of a message: text, what was spoken, or the name of what can’t be shown. */
function partOf(part: unknown): string {
  if (typeof part === 'string') return part
  if (typeof part !== 'object' || part === null) return ''
  const { content_type, text } = part as { content_type?: unknown; text?: unknown }
  if (typeof text === 'string') return text
  if (typeof content_type !== 'string') return ''
  if (content_type.startsWith('image')) return '[image]'
  if (content_type.includes('audio')) return '[audio]'
  if (content_type.includes('video')) return '[video]'
  return '[attachment]'
}

import { problem } from '../../../../lib/problem'
import type { Attachment } from '../../attachments/schema'
import type { EditMessage, Message, Regenerate, SendMessage } from '../../messages/schema'
import type { Caller } from '../caller'
import type { Conversation, RunRow } from '../log/conversation'
import type { ChatLog } from '../log/log'

/** What begins a run: a new message, one said differently, or another answer to what was said. */
export type Ordered =
  | ({ kind: 'send' } & SendMessage)
  | ({ kind: 'edit'; message_id: string } & Omit<EditMessage, 'in_place'>)
  | ({ kind: 'regenerate'; message_id: string } & Regenerate)

export type Order = { caller: Caller; traceparent: string; input: Ordered }

/** Where an order’s answer belongs: below the question that it names, or below one that is new. */
export type Place = {
  under: string | null
  question: Message | null
  /** Of a message that is said differently: its files stay, unless others are named. */
  attachments?: Attachment[]
}

type Tree = { conversation: Conversation; log: ChatLog }

/** The place of an order in the chat as it stands; 404 or 422 where the message that it names is not there for that. */
export function placeOf({ conversation, log }: Tree, input: Ordered): Place {
  if (input.kind === 'send') {
    const under = input.parent_id === undefined ? conversation.leaf : input.parent_id
    if (input.parent_id && !conversation.has(input.parent_id))
      throw problem.invalid({ parent_id: 'must be the id of a message of this chat' })
    return { under, question: null }
  }
  const named = conversation.has(input.message_id) ? conversation.message(input.message_id, log) : null
  if (!named) throw problem.notFound('message', input.message_id)
  if (input.kind === 'edit') {
    if (named.role !== 'user') throw problem.invalid({ message_id: 'must be of a message of a user' })
    const stay = input.attachments ? {} : { attachments: named.attachments }
    return { under: named.parent_id, question: null, ...stay }
  }
  if (named.role === 'user') return { under: named.parent_id, question: named }
  const asked = named.parent_id === null ? null : conversation.message(named.parent_id, log)
  if (!asked)
    throw problem.invalid({ message_id: 'must be of a message that answers another, or of a question' })
  return { under: asked.parent_id, question: asked }
}

/** The files that an order itself names. */
export const namedIn = (input: Ordered): string[] =>
  input.kind === 'regenerate' ? [] : (input.attachments ?? [])

/** The files that an order, or a message before it, names. */
export const filesOf = (conversation: Conversation, input: Ordered): string[] => [
  ...namedIn(input),
  ...conversation.files,
]

/** The message that an order names, if any. */
export const targetOf = (input: Ordered): string | null =>
  input.kind === 'send' ? (input.parent_id ?? null) : input.message_id

/** Whether `input` says again what began the run; a question that was changed since stands for any words. */
export function isRepeat(run: RunRow, sent: Message | null, input: Ordered): boolean {
  if (run.kind !== input.kind || run.target !== targetOf(input)) return false
  const open = input.kind === 'regenerate' || (input.kind === 'edit' && !input.attachments)
  if (!open && String(namedIn(input)) !== String(sent?.attachments.map(({ id }) => id))) return false
  return (
    input.kind === 'regenerate' || sent?.content === input.content || sent?.metadata.edited_at !== undefined
  )
}

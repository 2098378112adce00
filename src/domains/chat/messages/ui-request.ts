import * as z from 'zod'
import { fieldErrors } from '../../../lib/fields'
import { isUuid } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import type { UiOrder } from '../room/formats/ui-order'
import type { Ordered } from '../room/runs/order'
import { ClientMessageId, SendMessage } from './schema'

const Part = z.looseObject({ type: z.string() })

const UiMessage = z.object({
  id: ClientMessageId,
  role: z.enum(['system', 'user', 'assistant']),
  parts: z.array(Part),
})
type UiMessage = z.output<typeof UiMessage>

/** What the AI SDK’s `DefaultChatTransport` posts; of its messages only the last is read, since the chat has the others. */
export const UiRequest = z.object({
  trigger: z
    .enum(['submit-message', 'regenerate-message'], 'must be submit-message or regenerate-message')
    .default('submit-message'),
  messageId: ClientMessageId.nullish(),
  messages: z.array(z.unknown()).optional(),
  message: UiMessage.optional(),
})
export type UiRequest = z.output<typeof UiRequest>

/** The order that a request of the AI SDK’s client means; 422 that names what is wrong with its last message. */
export function uiOrderOf({ trigger, messageId, message, messages = [] }: UiRequest): Ordered | UiOrder {
  const last = message ?? lastOf(messages)
  const inList = messages.length === 0 ? 'messages' : `messages.${messages.length - 1}`
  const path = message ? 'message' : inList
  if (trigger === 'regenerate-message') {
    const said = last?.role === 'user' ? saidIn(last, path) : null
    if (!said && !messageId) throw problem.invalid({ messageId: 'must name the answer to be given anew' })
    return { kind: 'ui', trigger, target: messageId ?? null, last: said }
  }
  if (last?.role !== 'user')
    throw problem.invalid({ [path]: `must ${path === 'messages' ? 'end with' : 'be'} the message of a user` })
  const { id, ...said } = saidIn(last, path)
  // By an id like the chat’s own it may be there already.
  if (messageId || isUuid(id))
    return { kind: 'ui', trigger, target: messageId ?? null, last: { id, ...said } }
  return { kind: 'send', ...said, client_message_id: id }
}

function lastOf(messages: unknown[]): UiMessage | null {
  if (messages.length === 0) return null
  const parsed = UiMessage.safeParse(messages.at(-1))
  if (parsed.success) return parsed.data
  throw problem.invalid(fieldErrors(parsed.error.issues, ['messages', messages.length - 1]))
}

/** Where a file that is attached to a chat is read. */
const FILE = /\/api\/v1\/(?:files|chats\/[\w-]+\/attachments)\/([\da-f-]{36})(?:[/?#]|$)/i

/** The text of a message’s parts, and the files that they show. */
function saidIn({ id, parts }: UiMessage, path: string): NonNullable<UiOrder['last']> {
  const text = parts.flatMap((part) =>
    part.type === 'text' && typeof part.text === 'string' ? part.text : [],
  )
  const files = parts.flatMap((part, at) => (part.type === 'file' ? fileOf(part, `${path}.parts.${at}`) : []))
  const said = SendMessage.pick({ content: true, attachments: true }).safeParse({
    content: text.join('\n'),
    ...(files.length > 0 ? { attachments: files } : {}),
  })
  if (said.success) return { id, ...said.data }
  throw problem.invalid({ [`${path}.parts`]: said.error.issues[0]?.message ?? 'must be text' })
}

function fileOf({ url }: z.output<typeof Part>, path: string): string {
  const id = typeof url === 'string' ? FILE.exec(url)?.[1] : undefined
  if (id) return id.toLowerCase()
  throw problem.invalid({ [`${path}.url`]: 'must be the url of a file that was attached to the chat before' })
}

import type { Context } from '../../../data/context'
import { isUuid } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { Exchange, SendMessage, Source } from '../messages/schema'
import { orderRun } from '../messages/service'
import { textOf } from './asking'
import type { Completion, CompletionRequest } from './schema'
import { completionOf } from './service'

/** Which chat the last message is for, by the request’s metadata or its header; null where it is for none. */
export function chatMeant({ metadata }: CompletionRequest, header: string | null): string | null {
  const named = metadata?.chat_id ?? header
  if (named === undefined || named === null) return null
  if (typeof named === 'string' && isUuid(named)) return named.toLowerCase()
  throw problem.invalid({ 'metadata.chat_id': 'must be the id of a chat' })
}

type InChat = { chatId: string; input: CompletionRequest; key: string | null; signal: AbortSignal }

/** Sends the last message to a chat and streams its run as OpenAI’s chunks; the chat has the messages before it. */
export async function streamInChat(ctx: Context, asked: InChat): Promise<Response> {
  const usage = asked.input.stream_options?.include_usage === true
  return order(ctx, asked, 'stream', usage ? 'openai+usage' : 'openai')
}

/** The same, waited for. */
export async function completeInChat(ctx: Context, asked: InChat): Promise<Completion> {
  const answered = Exchange.parse(await (await order(ctx, asked, 'exchange', 'openai')).json())
  const { run_id, finish, messages, usage } = answered
  const answer = {
    id: run_id,
    model: asked.input.model,
    started_at: Date.parse(messages[0]?.timestamp ?? ''),
  }
  return completionOf(answer, messages[1]?.content ?? '', {
    calls: [],
    finish: finish === 'length' ? 'length' : 'stop',
    tokens: {
      prompt_tokens: usage?.prompt_tokens ?? null,
      completion_tokens: usage?.completion_tokens ?? null,
    },
    sources: sourcesIn(messages[1]?.metadata),
  })
}

const sourcesIn = (metadata: Record<string, unknown> = {}): Source[] =>
  Source.array().catch([]).parse(metadata.sources)

async function order(
  ctx: Context,
  { chatId, input, key, signal }: InChat,
  answer: 'stream' | 'exchange',
  format: 'openai' | 'openai+usage',
): Promise<Response> {
  const content = questionOf(input)
  const order = { kind: 'send' as const, content, ...(key === null ? {} : { client_message_id: key }) }
  return orderRun(ctx, chatId, { input: order, answer, format, agent_id: input.model.toLowerCase() }, signal)
}

/** The last message, which must be the user’s and a message as any chat takes it. */
function questionOf({ messages, tools }: CompletionRequest): string {
  if (tools?.length) throw problem.invalid({ tools: 'must not be sent to a chat: its agent has its own' })
  const at = messages.length - 1
  const last = messages[at]
  if (last?.role !== 'user') throw problem.invalid({ [`messages.${at}.role`]: 'must be user, in a chat' })
  const content = SendMessage.shape.content.safeParse(textOf(last))
  if (content.success) return content.data
  throw problem.invalid({ [`messages.${at}.content`]: content.error.issues[0]?.message ?? 'must be text' })
}

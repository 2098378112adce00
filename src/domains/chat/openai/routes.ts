import { Hono } from 'hono'
import * as z from 'zod'
import type { AppEnv } from '../../../http/app-env'
import { jsonOf, readText } from '../../../http/body'
import type { Note } from '../../../http/notes'
import { body, doc, params, returns } from '../../../http/route'
import { keyOf } from '../../metering/idempotency/middleware'
import { allow } from '../../tenancy/authorize'
import { eventStream } from '../agents/answers'
import { stillIn } from '../chats/service'
import { streaming } from '../messages/answering'
import { openai as dialect } from './dialect'
import { chatMeant, completeInChat, streamInChat } from './in-chat'
import { getModel, listModels } from './models'
import { Completion, CompletionRequest, Model, ModelList } from './schema'
import { complete, streamCompletion } from './service'

const tag = 'OpenAI'
/** Clients ask for names of other makers’ models too, of which there is none here. */
const ModelId = z
  .string()
  .regex(/^[\w.:-]{1,100}$/, 'must be the id of an agent')
  .meta({ example: '0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d' })
const bare = { bare: true } as const
/** Pictures are sent within the messages. */
const MOST = 8 * 1024 * 1024

const CHAT_HEADER = 'X-Causeway-Chat-Id'

/** A stored answer of a chat is for who may still write there; what was no completion request named no chat. */
const again: Note['again'] = async (ctx, _params, c) => {
  const sent = await readText(c, MOST)
    .then(jsonOf)
    .catch(() => null)
  const { data } = CompletionRequest.safeParse(sent)
  const id = data && chatMeant(data, c.req.header(CHAT_HEADER) ?? null)
  if (id) await stillIn('editor')(ctx, { id })
}

/** What OpenAI’s own clients drive unchanged: agents are its models. */
export const openaiRoutes = new Hono<AppEnv>()
  .post(
    '/chat/completions',
    doc('Ask an agent as OpenAI’s clients do', {
      tag,
      dialect,
      description:
        'Answers the conversation that is sent, without a chat. With `metadata.chat_id`, or the header `X-Causeway-Chat-Id`, the last message is sent to that chat instead.',
      counts: 'message',
      idempotency: 'claimed',
      target: CHAT_HEADER,
      again,
      also: [
        {
          status: 200,
          schema: null,
          contentType: 'text/event-stream',
          description: 'With `stream`: the answer’s chunks',
        },
      ],
      errors: [
        ...([
          'agent_inactive',
          'agent_on_calls_only',
          'upstream_failed',
          'upstream_timeout',
          'idempotency_in_progress',
        ] as const),
        ...(['chat_role_required', 'chat_archived', 'run_in_progress'] as const),
      ],
    }),
    allow('chats:write'),
    body(CompletionRequest, { limit: MOST }),
    returns(200, Completion, { ...bare, description: 'The whole answer' }),
    async (c) => {
      const input = c.req.valid('json')
      const { ctx } = c.var
      const { signal } = c.req.raw
      const chatId = chatMeant(input, c.req.header(CHAT_HEADER) ?? null)
      if (chatId !== null) {
        const asked = { chatId, input, key: keyOf(c), signal }
        if (input.stream) return streaming((await streamInChat(ctx, asked)).body)
        return c.var.reply(await completeInChat(ctx, asked))
      }
      if (!input.stream) return c.var.reply(await complete(ctx, input, signal))
      const stop = new AbortController()
      signal.addEventListener('abort', () => stop.abort())
      return eventStream(c, await streamCompletion(ctx, input, stop.signal), stop)
    },
  )
  .get(
    '/models',
    doc('List the agents that answer as models', {
      tag,
      dialect,
      description: 'Newest first, 1,000 at most.',
    }),
    allow('agents:read'),
    returns(200, ModelList, bare),
    async (c) => c.var.reply(await listModels(c.var.ctx)),
  )
  .get(
    '/models/:model',
    doc('Read an agent as a model', { tag, dialect }),
    allow('agents:read'),
    params({ model: ModelId }),
    returns(200, Model, bare),
    async (c) => c.var.reply(await getModel(c.var.ctx, c.req.valid('param').model)),
  )

import * as z from 'zod'
import { Id } from '../../../lib/wire'
import { Source } from '../messages/schema'

// OpenAI’s chat completions (https://platform.openai.com/docs/api-reference/chat/create). What is not known is ignored.

const ContentPart = z.looseObject({ type: z.string(), text: z.string().optional() })

const InputMessage = z.looseObject({
  role: z.enum(
    ['system', 'developer', 'user', 'assistant', 'tool', 'function'],
    'must be system, developer, user, assistant, tool or function',
  ),
  content: z
    .union([z.string(), z.array(ContentPart)], 'must be text, or a list of parts')
    .nullish()
    .meta({ example: 'Where is my order?' }),
})
export type InputMessage = z.output<typeof InputMessage>

const number = () => z.number('must be a number').nullish()

/** What is passed on to the agent, where its own config does not say it. */
export const PARAMETERS = {
  temperature: number(),
  top_p: number(),
  max_tokens: number(),
  max_completion_tokens: number(),
  presence_penalty: number(),
  frequency_penalty: number(),
  seed: number(),
  stop: z.unknown().optional(),
  logit_bias: z.unknown().optional(),
  response_format: z.unknown().optional(),
  reasoning_effort: z.unknown().optional(),
  verbosity: z.unknown().optional(),
  tools: z
    .array(z.looseObject({ type: z.string() }), 'must be a list of tools')
    .nullish()
    .meta({ description: 'Functions that the caller carries out; for agents that call tools.' }),
  tool_choice: z.unknown().optional(),
  parallel_tool_calls: z.unknown().optional(),
}

export const CompletionRequest = z
  .object({
    model: z
      .string('must be the id of an agent')
      .min(1, 'must be the id of an agent')
      .meta({ description: 'The id of an agent.' }),
    messages: z
      .array(InputMessage, 'must be a list of messages')
      .min(1, 'must have at least one message')
      .meta({ description: 'The whole conversation; of a chat that metadata names only the last is read.' }),
    stream: z.boolean('must be true or false').nullish(),
    stream_options: z
      .object({ include_usage: z.boolean('must be true or false').nullish() })
      .nullish()
      .meta({
        description: 'With `include_usage` the last chunk has the tokens, where the agent tells them.',
      }),
    n: z.literal(1, 'must be 1: an agent gives one answer').nullish(),
    metadata: z
      .record(z.string(), z.unknown())
      .nullish()
      .meta({ description: '`chat_id` names a chat that the last message is sent to.' }),
    ...PARAMETERS,
  })
  .meta({
    examples: [
      {
        model: '0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d',
        messages: [{ role: 'user', content: 'Where is my order?' }],
      },
    ],
  })
export type CompletionRequest = z.output<typeof CompletionRequest>

const ToolCall = z.object({
  id: z.string(),
  type: z.literal('function'),
  function: z.object({ name: z.string(), arguments: z.string() }),
})

export const Completion = z
  .object({
    id: z.string().meta({ example: 'chatcmpl-0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d' }),
    object: z.literal('chat.completion'),
    created: z.int(),
    model: z.string(),
    choices: z.array(
      z.object({
        index: z.int(),
        message: z.object({
          role: z.literal('assistant'),
          content: z.string().nullable(),
          refusal: z.null(),
          tool_calls: z.array(ToolCall).optional(),
        }),
        logprobs: z.null(),
        finish_reason: z.enum(['stop', 'length', 'tool_calls']),
      }),
    ),
    usage: z
      .object({ prompt_tokens: z.int(), completion_tokens: z.int(), total_tokens: z.int() })
      .optional()
      .meta({ description: 'Where the agent tells it.' }),
    sources: z
      .array(Source)
      .optional()
      .meta({ description: 'What the agent was told of its knowledge bases, where it has any.' }),
  })
  .meta({ id: 'OpenAiChatCompletion' })
export type Completion = z.output<typeof Completion>

export const Model = z
  .object({
    id: Id.meta({ description: 'The agent’s.' }),
    object: z.literal('model'),
    created: z.int(),
    owned_by: z.string().meta({ example: 'causeway' }),
    name: z.string().meta({ description: 'The agent’s name.', example: 'Support Bot' }),
  })
  .meta({ id: 'OpenAiModel' })
export type Model = z.output<typeof Model>

export const ModelList = z.object({ object: z.literal('list'), data: z.array(Model) })
export type ModelList = z.output<typeof ModelList>

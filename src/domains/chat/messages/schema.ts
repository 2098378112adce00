import * as z from 'zod'
import { utf8 } from '../../../lib/encoding'
import { Id } from '../../../lib/wire'

/** The longest message in bytes: some 30,000 words, and far from the 2 MB at which a row of the chat’s storage ends. */
export const MAX_CONTENT = 128 * 1024

const Content = z
  .string()
  // Half a surrogate pair has no UTF-8 form: what is stored and sent on must be the same text.
  .overwrite((content) => content.toWellFormed())
  .refine((content) => content.trim() !== '', 'must not be empty')
  .refine(
    (content) => content.length <= MAX_CONTENT && utf8(content).byteLength <= MAX_CONTENT,
    'must have at most 128 KiB of text',
  )
  .meta({ example: 'Where is my order?', description: 'At most 128 KiB of text.' })

/** A client’s own name for a message, or an idempotency key, which stands for it. */
export const ClientMessageId = z
  .string()
  .min(1, 'must not be empty')
  .max(255, 'must have at most 255 characters')

export const SendMessage = z.strictObject({
  content: Content,
  client_message_id: ClientMessageId.optional().meta({
    description: 'Sent again, it gives the same run again instead of a second answer.',
  }),
})
export type SendMessage = z.output<typeof SendMessage>

export const StopRun = z.strictObject({
  run_id: Id.optional().meta({ description: 'Only this run; without it, whichever is going on.' }),
})
export type StopRun = z.output<typeof StopRun>

export const MESSAGE_STATUS = ['complete', 'streaming', 'stopped', 'interrupted', 'failed'] as const

export const Message = z
  .object({
    id: Id,
    parent_id: Id.nullable().meta({ description: 'The message that this one follows.' }),
    role: z.enum(['user', 'assistant', 'system']),
    content: z.string(),
    status: z.enum(MESSAGE_STATUS),
    run_id: Id.nullable(),
    attachments: z.array(z.record(z.string(), z.unknown())),
    metadata: z.record(z.string(), z.unknown()),
    timestamp: z.iso.datetime(),
  })
  .meta({ id: 'Message' })
export type Message = z.output<typeof Message>

export const Usage = z.object({
  prompt_tokens: z.int().nullable(),
  completion_tokens: z.int().nullable(),
  time_to_first_token_ms: z.int().nullable(),
  duration_ms: z.int(),
})
export type Usage = z.output<typeof Usage>

/** A question and its answer, for who waits instead of streaming. */
export const Exchange = z
  .object({
    run_id: Id,
    finish: z.enum(['stop', 'length', 'stopped']),
    messages: z.array(Message).meta({ description: 'The message that was sent, and the answer.' }),
    usage: Usage.nullable(),
  })
  .meta({ id: 'Exchange' })
export type Exchange = z.output<typeof Exchange>

/** A run that goes on after the answer to the request. */
export const StartedRun = z
  .object({
    run_id: Id,
    message_id: Id.meta({ description: 'The answer, which is still being written.' }),
    status: z.enum(MESSAGE_STATUS),
  })
  .meta({ id: 'StartedRun' })
export type StartedRun = z.output<typeof StartedRun>

export const Stopped = z
  .object({
    stopped: z
      .boolean()
      .meta({ description: 'Whether this request stopped a run; false where none was going on.' }),
    run_id: Id.nullable(),
    message_id: Id.nullable(),
  })
  .meta({ id: 'Stopped' })
export type Stopped = z.output<typeof Stopped>

export const CURSOR = /^e(\d{1,9})-(\d{1,15})$/

/** A place in a chat’s log, as every event carries it. */
export const CursorText = z
  .string()
  .regex(CURSOR, 'must be the id of an event, such as e1-41')
  .meta({ example: 'e1-41' })

export const LoggedEvent = z
  .object({
    id: CursorText,
    type: z.string().meta({ example: 'message' }),
    data: z.unknown().meta({ example: { content: 'Hi' } }),
    timestamp: z.iso.datetime(),
  })
  .meta({ id: 'LoggedEvent' })
export type LoggedEvent = z.output<typeof LoggedEvent>

import * as z from 'zod'
import { utf8 } from '../../../lib/encoding'
import { Id } from '../../../lib/wire'
import { Attachment, AttachmentIds } from '../attachments/schema'

/** The longest message in bytes: some 30,000 words, and far from the 2 MB at which a row of the chat’s storage ends. */
export const MAX_CONTENT = 128 * 1024

const Content = z
  .string('must be a text')
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

const OwnName = ClientMessageId.optional().meta({
  description: 'Sent again, it gives the same run again instead of a second answer.',
})

export const SendMessage = z.strictObject({
  content: Content,
  client_message_id: OwnName,
  attachments: AttachmentIds.optional(),
  parent_id: Id.nullable().optional().meta({
    description:
      'The message to go on from, or null for a new beginning; the newest shown where it is not sent.',
  }),
})
export type SendMessage = z.output<typeof SendMessage>

export const EditMessage = z.strictObject({
  content: Content,
  client_message_id: OwnName,
  attachments: AttachmentIds.optional().meta({
    description: 'Of a user’s message that is answered anew: its files from now on. Without it they stay.',
  }),
  in_place: z.boolean('must be true or false').default(false).meta({
    description:
      'Changes the text where it stands. Without it the edited text is a new message beside the old one, and one of a user is answered anew.',
  }),
})
export type EditMessage = z.output<typeof EditMessage>

export const Regenerate = z.strictObject({ client_message_id: OwnName })
export type Regenerate = z.output<typeof Regenerate>

export const StopRun = z.strictObject({
  run_id: Id.optional().meta({ description: 'Only this run; without it, whichever is going on.' }),
})
export type StopRun = z.output<typeof StopRun>

export const MESSAGE_STATUS = ['complete', 'streaming', 'stopped', 'interrupted', 'failed'] as const

const Comment = z.string().trim().min(1, 'must not be empty').max(1000, 'must have at most 1,000 characters')

/** What somebody thinks of an answer; `user_id` is null where a key that stands for no user said it. */
export const Feedback = z
  .object({
    user_id: Id.nullable(),
    rating: z.enum(['up', 'down']).nullable(),
    comment: z.string().nullable(),
    timestamp: z.iso.datetime(),
  })
  .meta({ id: 'Feedback' })
export type Feedback = z.output<typeof Feedback>

export const GiveFeedback = z
  .strictObject({
    message_id: Id.meta({ description: 'The answer.' }),
    rating: z.enum(['up', 'down'], 'must be up, down or null').nullable().meta({
      description: 'Null takes back what you said.',
    }),
    comment: Comment.nullish(),
  })
  .refine(({ rating, comment }) => rating !== null || !comment, {
    path: ['comment'],
    message: 'must come with a rating',
  })
export type GiveFeedback = z.output<typeof GiveFeedback>

export const Message = z
  .object({
    id: Id,
    parent_id: Id.nullable().meta({ description: 'The message that this one follows.' }),
    role: z.enum(['user', 'assistant', 'system']),
    content: z.string(),
    status: z.enum(MESSAGE_STATUS),
    run_id: Id.nullable(),
    attachments: z.array(Attachment),
    metadata: z.record(z.string(), z.unknown()),
    timestamp: z.iso.datetime(),
    feedback: z
      .array(Feedback)
      .optional()
      .meta({ description: 'What each thinks of it, where anybody said so.' }),
  })
  .meta({ id: 'Message' })
export type Message = z.output<typeof Message>

/** A piece of a document that an answer was written with; `metadata.sources` of the answer lists them. */
export const Source = z
  .object({
    document_id: Id,
    knowledge_base_id: Id,
    filename: z.string().meta({ example: 'returns.md' }),
    heading: z.string().nullable().meta({ example: 'Returns › Time limits' }),
    chunk: z.int().meta({ description: 'Which piece of the document it is, counted from 0.' }),
    score: z.number().meta({ description: 'How well it fits the question, beside the others.' }),
  })
  .meta({ id: 'Source' })
export type Source = z.output<typeof Source>

/** Where a message stands among those that follow the same one: what a client shows as “2/3”. */
export const Siblings = z
  .object({
    position: z.int().meta({ description: 'From 1 on, the oldest first.' }),
    count: z.int(),
    previous_id: Id.nullable(),
    next_id: Id.nullable(),
  })
  .meta({ id: 'Siblings' })
export type Siblings = z.output<typeof Siblings>

/** A message of the tree that all branches are. */
export const TreeMessage = Message.extend({
  is_active: z.boolean().meta({ description: 'Whether it is on the branch that is shown.' }),
  siblings: Siblings,
  children: z.array(Id).meta({ description: 'The messages that follow it, oldest first.' }),
}).meta({ id: 'TreeMessage' })
export type TreeMessage = z.output<typeof TreeMessage>

/** A message of the branch that is shown. */
export const BranchMessage = Message.extend({
  siblings: Siblings.optional().meta({ description: 'Where it is not the only one in its place.' }),
}).meta({ id: 'BranchMessage' })
export type BranchMessage = z.output<typeof BranchMessage>

export const ActiveLeaf = z.object({ message_id: Id }).meta({ id: 'ActiveLeaf' })
export const ChooseBranch = z.strictObject({
  message_id: Id.meta({ description: 'Any message of the branch; it is shown down to its newest end.' }),
})
export type ChooseBranch = z.output<typeof ChooseBranch>

/** What has become of a message that was there: what is not named stayed as it was. */
export type MessageUpdate = {
  id: string
  content?: string
  /** Text behind what it says already. */
  added?: string
  /** Merged into what it has. */
  metadata?: Record<string, unknown>
  feedback?: Feedback
  /** It is now the last of the branch that is shown. */
  active_leaf?: true
}

/** A message in a list of chats, which shows 32,768 characters of it at most. */
export const ListedMessage = Message.extend({
  content_truncated: z.literal(true).optional().meta({ description: 'The chat itself has the rest.' }),
}).meta({ id: 'ListedMessage' })
export type ListedMessage = z.output<typeof ListedMessage>

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

/** The same of a message that was said differently: where no agent was asked, there is no run. */
export const Edited = Exchange.extend({
  run_id: Id.nullable(),
  finish: z.enum(['stop', 'length', 'stopped']).nullable(),
}).meta({ id: 'Edited' })

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

import * as z from 'zod'
import { utf8 } from '../../../lib/encoding'
import { Id, Time } from '../../../lib/wire'
import { Attachment, MOST_ATTACHMENTS } from '../attachments/schema'
import { Metadata, MOST_TAGS, Tag, Title } from '../chats/schema'
import { Feedback, MESSAGE_STATUS } from '../messages/schema'
import { MOST_CONTENT } from './portable'

/** What an exported chat calls itself. */
export const FORMAT = 'causeway.chat'

/** What a message says of itself besides its text; an event of 4 KiB has to hold it, and the names of files. */
const MOST_ASIDE = 2 * 1024

const Aside = z.record(z.string(), z.unknown())
const small = (value: unknown) => utf8(JSON.stringify(value)).byteLength <= MOST_ASIDE

const ExportedMessage = z.strictObject({
  id: z.string().min(1, 'must not be empty').max(100, 'must have at most 100 characters'),
  parent_id: z.string().nullable().default(null),
  role: z.enum(['user', 'assistant', 'system'], 'must be user, assistant or system'),
  content: z
    .string('must be a text')
    .refine((text) => text.length <= MOST_CONTENT, 'must have at most 4 MiB of text')
    .default(''),
  status: z.enum(MESSAGE_STATUS).default('complete'),
  attachments: z.array(Attachment).max(MOST_ATTACHMENTS).default([]),
  metadata: Aside.refine(small, 'must have at most 2 KiB as JSON').default({}),
  timestamp: Time,
  feedback: z.array(Feedback).max(1000).optional(),
})

/** A chat as a file, with every branch. */
export const ExportedChat = z
  .strictObject({
    format: z.literal(FORMAT),
    version: z.literal(1, 'must be 1: a newer version can’t be read here'),
    exported_at: Time,
    chat: z.strictObject({
      id: Id,
      title: Title.nullable(),
      agent_id: Id,
      is_archived: z.boolean().default(false),
      is_pinned: z.boolean().default(false),
      tags: z.array(Tag).max(MOST_TAGS, `must have at most ${MOST_TAGS} tags`).default([]),
      metadata: Metadata.default({}),
      created_at: Time,
    }),
    messages: z.array(ExportedMessage, 'must be a list of messages').meta({
      description: 'Of all branches, each after the one that it follows.',
    }),
    active_leaf: z.string().nullable().default(null).meta({
      description: 'The last message of the branch that is shown.',
    }),
  })
  .meta({ id: 'ExportedChat' })
export type ExportedChat = z.input<typeof ExportedChat>

export const exportQuery = {
  format: z.enum(['json', 'markdown'], 'must be json or markdown').default('json').meta({
    description:
      '`json` has all branches, and can be imported; `markdown` is the branch that is shown, for people.',
  }),
}

const Element = z.record(z.string(), z.unknown(), 'must be a chat: a JSON object')

/** A file to import: one chat, or a list of them. What is in it is looked at by whoever knows its format. */
export const ImportFile = z
  .union([Element, z.array(Element).min(1, 'must have a chat')], 'must be a chat, or a list of chats')
  .meta({
    description:
      'What `GET …/export` gave, one chat or a list; ChatGPT’s `conversations.json`; Open WebUI’s export of chats.',
    example: {
      ...{ format: FORMAT, version: 1, exported_at: '2026-01-31T10:00:00.000Z' },
      chat: {
        ...{ id: '0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d', title: 'Where is my parcel?' },
        agent_id: '0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d',
        ...{ is_archived: false, is_pinned: false, tags: [], metadata: {} },
        created_at: '2026-01-31T09:00:00.000Z',
      },
      messages: [
        {
          ...{ id: '0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8e', parent_id: null, role: 'user' },
          ...{ content: 'Where is my parcel?', status: 'complete', timestamp: '2026-01-31T09:00:00.000Z' },
        },
      ],
      active_leaf: '0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8e',
    },
  })
export type ImportFile = z.output<typeof ImportFile>

export const importQuery = {
  agent_id: Id.optional().meta({
    description:
      'The agent that answers in these chats from now on. May be left out where every chat names one of yours.',
  }),
}

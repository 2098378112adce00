import * as z from 'zod'
import { Id } from '../../../lib/wire'

/** Files of one message: what names them must leave an event room for some text. */
export const MOST_ATTACHMENTS = 8
/** The largest file that is sent through the chat itself; larger ones are presigned. */
export const MAX_ATTACHMENT = 25 * 1024 * 1024

/** A file as a message shows it. */
export const Attachment = z
  .object({
    id: Id.nullable().meta({ description: 'Null in an imported message, whose file did not come along.' }),
    name: z
      .string()
      .max(80)
      .meta({ example: 'invoice.pdf', description: 'At most 80 bytes of the file’s name.' }),
    content_type: z.string().max(80).meta({ example: 'application/pdf' }),
    size: z.int().nullable(),
  })
  .meta({ id: 'Attachment' })
export type Attachment = z.output<typeof Attachment>

export const ChatAttachment = Attachment.extend({
  id: Id,
  size: z.int(),
  chat_id: Id,
  url: z.string().meta({ description: 'Where who may read the chat reads the file.' }),
  created_by: Id.nullable(),
  created_at: z.iso.datetime(),
}).meta({ id: 'ChatAttachment' })

/** The files of a message that is sent. */
export const AttachmentIds = z
  .array(Id)
  .max(MOST_ATTACHMENTS, `must be ${MOST_ATTACHMENTS} at most`)
  .refine((ids) => new Set(ids).size === ids.length, 'must name each file once')
  .meta({ description: 'Files that were attached to this chat before, by their ids.' })

import * as z from 'zod'
import { createdBetween, Id, paging, Time } from '../../lib/wire'

/** The largest file there can be: the largest object that one upload in parts of `PART_BYTES` makes in few enough parts. */
export const MAX_FILE = 5 * 1024 ** 3
/** Above this an upload comes in parts. */
export const SINGLE_BYTES = 100 * 1024 ** 2
/** R2 wants all parts but the last of one size; the edge takes bodies up to 100 MB. */
export const PART_BYTES = 64 * 1024 ** 2
/** The sizes of the parts in which a file of `size` bytes comes. */
export const partSizes = (size: number): number[] =>
  Array.from({ length: Math.ceil(size / PART_BYTES) }, (_, i) => Math.min(PART_BYTES, size - i * PART_BYTES))

/** Files of one request. */
export const MOST_FILES = 50

const SIZE = `must be a whole number of bytes from 1 to ${MAX_FILE}`

const Filename = z
  .string()
  .trim()
  .min(1, 'must not be empty')
  .max(255, 'must have at most 255 characters')
  .refine((name) => !/[\p{Cc}/\\]/u.test(name), 'must have no slash and no control character in it')
  .overwrite((name) => name.toWellFormed())
  .meta({ example: 'invoice.pdf' })

const ContentType = z
  .string()
  .trim()
  .toLowerCase()
  .max(80, 'must have at most 80 characters')
  .regex(/^[\w.+-]+\/[\w.+-]+$/, 'must be a content type without parameters, such as image/png')
  .meta({ example: 'application/pdf' })

/** What a file is for, in a word of the caller’s; `attachment` goes with the last chat that has it. */
const Purpose = z
  .string()
  .regex(/^[a-z][a-z0-9_]{0,31}$/, 'must be a word of a to z, 0 to 9 and _, such as attachment')
  .meta({ example: 'attachment' })

const Size = z.number(SIZE).int(SIZE).min(1, SIZE).max(MAX_FILE, SIZE).meta({ example: 48213 })

export const NewFile = z.strictObject({
  filename: Filename,
  content_type: ContentType,
  size: Size.meta({ description: 'In bytes; the upload must have exactly as many.' }),
  purpose: Purpose.default('other').meta({
    description: 'What it is for, in a word; an `attachment` goes with the last chat that has it.',
  }),
})
export type NewFile = z.output<typeof NewFile>

const MUST = 'must be given (or files, a list)'

/** One file, or up to fifty as `files`. */
export const Presign = z
  .strictObject({
    filename: Filename.optional(),
    content_type: ContentType.optional(),
    size: Size.optional(),
    purpose: Purpose.optional(),
    files: z
      .array(NewFile)
      .min(1, 'must not be empty')
      .max(MOST_FILES, `must be ${MOST_FILES} at most`)
      .optional()
      .meta({ description: `Instead of the other fields: up to ${MOST_FILES} of them.` }),
  })
  .superRefine((input, issue) => {
    for (const name of ['filename', 'content_type', 'size'] as const) {
      const given = input[name] !== undefined
      if (given !== (input.files === undefined))
        issue.addIssue({
          code: 'custom',
          path: [name],
          message: given ? 'must not stand beside files' : MUST,
        })
    }
  })
  .meta({ example: { filename: 'invoice.pdf', content_type: 'application/pdf', size: 48213 } })
export type Presign = z.output<typeof Presign>

export const Upload = z.object({
  file_id: Id,
  method: z.literal('PUT'),
  url: z.url().nullable().meta({ description: 'Where the bytes go; null where they come in parts.' }),
  headers: z.record(z.string(), z.string()).meta({ description: 'Must be sent with the bytes as they are.' }),
  parts: z
    .array(z.object({ part_number: z.int(), url: z.url(), size: z.int() }))
    .nullable()
    .meta({
      description:
        'Over 100 MiB: one PUT each, within the 15 minutes or by new URLs; `complete` wants the ETag of each answer.',
    }),
  expires_at: z.iso.datetime(),
})

export const Presigned = Upload.extend({
  file_id: Id.optional(),
  method: z.literal('PUT').optional(),
  url: z.url().nullable().optional(),
  headers: z.record(z.string(), z.string()).optional(),
  parts: Upload.shape.parts.optional(),
  expires_at: z.iso.datetime().optional(),
  files: z.array(Upload).optional().meta({ description: 'Where `files` were asked for, in their order.' }),
}).meta({ id: 'PresignedUpload' })
export type Upload = z.output<typeof Upload>

const PARTS = partSizes(MAX_FILE).length

export const Complete = z.strictObject({
  parts: z
    .array(
      z.strictObject({
        part_number: z.int().min(1).max(PARTS),
        etag: z.string().trim().min(1, 'must not be empty').max(255),
      }),
    )
    .min(1, 'must not be empty')
    .max(PARTS)
    .optional()
    .meta({
      description: 'Of an upload in parts: the number of each, and the ETag that its PUT was answered.',
    }),
})
export type Complete = z.output<typeof Complete>

export const File = z
  .object({
    id: Id,
    user_id: Id.nullable(),
    filename: Filename,
    content_type: z.string().meta({ example: 'application/pdf' }),
    size: z.int(),
    purpose: Purpose,
    status: z.enum(['pending', 'ready']),
    expires_at: z.iso.datetime().nullable().meta({ description: 'Until when bytes may come.' }),
    version: z.int(),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .meta({ id: 'File' })

export const listFilters = {
  ...paging,
  purpose: Purpose.optional(),
  ...createdBetween,
  user_id: Id.optional().meta({ description: 'Another user’s files; needs `files:admin`.' }),
}
export type ListFilters = z.output<z.ZodObject<typeof listFilters>>

export const SignUrl = z.strictObject({
  expires_in: z
    .int('must be a whole number of seconds')
    .min(1, 'must be at least 1')
    .max(604_800, 'must be at most 604800, which is a week')
    .default(900)
    .meta({ description: 'Seconds.' }),
})
export type SignUrl = z.output<typeof SignUrl>

export const SignedUrl = z.object({ url: z.url(), expires_at: Time }).meta({ id: 'SignedFileUrl' })

const INTEGER = /^\d{1,12}$/

/** What a signed URL carries. */
export const signedQuery = {
  tenant: Id.optional(),
  expires: z.string().regex(INTEGER, 'must be a number of seconds').transform(Number).optional(),
  part: z.string().regex(INTEGER, 'must be a whole number').transform(Number).optional(),
  signature: z.string().max(64).optional(),
}
export type SignedQuery = z.output<z.ZodObject<typeof signedQuery>>

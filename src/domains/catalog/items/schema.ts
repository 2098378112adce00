import * as z from 'zod'
import { utf8 } from '../../../lib/encoding'
import { createdBetween, Id, paging } from '../../../lib/wire'
import { MOST_WORDS, wantedOf } from '../../../lib/words'
import { searchable } from './found-by'

/** A text without characters that nobody sees; what is looked up by its very letters has no ends of lines either. */
const Text = (most: number, unseen: RegExp) =>
  z
    .string()
    .trim()
    .min(1, 'must not be empty')
    .max(most, `must have at most ${most} characters`)
    .refine((text) => !unseen.test(text), 'must have no control characters')
const Line = (most: number) => Text(most, /\p{Cc}/u)

/** The tenant's own name of an item. */
export const ExternalId = Line(255).meta({ example: 'sku-1042' })
const Title = Text(500, /[^\P{Cc}\t\n\r]/u).meta({ example: 'Trail running shoe' })
const Category = Line(255).meta({ example: 'shoes' })
const Tag = Line(64).meta({ example: 'waterproof' })

const MOST_TAGS = 50
const MOST_ATTRIBUTES = 16 * 1024

const Tags = z
  .array(Tag)
  .max(MOST_TAGS, `must be ${MOST_TAGS} at most`)
  .overwrite((tags) => [...new Set(tags)])

const Attributes = z
  .record(
    z.string().min(1, 'must have a name').max(100, 'must have a name of at most 100 characters'),
    z.json(),
  )
  .refine(
    (attributes) => utf8(JSON.stringify(attributes)).byteLength <= MOST_ATTRIBUTES,
    `must be at most ${MOST_ATTRIBUTES} bytes of JSON`,
  )
  .meta({ example: { color: 'red', size: 42 } })

const AVAILABLE = { description: 'Whether it may be recommended and found as available.' }

/** An item as its tenant says it, whole: what is left out is as if it had never been said. */
export const NewItem = z.strictObject({
  external_id: ExternalId,
  title: Title,
  category: Category.nullable().default(null),
  tags: Tags.default([]),
  attributes: Attributes.default({}),
  available: z.boolean().default(true).meta(AVAILABLE),
})
export type NewItem = z.output<typeof NewItem>

export const ChangeItem = z.strictObject({
  title: Title.optional(),
  category: Category.nullable().optional(),
  tags: Tags.optional(),
  attributes: Attributes.optional(),
  available: z.boolean().optional().meta(AVAILABLE),
})
export type ChangeItem = z.output<typeof ChangeItem>

export const Item = z
  .object({
    id: Id,
    external_id: ExternalId,
    title: z.string().meta({ example: 'Trail running shoe' }),
    category: z.string().nullable().meta({ example: 'shoes' }),
    tags: z.array(z.string()).meta({ example: ['waterproof'] }),
    attributes: z.record(z.string(), z.unknown()).meta({ example: { color: 'red', size: 42 } }),
    available: z.boolean(),
    version: z.int(),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .meta({ id: 'Item' })
export type Item = z.input<typeof Item>

/** What is wrong with one line. */
export const LineError = z.object({
  line: z.int().meta({ description: 'Counted from 1; of a list, which of its items.' }),
  external_id: z.string().nullable(),
  fields: z.record(z.string(), z.string()).meta({ example: { title: 'must not be empty' } }),
})
export type LineError = z.output<typeof LineError>

const count = (description: string) => z.int().min(0).meta({ description })

/** What became of many. */
export const Upserted = z
  .object({
    lines: count('Items that were sent, good or not.'),
    created: count('That were not there.'),
    updated: count('That were there, and otherwise.'),
    unchanged: count('That were there just so.'),
    failed: count('That were refused.'),
    errors: z
      .array(LineError)
      .meta({ description: 'Of those that were refused, the first 1,000, or as many as 256 KiB say.' }),
  })
  .meta({ id: 'UpsertedItems' })
export type Upserted = z.output<typeof Upserted>

/** One item, or what became of many. */
export const Answered = z.union([Item, Upserted])

const MOST_TAGS_WANTED = 10

export const listFilters = {
  ...paging,
  external_id: ExternalId.optional().meta({ description: 'That one item.' }),
  category: Category.optional(),
  tag: z
    .preprocess(
      (tag) => (typeof tag === 'string' ? [tag] : tag),
      z.array(Tag).max(MOST_TAGS_WANTED).optional(),
    )
    .meta({
      description: 'Given more often, items that have all of them; ten at most.',
      example: 'waterproof',
    }),
  available: z
    .enum(['true', 'false'], 'must be true or false')
    .transform((word) => word === 'true')
    .optional(),
  q: z
    .string()
    .max(200, 'must have at most 200 characters')
    .overwrite(searchable)
    .refine((text) => wantedOf(text).length > 0, 'must have a letter or a digit in it')
    .refine((text) => wantedOf(text).length <= MOST_WORDS, `must be ${MOST_WORDS} words at most`)
    .optional()
    .meta({
      description:
        'Words, or their beginnings, that are all in title, category, tags, attributes or external_id.',
      example: 'running shoe',
    }),
  ...createdBetween,
}
export type ListFilters = z.output<z.ZodObject<typeof listFilters>>

export const FORMATS = ['csv', 'ndjson'] as const
export type Format = (typeof FORMATS)[number]

export const ImportItems = z.strictObject({
  file_id: Id.meta({ description: 'A file of yours whose upload is complete.' }),
  format: z
    .enum(FORMATS, 'must be csv or ndjson')
    .optional()
    .meta({ description: 'Left out, it is what the file’s type or name says.' }),
})
export type ImportItems = z.output<typeof ImportItems>

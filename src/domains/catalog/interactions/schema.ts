import * as z from 'zod'
import { createdBetween, Id, paging, Time } from '../../../lib/wire'
import { MOST_WORDS, wantedOf } from '../../../lib/words'

/** The tenant's own name of a user, an item, a speaker, a conversation, a channel. */
export const ForeignId = z
  .string()
  .trim()
  .min(1, 'must not be empty')
  .max(255, 'must have at most 255 characters')
  .refine((value) => !/\p{Cc}/u.test(value), 'must have no control character in it')

/** The type of what was said; what was done has any other. */
export const SPEECH = 'speech'
export const MAX_TEXT = 100_000
/** Clocks differ: what is said to happen later than this is a mistake. */
const MOST_AHEAD_MS = 5 * 60_000

const Text = z
  .string()
  .min(1, 'must not be empty')
  .max(MAX_TEXT, 'must have at most 100,000 characters')
  .refine((value) => value.trim() !== '', 'must not be blank')
  .meta({ example: 'Where is my parcel?' })

const common = {
  occurred_at: Time.refine((time) => Date.parse(time) <= Date.now() + MOST_AHEAD_MS, {
    error: 'must not lie in the future',
    // What is no time at all is told by that alone.
    abort: true,
  })
    .optional()
    .meta({ description: 'When it happened; now, if left out.' }),
  metadata: z.record(z.string().max(100, 'must have a name of at most 100 characters'), z.json()).optional(),
}

/** Whose it is and where it belongs, of what was said. */
export const saidFields = {
  speaker_id: ForeignId.optional().meta({ example: 'caller-17' }),
  conversation_id: ForeignId.optional().meta({
    description:
      'Left out, it goes on with the last conversation of the same speaker or channel if that was recent, else a new one begins.',
  }),
  channel: ForeignId.optional().meta({
    description: 'Where it was said, such as a phone number or a room.',
  }),
  ...common,
}

export const Said = z.strictObject({
  type: z.literal(SPEECH).optional(),
  text: Text.optional(),
  file_id: Id.optional().meta({
    description:
      'A recording that was uploaded before, with the purpose `audio`; it is transcribed unless `text` comes along.',
  }),
  ...saidFields,
})
export type Said = z.output<typeof Said>

const MUST_BE_DONE =
  'must be a word of a to z, 0 to 9, _, . and -, such as view, click, like, purchase or rating'

export const Done = z
  .strictObject({
    type: z
      .string()
      .regex(/^[a-z][a-z0-9_.-]{0,63}$/, MUST_BE_DONE)
      .meta({ example: 'purchase' }),
    user_id: ForeignId.meta({ example: 'user-42' }),
    item_id: ForeignId.meta({ description: 'The `external_id` of an item.', example: 'sku-1' }),
    value: z
      .number('must be a finite number')
      .optional()
      .meta({ description: 'A rating needs one; of a purchase it may be the price.' }),
    ...common,
  })
  .refine(({ type, value }) => type !== 'rating' || value !== undefined, {
    path: ['value'],
    error: 'must be given with a rating',
    when: ({ value }) => value instanceof Object,
  })
export type Done = z.output<typeof Done>

/** What is registered: something said, or something done. */
export const CreateInteraction = z
  .union([Said, Done])
  .meta({ id: 'CreateInteraction', example: { text: 'Where is my parcel?', speaker_id: 'caller-17' } })

export const Interaction = z
  .object({
    id: Id,
    type: z.string().meta({ example: SPEECH }),
    text: z.string().nullable(),
    speaker_id: z.string().nullable(),
    conversation_id: z.string().nullable(),
    channel: z.string().nullable(),
    user_id: z.string().nullable(),
    item_id: z.string().nullable(),
    value: z.number().nullable(),
    audio_url: z.string().nullable().meta({ description: 'Where who may read interactions hears it.' }),
    metadata: z.record(z.string(), z.unknown()),
    occurred_at: z.string(),
    created_at: z.string(),
  })
  .meta({ id: 'Interaction' })

/** Words that are looked for. */
const Words = z
  .string()
  .trim()
  .max(500, 'must have at most 500 characters')
  .refine((value) => wantedOf(value).length > 0, 'must have a word of letters or digits in it')
  .refine((value) => wantedOf(value).length <= MOST_WORDS, `must have at most ${MOST_WORDS} words`)

export const listFilters = {
  ...paging,
  ...createdBetween,
  type: z.string().trim().min(1, 'must not be empty').max(64).optional().meta({ example: 'purchase' }),
  user_id: ForeignId.optional(),
  item_id: ForeignId.optional(),
  speaker_id: ForeignId.optional(),
  channel: ForeignId.optional(),
  conversation_id: ForeignId.optional().meta({ description: 'What was said in it, the last first.' }),
  q: Words.optional().meta({
    description:
      'Words; all must be in the text, or words that begin with them. With two filters a page looks at five rows for each that it may show; it may be short or empty, with others to come until `next_cursor` is null.',
  }),
}
const ListFilters = z.object(listFilters)
export type ListFilters = z.output<typeof ListFilters>

/** What became of one line of a batch. */
export const BatchResult = z.object({
  created: z.int(),
  failed: z.int(),
  results: z.array(
    z.object({
      index: z.int().meta({ description: 'From 0, among those that were sent.' }),
      line: z.int().nullable().meta({ description: 'From 1, where lines were sent.' }),
      status: z.enum(['created', 'failed']),
      id: Id.nullable(),
      error: z
        .object({
          code: z.string(),
          message: z.string(),
          fields: z.record(z.string(), z.string()).nullable(),
        })
        .nullable(),
    }),
  ),
})
export type BatchResult = z.output<typeof BatchResult>

const WAIT = 'must be a whole number of seconds from 1 to 30'

export const RegisterOptions = {
  wait: z.coerce.number(WAIT).int(WAIT).min(1, WAIT).max(30, WAIT).optional().meta({
    description: 'Seconds to wait for the text of a recording, however large; then it is 504, and goes on.',
  }),
}

export const EraseInteractions = { user_id: ForeignId.optional(), speaker_id: ForeignId.optional() }
export type EraseInteractions = z.output<z.ZodObject<typeof EraseInteractions>>

import * as z from 'zod'
import { Language } from '../../../lib/language'
import { createdBetween, Id, paging } from '../../../lib/wire'

/** Samples of one clone. */
export const MOST_SAMPLES = 10

const Name = z
  .string()
  .trim()
  .min(1, 'must not be empty')
  .max(100, 'must have at most 100 characters')
  .refine((name) => !/\p{Cc}/u.test(name), 'must have no control character in it')
  .overwrite((name) => name.toWellFormed())

const Spoken = Language.nullable().meta({ description: 'What it speaks (BCP 47).', example: 'de-CH' })

const fields = {
  name: Name.meta({ example: 'Front desk' }),
  language: Spoken.default(null),
}

const Clone = z.strictObject({
  ...fields,
  kind: z.literal('clone'),
  file_ids: z
    .array(Id)
    .min(1, 'must name at least one file')
    .max(MOST_SAMPLES, `must name at most ${MOST_SAMPLES} files`)
    .refine((ids) => new Set(ids).size === ids.length, 'must name each file once')
    .meta({ description: 'Complete files of yours with the purpose `voice_sample`.' }),
})

const PROVIDERS = ['elevenlabs', 'ultravox', 'simulated'] as const
const PROVIDER = `must be ${PROVIDERS.slice(0, -1).join(', ')} or ${PROVIDERS.at(-1)}`

const External = z.strictObject({
  ...fields,
  kind: z.literal('external'),
  provider: z.enum(PROVIDERS, PROVIDER),
  provider_voice_id: z
    .string()
    .trim()
    .regex(/^[\w-]{1,128}$/, 'must be the id of a voice there: letters, digits, _ and -')
    .meta({ example: 'JBFqnCBsd6RMkjVDRZzb' }),
})

/** Cloned from samples, or a voice that a provider has already. */
export const CreateVoice = z.discriminatedUnion('kind', [Clone, External], {
  error: 'must be clone or external',
})
export type CreateVoice = z.output<typeof CreateVoice>
export type CreateClone = z.output<typeof Clone>
export type CreateExternal = z.output<typeof External>

export const UpdateVoice = z.strictObject({ name: Name, language: Spoken }).partial()
export type UpdateVoice = z.output<typeof UpdateVoice>

const Kind = z.enum(['clone', 'external'], 'must be clone or external')
const Status = z.enum(['queued', 'ready', 'failed'], 'must be queued, ready or failed')

export const ListVoices = {
  ...paging,
  ...createdBetween,
  kind: Kind.optional(),
  status: Status.optional(),
}
export type ListVoices = z.output<z.ZodObject<typeof ListVoices>>

export const Voice = z
  .object({
    id: Id,
    name: z.string(),
    kind: Kind,
    language: z.string().nullable(),
    provider: z.enum(PROVIDERS),
    provider_voice_id: z.string().nullable().meta({ description: 'Null while it is made.' }),
    own: z.boolean().meta({ description: 'Whether it is of an account of your own, or of the operator’s.' }),
    status: Status.meta({ description: 'A clone is `queued` while the provider makes it.' }),
    error: z.string().nullable().meta({ description: 'Why it could not be made.' }),
    file_ids: z.array(Id),
    job_id: Id.nullable().meta({ description: 'The job that has a clone made.' }),
    created_at: z.string().meta({ format: 'date-time' }),
    updated_at: z.string().meta({ format: 'date-time' }),
  })
  .meta({ id: 'Voice' })

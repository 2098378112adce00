import * as z from 'zod'
import { createdBetween, paging } from '../../../lib/wire'
import { ForeignId } from '../interactions/schema'

export const SpeakerId = ForeignId.meta({
  description: 'The tenant’s own name of the speaker.',
  example: 'caller-17',
})

const Name = z
  .string()
  .trim()
  .min(1, 'must not be empty')
  .max(255, 'must have at most 255 characters')
  .meta({ example: 'Ada Lovelace' })

const Metadata = z.record(z.string().max(100, 'must have a name of at most 100 characters'), z.json())

export const CreateSpeaker = z.strictObject({
  id: ForeignId.optional().meta({
    description: 'The tenant’s own name of the speaker; a UUID, if left out.',
  }),
  name: Name.nullable().optional(),
  metadata: Metadata.optional(),
})
export type CreateSpeaker = z.output<typeof CreateSpeaker>

export const UpdateSpeaker = z
  .strictObject({ name: Name.nullable().optional(), metadata: Metadata.optional() })
  .meta({ example: { name: 'Ada Lovelace' } })
export type UpdateSpeaker = z.output<typeof UpdateSpeaker>

export const Speaker = z
  .object({
    id: SpeakerId,
    name: z.string().nullable(),
    metadata: z.record(z.string(), z.unknown()),
    version: z.int(),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .meta({ id: 'Speaker' })

export const listFilters = { ...paging, ...createdBetween }
export type ListFilters = z.output<z.ZodObject<typeof listFilters>>

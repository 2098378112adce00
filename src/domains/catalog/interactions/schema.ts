import * as z from 'zod'
import { createdBetween, Id, paging, Time } from '../../../lib/wire'

/** The tenant's own name of a speaker or conversation. */
const ForeignId = z.string().trim().min(1, 'must not be empty').max(255, 'must have at most 255 characters')

export const CreateInteraction = z.strictObject({
  text: z
    .string()
    .min(1, 'must not be empty')
    .max(100_000, 'must have at most 100,000 characters')
    .refine((value) => value.trim() !== '', 'must not be blank')
    .meta({ example: 'Where is my parcel?' }),
  speaker_id: ForeignId.optional().meta({ example: 'caller-17' }),
  conversation_id: ForeignId.optional().meta({
    description:
      'Left out, it goes on with the speaker’s last conversation if that was recent, else a new one begins.',
  }),
  occurred_at: Time.optional(),
  metadata: z.record(z.string().max(100), z.json()).optional(),
})
export type CreateInteraction = z.output<typeof CreateInteraction>

export const Interaction = z
  .object({
    id: Id,
    type: z.string().meta({ example: 'speech' }),
    text: z.string().nullable(),
    speaker_id: z.string().nullable(),
    conversation_id: z.string().nullable(),
    user_id: z.string().nullable(),
    item_id: z.string().nullable(),
    value: z.number().nullable(),
    audio_url: z.string().nullable(),
    metadata: z.record(z.string(), z.unknown()),
    occurred_at: z.string(),
    created_at: z.string(),
  })
  .meta({ id: 'Interaction' })

export const listFilters = {
  ...paging,
  ...createdBetween,
  speaker_id: ForeignId.optional(),
  conversation_id: ForeignId.optional(),
}
const ListFilters = z.object(listFilters)
export type ListFilters = z.output<typeof ListFilters>

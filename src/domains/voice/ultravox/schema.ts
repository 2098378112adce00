import * as z from 'zod'
import { Arguments } from '../../tools/schema'

/** What a model gave a tool, as Ultravox passes it on. */
export const ToolArguments = Arguments.meta({ example: { order_id: 'A-1001' } })

export const KnowledgeAsked = z.strictObject({
  query: z
    .string('must be a text')
    .trim()
    .min(1, 'must not be empty')
    .max(2000, 'must have at most 2000 characters')
    .meta({ example: 'How long do I have to send a parcel back?' }),
})

export const KnowledgeFound = z
  .object({
    results: z.array(z.object({ filename: z.string(), heading: z.string().nullable(), text: z.string() })),
  })
  .meta({ id: 'KnowledgeOnCall' })
export type KnowledgeFound = z.output<typeof KnowledgeFound>

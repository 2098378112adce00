import * as z from 'zod'

/** The tenant's own name of a user or an item. */
const Name = z.string().trim().min(1, 'must not be empty').max(255, 'must have at most 255 characters')

const MOST_EXCLUDED = 1_000
const COUNT = 'must be a whole number from 1 to 100'

const Filters = z.strictObject({
  category: Name.optional().meta({ description: 'Items of that category.', example: 'shoes' }),
  tags: z
    .array(Name)
    .max(10, 'must be 10 at most')
    .default([])
    .meta({ description: 'Items that have all of them.' }),
  exclude: z
    .array(Name)
    .max(MOST_EXCLUDED, 'must be 1,000 at most')
    .default([])
    .meta({ description: 'Items by their external_id, none of which is answered.' }),
  available: z.boolean().optional().meta({
    description: 'Left out, or true: items that are available. false: those that are not.',
  }),
})
export type Filters = z.output<typeof Filters>

const asked = {
  count: z.int(COUNT).min(1, COUNT).max(100, COUNT).default(10),
  filters: Filters.prefault({}),
}

export const Recommend = z.strictObject({ user_id: Name.meta({ example: 'user-17' }), ...asked })
export type Recommend = z.output<typeof Recommend>

export const RecommendSimilar = z.strictObject({ item_id: Name.meta({ example: 'sku-1042' }), ...asked })
export type RecommendSimilar = z.output<typeof RecommendSimilar>

/** One recommended item. */
export const Recommendation = z.object({
  item_id: z.string().meta({ example: 'sku-1043' }),
  score: z
    .number()
    .meta({ description: 'The higher, the better; to compare those of one answer.', example: 0.42 }),
  reason: z.string().nullable().meta({ example: 'Often chosen together with “Trail running shoe”' }),
})
export type Recommendation = z.output<typeof Recommendation>

export const MODELS = [
  'remote',
  'embeddings',
  'co-occurrence',
  'popularity',
  'catalogue',
  'fallback',
] as const
export type Model = (typeof MODELS)[number]

export const Recommendations = z
  .object({
    recommendations: z.array(Recommendation).meta({ description: 'The best first.' }),
    model: z.enum(MODELS).meta({
      description: 'What they come from; `fallback` where the remote engine did not answer.',
    }),
    generated_at: z.iso.datetime(),
  })
  .meta({ id: 'Recommendations' })
export type Recommendations = z.output<typeof Recommendations>

import * as z from 'zod'
import type { Context } from '../../../data/context'
import { describeError } from '../../../lib/log'
import { type Described, type Embedding, EngineFailure } from './engine'

/** Of what is said of an item; models read no more than that. */
const MOST_LETTERS = 2_000

/** What models of Workers AI that make vectors of texts answer. */
const Answer = z.object({ data: z.array(z.array(z.number()).min(1)) })

/** What a model of Workers AI makes of items' words. */
export async function modelEmbeddings(
  { env, settings }: Pick<Context, 'env' | 'settings'>,
  items: readonly Described[],
): Promise<Embedding[]> {
  try {
    const answer = await env.AI?.run(settings.EMBEDDING_MODEL, { text: items.map(textOf) })
    const { data } = Answer.parse(answer)
    if (data.length !== items.length) throw new Error(`answered ${data.length} of ${items.length} embeddings`)
    return items.map(({ item_id }, i) => ({ item_id, embedding: data[i] ?? [] }))
  } catch (error) {
    throw new EngineFailure(describeError(error), error)
  }
}

/** What there is to read of an item. */
function textOf({ title, category, tags, attributes }: Described): string {
  const words = Object.entries(attributes).map(([name, value]) =>
    typeof value === 'object' ? `${name}: ${JSON.stringify(value)}` : `${name}: ${value}`,
  )
  return [title, category ?? '', ...tags, ...words].filter(Boolean).join('\n').slice(0, MOST_LETTERS)
}

import type { Context } from '../../../data/context'
import { embeddingsOf } from '../../../lib/embeddings'
import { describeError } from '../../../lib/log'
import { type Described, type Embedding, EngineFailure } from './engine'

/** Of what is said of an item; models read no more than that. */
const MOST_LETTERS = 2_000

/** What a model of Workers AI makes of items' words. */
export async function modelEmbeddings(
  { env, settings }: Pick<Context, 'env' | 'settings'>,
  items: readonly Described[],
): Promise<Embedding[]> {
  try {
    if (!env.AI) throw new Error('no models are bound')
    const vectors = await embeddingsOf(env.AI, settings, items.map(textOf))
    return items.map(({ item_id }, i) => ({ item_id, embedding: vectors[i] ?? [] }))
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

import type { Context } from '../../../data/context'
import type { Model, Recommend, Recommendation, RecommendSimilar } from './schema'

/** What an engine answers. */
export type Recommended = { recommendations: Recommendation[]; model: Model }

/** An item as a model is told of it. */
export type Described = {
  item_id: string
  title: string
  category: string | null
  tags: string[]
  attributes: Record<string, unknown>
}

/** What a model makes of an item: numbers that are near those of items like it. */
export type Embedding = { item_id: string; embedding: number[] }

/** What recommends. Each verb throws `EngineFailure` where another may answer in its stead. */
export type MlEngine = {
  recommend(ctx: Context, ask: Recommend): Promise<Recommended>
  similar(ctx: Context, ask: RecommendSimilar): Promise<Recommended>
}

/** What makes vectors of items: one for each that it is given, or an `EngineFailure`. */
export type Embed = (ctx: Context, items: readonly Described[]) => Promise<Embedding[]>

/** The engine did not answer, or nothing that can be used. */
export class EngineFailure extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, { cause })
    this.name = 'EngineFailure'
  }
}

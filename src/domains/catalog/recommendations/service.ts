import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { log } from '../../../lib/log'
import { allowedOf } from './candidates'
import { recommend as embeddedRecommend, similar as embeddedSimilar } from './embedded'
import { EngineFailure, type MlEngine, type Recommended } from './engine'
import { remoteRecommendations } from './remote'
import type { Recommend, Recommendations, RecommendSimilar } from './schema'

/** The engine in the service's own database. */
const embedded: MlEngine = { recommend: embeddedRecommend, similar: embeddedSimilar }

/** The engine elsewhere. Whatever it says, what the user asked not to see is not shown. It has no word for what is similar. */
const remote: MlEngine = {
  async recommend(ctx, ask) {
    const answered = await remoteRecommendations(ctx, ask)
    const wish = { userId: ask.user_id, filters: ask.filters }
    const names = answered.map(({ item_id }) => item_id)
    const passes = new Set((await allowedOf(ctx, names, wish)).map(({ item_id }) => item_id))
    const without = new Set(ask.filters.exclude)
    const recommendations = answered
      .filter(({ item_id }) => passes.has(item_id) && !without.has(item_id))
      .slice(0, ask.count)
    return { recommendations, model: 'remote' }
  },
  similar: embeddedSimilar,
}

/** The engine that the settings name. */
export const engineOf = ({ settings }: Pick<Context, 'settings'>): MlEngine =>
  settings.ML_ENGINE_URL === '' ? embedded : remote

/** What a user is recommended; by the embedded engine where the one that the settings name does not answer. */
export async function recommendations(ctx: Context, ask: Recommend): Promise<Recommendations> {
  try {
    return dated(ctx, await engineOf(ctx).recommend(ctx, ask))
  } catch (error) {
    if (!(error instanceof EngineFailure)) throw error
    log.warn('ml_engine_failed', {
      tenant_id: ctx.tenant.id,
      request_id: ctx.requestId,
      cause: error.message,
    })
    return dated(ctx, { ...(await embedded.recommend(ctx, ask)), model: 'fallback' })
  }
}

/** What is chosen together with an item, or like it. */
export async function similarItems(ctx: Context, ask: RecommendSimilar): Promise<Recommendations> {
  return dated(ctx, await engineOf(ctx).similar(ctx, ask))
}

const dated = (ctx: Context, answer: Recommended): Recommendations => ({
  ...answer,
  generated_at: iso(ctx.now),
})

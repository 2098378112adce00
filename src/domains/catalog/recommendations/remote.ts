import * as z from 'zod'
import type { Context } from '../../../data/context'
import { askJson } from '../../../lib/ask-json'
import { describeError } from '../../../lib/log'
import { CircuitBreaker } from './breaker'
import { type Described, type Embedding, EngineFailure } from './engine'
import type { Filters, Recommend } from './schema'

// The engine that ML_ENGINE_URL names, in the words of its own contract (test/pact).

const TIMEOUT_MS = 10_000
/** Of a reason that it gives. */
const MOST_REASON = 500
/** The numbers of a batch of items; what they are read from is JSON. */
const MOST_EMBEDDINGS_BYTES = 8 * 1024 * 1024

const One = z.object({
  item_id: z.string().min(1).max(255),
  score: z.number(),
  reason: z.string().nullish(),
})
const Answer = z.union([z.array(One), z.object({ recommendations: z.array(One) })])

const Vectors = z.array(
  z.object({ item_id: z.string().min(1).max(255), embedding: z.array(z.number()).min(1).max(4096) }),
)

type Service = Pick<Context, 'settings'>
type Answered = { item_id: string; score: number; reason: string | null }

/** What the engine recommends, the best first; an answer of another shape is a failure. */
export async function remoteRecommendations(
  ctx: Service & Pick<Context, 'tenant'>,
  { user_id, count, filters }: Recommend,
): Promise<Answered[]> {
  const body = { tenant_id: ctx.tenant.id, user_id, count, filters: said(filters) }
  const answer = await ask(ctx, '/internal/ml/recommendations', body, Answer)
  const list = Array.isArray(answer) ? answer : answer.recommendations
  const seen = new Set<string>()
  return list
    .map(({ item_id, score, reason }) => ({ item_id, score, reason: reason?.slice(0, MOST_REASON) ?? null }))
    .filter(({ item_id }) => !seen.has(item_id) && seen.add(item_id))
    .sort((a, b) => b.score - a.score)
}

/** The filters as they were asked for, without what stands for nothing. */
const said = ({ tags, exclude, ...rest }: Filters) => ({
  ...rest,
  ...(tags.length > 0 ? { tags } : {}),
  ...(exclude.length > 0 ? { exclude } : {}),
})

/** What the engine makes of items, each of them; an answer that lacks one is a failure. */
export async function remoteEmbeddings(
  ctx: Service & Pick<Context, 'tenant'>,
  items: readonly Described[],
): Promise<Embedding[]> {
  const body = { tenant_id: ctx.tenant.id, items }
  const answer = await ask(ctx, '/internal/ml/embeddings', body, Vectors, MOST_EMBEDDINGS_BYTES)
  const by = new Map(answer.map((one) => [one.item_id, one]))
  const all = items.flatMap(({ item_id }) => by.get(item_id) ?? [])
  if (all.length < items.length)
    throw new EngineFailure(`answered ${all.length} of ${items.length} embeddings`)
  return all
}

/** One for each address: embeddings may be slow while recommendations are not. */
const breakers = new Map<string, CircuitBreaker>()

async function ask<T>(
  { settings }: Service,
  path: string,
  body: object,
  schema: z.ZodType<T>,
  most?: number,
): Promise<T> {
  const url = `${settings.ML_ENGINE_URL}${path}`
  const breaker = breakers.get(url) ?? new CircuitBreaker()
  breakers.set(url, breaker)
  if (!breaker.admits(Date.now()))
    throw new EngineFailure('has failed too often, and is not asked for the moment')
  try {
    const init = {
      method: 'POST',
      headers: {
        'Content-Type': 'application/json',
        Accept: 'application/json',
        ...(settings.ML_ENGINE_TOKEN ? { Authorization: `Bearer ${settings.ML_ENGINE_TOKEN}` } : {}),
      },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    }
    const answer = await askJson(url, init, (status) => status >= 200 && status < 300, most)
    const read = schema.safeParse(answer.body)
    if (!read.success) throw new Error('answered something else than was asked for')
    breaker.succeeded()
    return read.data
  } catch (error) {
    breaker.failed(Date.now())
    throw new EngineFailure(describeError(error), error)
  }
}

import type { Context } from '../../../data/context'
import { problem } from '../../../lib/problem'
import { type Allowed, allowedOf, namedOf, newest, pastOf, popular, type Wish, weighedOf } from './candidates'
import { contentOf } from './content'
import { type Recent, worthAt } from './counting'
import type { Recommended } from './engine'
import { type Candidate, near, scoreOf } from './ranking'
import type { Model, Recommend, Recommendation, RecommendSimilar } from './schema'

/** So many candidates are asked whether they pass; the neighbours of the last items are a few hundred. */
const MOST_CANDIDATES = 300
/** Of those the first, for each that is asked for: mostly enough, and each costs some rows. */
const AT_FIRST = 6

/** What is recommended so far, and what is not to be (again). */
type Answer = { count: number; list: Recommendation[]; taken: Set<string>; models: Set<Model>; wish: Wish }

/**
 * What a user is recommended: what is near the items that the user was at lately, then what is popular, what is new, and
 * last what the user had a look at already; never what the user bought.
 */
export async function recommend(ctx: Context, { user_id, count, filters }: Recommend): Promise<Recommended> {
  const { recent, weighed } = await pastOf(ctx, user_id)
  const unit = worthAt(ctx.now)
  const taken = new Set([...filters.exclude, ...recent.map(([item]) => item)])
  const answer: Answer = { count, list: [], taken, models: new Set(), wish: { userId: user_id, filters } }
  const titleOf = (item: string) => weighed.get(item)?.title ?? item
  await addNear(ctx, answer, near(recent, weighed, taken, unit), unit, titleOf)
  if (isShort(answer)) await addAlike(ctx, answer, recent, titleOf)
  if (isShort(answer)) {
    const reason = filters.category === undefined ? 'Popular now' : `Popular in ${filters.category}`
    addWeighed(answer, await popular(ctx, answer.wish), reason, 'popularity')
  }
  if (isShort(answer)) await addNewest(ctx, answer)
  if (isShort(answer)) await addSeen(ctx, answer, recent)
  const model = (['embeddings', 'co-occurrence', 'popularity'] as const).find((one) => answer.models.has(one))
  return { recommendations: answer.list, model: model ?? 'catalogue' }
}

/** What is chosen together with an item, then what is like it, then others of its category. 404 for an unknown item. */
export async function similar(
  ctx: Context,
  { item_id, count, filters }: RecommendSimilar,
): Promise<Recommended> {
  const [named, row] = await Promise.all([namedOf(ctx, item_id), weighedOf(ctx, item_id)])
  if (!named) throw problem.notFound('item', item_id)
  const unit = worthAt(ctx.now)
  const taken = new Set([...filters.exclude, item_id])
  const answer: Answer = { count, list: [], taken, models: new Set(), wish: { userId: null, filters } }
  const itself: Recent = [[item_id, 1, ctx.now]]
  const titleOf = () => named.title ?? item_id
  await addNear(ctx, answer, near(itself, new Map(row ? [[item_id, row]] : []), taken, unit), unit, titleOf)
  if (isShort(answer)) await addAlike(ctx, answer, itself, titleOf)
  const category = named.category ?? undefined
  if (isShort(answer) && category !== undefined && (filters.category ?? category) === category) {
    answer.wish = { userId: null, filters: { ...filters, category } }
    addWeighed(answer, await popular(ctx, answer.wish), `Popular in ${category}`, 'popularity')
    if (isShort(answer)) await addNewest(ctx, answer, `Also in ${category}`)
  }
  const model = (['embeddings', 'co-occurrence', 'popularity'] as const).find((one) => answer.models.has(one))
  return { recommendations: answer.list, model: model ?? 'catalogue' }
}

const isShort = ({ list, count }: Answer) => list.length < count

function add({ list, count, taken, models }: Answer, one: Recommendation, model: Model): void {
  if (list.length >= count || taken.has(one.item_id)) return
  taken.add(one.item_id)
  models.add(model)
  list.push(one)
}

type TitleOf = (item: string) => string

/** What was counted near the user's items, by what they weigh now. */
async function addNear(
  ctx: Context,
  answer: Answer,
  candidates: readonly Candidate[],
  unit: number,
  titleOf: TitleOf,
): Promise<void> {
  if (candidates.length === 0) return
  const by = new Map(candidates.slice(0, MOST_CANDIDATES).map((one) => [one.item_id, one]))
  const names = [...by.keys()]
  const first = AT_FIRST * answer.count
  const allowed = await allowedOf(ctx, names.slice(0, first), answer.wish)
  if (allowed.length < answer.count && names.length > first)
    allowed.push(...(await allowedOf(ctx, names.slice(first), answer.wish)))
  const scored = allowed.flatMap(({ item_id, weight }) => {
    const candidate = by.get(item_id)
    return candidate
      ? [{ item_id, because: candidate.because, score: scoreOf({ ...candidate, weight }, unit) }]
      : []
  })
  for (const { item_id, because, score } of scored.sort((a, b) => b.score - a.score))
    add(
      answer,
      { item_id, score: short(score), reason: `Often chosen together with “${titleOf(because)}”` },
      'co-occurrence',
    )
}

/** What a model of words finds like the user's items, where there is one: items that hardly anybody chose yet, too. */
async function addAlike(ctx: Context, answer: Answer, recent: Recent, titleOf: TitleOf): Promise<void> {
  const content = contentOf(ctx)
  if (!content || recent.length === 0) return
  const alike = (await content(ctx, recent)).filter(({ item_id }) => !answer.taken.has(item_id))
  if (alike.length === 0) return
  const names = alike.map(({ item_id }) => item_id)
  const allowed = new Set((await allowedOf(ctx, names, answer.wish)).map(({ item_id }) => item_id))
  const below = belowLast(answer)
  for (const { item_id, score, because } of alike)
    if (allowed.has(item_id))
      add(answer, { item_id, score: below(score), reason: `Similar to “${titleOf(because)}”` }, 'embeddings')
}

function addWeighed(answer: Answer, rows: readonly Allowed[], reason: string, model: Model): void {
  const below = belowLast(answer)
  const most = rows[0]?.weight ?? 0
  for (const { item_id, weight } of rows)
    add(answer, { item_id, score: below(most > 0 ? weight / most : 0), reason }, model)
}

async function addNewest(ctx: Context, answer: Answer, reason = 'New in the catalogue'): Promise<void> {
  const below = belowLast(answer)
  let place = 0
  for await (const { item_id } of newest(ctx, answer.wish)) {
    add(answer, { item_id, score: below(1 / ++place), reason }, 'catalogue')
    if (!isShort(answer)) return
  }
}

/** What the user had a look at, and did not buy, once there is nothing else. */
async function addSeen(ctx: Context, answer: Answer, recent: Recent): Promise<void> {
  const without = new Set(answer.wish.filters.exclude)
  const seen = recent.flatMap(([item]) => (without.has(item) ? [] : item))
  if (seen.length === 0) return
  const allowed = new Set((await allowedOf(ctx, seen, answer.wish)).map(({ item_id }) => item_id))
  const below = belowLast(answer)
  seen.forEach((item_id, place) => {
    if (!allowed.has(item_id)) return
    answer.taken.delete(item_id)
    const reason = 'You were at it lately'
    add(answer, { item_id, score: below(1 / (1 + place)), reason }, 'catalogue')
  })
}

/** Scores from 0 to 1 as parts of the last one of a list: what fills it up comes after what is in it. */
function belowLast({ list }: Answer): (score: number) => number {
  const last = list.at(-1)?.score ?? 1
  return (score) => short(last * 0.99 * Math.min(1, Math.max(0, score)))
}

const short = (score: number): number => Number(score.toPrecision(6))

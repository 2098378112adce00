import type { Recent } from './counting'
import { type Neighbour, sure } from './neighbours'

/** An item with what was counted of it. */
export type Weighed = { item_id: string; weight: number; neighbours: readonly Neighbour[] }

/** An item that may be recommended: how much speaks for it but for its own weight, and which of the user's items most. */
export type Candidate = { item_id: string; sum: number; weight: number; because: string }

/** What the one before the last item says counts so much less, and so on: somebody's next choice is near the last ones. */
const NEXT = 0.85

/** What is near the items that a user was at lately, with what share of all that could be. Not those items themselves. */
export function near(
  recent: Recent,
  weighed: ReadonlyMap<string, Weighed>,
  without: ReadonlySet<string>,
  unit: number,
): Candidate[] {
  const found = new Map<string, Found>()
  let whole = 0
  recent.forEach(([item, strength], place) => {
    const share = Math.sqrt(strength) * NEXT ** place
    whole += share
    const row = weighed.get(item)
    if (!row || row.weight <= 0) return
    const worth = share / Math.sqrt(row.weight)
    for (const [other, weight, times, itsWeight] of row.neighbours) {
      const part = worth * sure(times) * weight
      const one = found.get(other)
      if (one === undefined) {
        if (without.has(other)) continue
        found.set(other, {
          item_id: other,
          sum: part,
          weight: itsWeight,
          because: item,
          most: part,
          score: 0,
        })
        continue
      }
      one.sum += part
      if (part <= one.most) continue
      one.most = part
      one.because = item
    }
  })
  const all = [...found.values()]
  for (const one of all) {
    one.sum /= whole
    one.score = scoreOf(one, unit)
  }
  return all.sort((a, b) => b.score - a.score)
}

/** With the most that one of the user's items says for it, and how much all of them do: each is reckoned once. */
type Found = Candidate & { most: number; score: number }

/** Half of it would be the cosine; a little less leaves what is popular a little ahead. */
const OWN_WEIGHT = 0.4

/** How much an item is to be recommended, from 0 to 1; `unit` is what something done now weighs. */
export function scoreOf({ sum, weight }: Pick<Candidate, 'sum' | 'weight'>, unit: number): number {
  if (weight <= 0) return 0
  const share = sum / weight ** OWN_WEIGHT / unit ** (0.5 - OWN_WEIGHT)
  return share / (1 + share)
}

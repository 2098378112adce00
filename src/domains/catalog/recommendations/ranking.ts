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
  const found = new Map<string, Candidate & { most: number }>()
  let whole = 0
  recent.forEach(([item, strength], place) => {
    const share = Math.sqrt(strength) * NEXT ** place
    whole += share
    const row = weighed.get(item)
    if (!row || row.weight <= 0) return
    for (const [other, weight, times, itsWeight] of row.neighbours) {
      if (without.has(other)) continue
      const part = (share * sure(times) * weight) / Math.sqrt(row.weight)
      const one = found.get(other) ?? { item_id: other, sum: 0, weight: itsWeight, because: item, most: 0 }
      one.sum += part
      if (part > one.most) Object.assign(one, { most: part, because: item })
      found.set(other, one)
    }
  })
  // Scored once each, not in every comparison.
  return [...found.values()]
    .map(({ item_id, sum, weight, because }) => ({ item_id, sum: sum / whole, weight, because }))
    .map((one) => ({ one, score: scoreOf(one, unit) }))
    .sort((a, b) => b.score - a.score)
    .map(({ one }) => one)
}

/** Half of it would be the cosine; a little less leaves what is popular a little ahead. */
const OWN_WEIGHT = 0.4

/** How much an item is to be recommended, from 0 to 1; `unit` is what something done now weighs. */
export function scoreOf({ sum, weight }: Pick<Candidate, 'sum' | 'weight'>, unit: number): number {
  if (weight <= 0) return 0
  const share = sum / weight ** OWN_WEIGHT / unit ** (0.5 - OWN_WEIGHT)
  return share / (1 + share)
}

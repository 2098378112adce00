import type { Sum } from './counting'

/** An item near another: how near, out of how many times, and what the other weighed when that was last counted. */
export type Neighbour = [item: string, weight: number, times: number, itsWeight: number]

/** So many are asked for recommendations; the others wait for their turn. */
export const MOST_NEAR = 50
/** An item's neighbours are a row, which no popular item may make large: beyond these, the farthest are forgotten. */
export const MOST_KEPT = 128

/** The neighbours of an item with what was counted since, the nearest first. */
export function withCounted(
  neighbours: readonly Neighbour[],
  counted: ReadonlyMap<string, Sum>,
  weightOf: (item: string) => number,
): Neighbour[] {
  const sums = new Map(neighbours.map((one) => [one[0], one]))
  for (const [item, { weight, times }] of counted) {
    const [, before = 0, timesBefore = 0] = sums.get(item) ?? []
    if (timesBefore + times <= 0) sums.delete(item)
    else
      sums.set(item, [item, short(Math.max(0, before + weight)), timesBefore + times, short(weightOf(item))])
  }
  return [...sums.values()].sort((a, b) => nearness(b) - nearness(a)).slice(0, MOST_KEPT)
}

/** By what share of both that is, but for the weight of the item whose neighbours they are, which is the same for all. */
const nearness = ([, weight, times, itsWeight]: Neighbour): number =>
  sure(times) * (itsWeight > 0 ? weight / Math.sqrt(itsWeight) : 0)

/** What was seen once may be chance. */
export const sure = (times: number): number => times / (times + 2)

/** Fewer digits make a shorter row. */
const short = (value: number): number => Number(value.toPrecision(9))

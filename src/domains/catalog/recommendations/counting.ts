// How an interaction counts: what it adds to the weight of its item and to how near the items are that the same user was
// at lately. What one user's interactions come to depends on these alone and in their order, so what was removed can be
// taken back exactly: by counting them once without it, and once, taken away, with it.

/** What a user did with an item, as far as it counts. */
export type Done = {
  user_id: string | null
  item_id: string
  type: string
  value: number | null
  occurred_at: string
  created_at: string
}

/** The items that a user was at lately, the last one first: each with how much it meant, and when (ms). */
export type Recent = [item: string, strength: number, at: number][]

/** So many of a user's items are known; while one is among them, that user makes it weigh more only by meaning it more. */
export const MOST_RECENT = 30
/** Of those, one more item is counted beside the latest: each is a row written. */
const BESIDE = 10

const STRENGTHS: Record<string, number> = { view: 1, click: 2, like: 3, purchase: 5 }
/** A rating counts as much as it says, up to a purchase; any other word as little as a view. */
const MOST_STRENGTH = 5

/** How much an interaction of a type means, from 0 to 5. */
export function strengthOf({ type, value }: Pick<Done, 'type' | 'value'>): number {
  if (type === 'rating') return Math.min(Math.max(value ?? 0, 0), MOST_STRENGTH)
  return Object.hasOwn(STRENGTHS, type) ? (STRENGTHS[type] as number) : 1
}

/** In so long what was done comes to count half. */
export const HALF_LIFE_MS = 90 * 24 * 3600_000
const LANDMARK = Date.UTC(2026, 0)

/**
 * Decay forward: what is newer is worth more, as against a day that stands fast, instead of what is older less against
 * today. Only proportions matter, and so nothing that was counted is ever touched for having aged.
 */
export const worthAt = (ms: number): number => 2 ** ((ms - LANDMARK) / HALF_LIFE_MS)

/** When it happened; nothing did later than it was told, nor before there were such times. */
const timeOf = ({ occurred_at, created_at }: Done): number =>
  Math.max(0, Math.min(Date.parse(occurred_at), Date.parse(created_at)))

/** Something that is added up: how much, and out of how many times. */
export type Sum = { weight: number; times: number }

/** What some interactions come to. */
export type Tally = {
  items: Map<string, Sum>
  /** How near two items are, each under the other. */
  pairs: Map<string, Map<string, Sum>>
}

export const emptyTally = (): Tally => ({ items: new Map(), pairs: new Map() })

/** Counts one interaction of a user into `tally`, or takes it away (`sign` -1); answers with what the user was at lately. */
export function count(tally: Tally, recent: Recent, done: Done, sign: 1 | -1 = 1): Recent {
  const { user_id, item_id } = done
  const strength = strengthOf(done)
  if (strength === 0) return recent
  const at = timeOf(done)
  const known = user_id === null ? undefined : recent.find(([item]) => item === item_id)
  const before = known?.[1] ?? 0
  const times = known ? 0 : sign
  if (strength > before)
    add(within(tally.items, item_id, zero), sign * (strength - before) * worthAt(at), times)
  if (user_id === null) return recent
  const others = recent.filter(([item]) => item !== item_id)
  for (const [other, meant, then] of others.slice(0, BESIDE)) {
    // A pair is as strong as the weaker of the two, and as old as the older.
    const rise = Math.min(strength, meant) - Math.min(before, meant)
    if (rise <= 0 && known) continue
    const weight = sign * rise * worthAt(Math.min(at, then))
    add(within(within(tally.pairs, item_id, newSums), other, zero), weight, times)
    add(within(within(tally.pairs, other, newSums), item_id, zero), weight, times)
  }
  const now: Recent[number] = [item_id, Math.max(strength, before), Math.max(at, known?.[2] ?? 0)]
  return [now, ...others].slice(0, MOST_RECENT)
}

const zero = (): Sum => ({ weight: 0, times: 0 })
const newSums = () => new Map<string, Sum>()

function add(sum: Sum, weight: number, times: number): void {
  sum.weight += weight
  sum.times += times
}

function within<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key)
  if (value === undefined) {
    value = make()
    map.set(key, value)
  }
  return value
}

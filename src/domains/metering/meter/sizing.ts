import type { Spell } from './lease'
import type { Step } from './room'
import type { Dated } from './window'

/** A change must reach every isolate within ten seconds, the way there included. */
export const MAX_LIFE_MS = 8_000
/** The life of leases where nothing is free. */
export const MIN_LIFE_MS = 2_000
/** The leases of all isolates together shall hold no more than this part of what is free. */
const HELD = 1 / 4
/** Requests do not come evenly; what is left over comes back with the report. */
const HEADROOM = 1.25
/** In a nearly full window an isolate holds what it needs for so long beyond the next bucket that leaves. */
const AHEAD_MS = 400
/** So much longer, and more, where nobody else is there to miss it. */
const ALONE = 0.25
/** Below this limit nothing is lent beyond what waits, for one unspent request would be felt elsewhere. */
const EXACT_BELOW = 50
/** Where isolates share a small window that is nearly full, none holds more than it needs for so long. */
const SHARED_MS = 500
/** They share it so where what they would hold in vain is more than this part of the limit. */
const IN_VAIN = 0.002
/** An isolate that sees so much of what comes has nobody to miss what it holds. */
const NEARLY_ALL = 0.9
/** Of what is free at most half goes to one isolate, until so little is left: part of the limit. */
const LAST_BIT = 0.02

/** The smallest lease (limits.md): 0.1 % of the limit, at least one. A hundred isolates that share a full window get less. */
export const leastLease = (limit: number): number => Math.max(1, Math.ceil(limit / 1_000))

/** How long a lease lives where so much is free, for an isolate that sees `rate` of `total` requests a second. */
export function lifeFor(free: number, rate: number, total: number): number {
  const life = (Math.max(0, free) * HELD * 1_000) / Math.max(total, 0.001)
  return Math.round(Math.min(MAX_LIFE_MS, Math.max(MIN_LIFE_MS * (1 + ALONE * (rate / total)), life)))
}

export type Asked = {
  limit: number
  /** Requests a second, of this isolate and of all. */
  rate: number
  total: number
  /** Requests that wait. */
  wanted: number
  steps: Step[]
  leaving: Dated[]
  now: number
  life: number
}

/** Shares out a window: so many at once, more as buckets leave. */
export function sizeGrant(asked: Asked): { count: number; later: Spell[] } {
  const { limit, rate, total, wanted, steps, life } = asked
  const open = Math.max(0, steps[0]?.room ?? 0)
  if (limit < EXACT_BELOW) return { count: Math.min(open, wanted), later: [] }
  const top = Math.floor(Math.max(open / 2, Math.min(open, limit * LAST_BIT)))
  if (total * life * HEADROOM > open * 1_000) {
    if (!isShared(asked)) return sliced(asked, open, top)
    const share = Math.round(rate * Math.min(SHARED_MS / 1_000, open / total))
    return { count: Math.min(open, Math.max(1, share, Math.min(wanted, top))), later: [] }
  }
  const need = Math.max(wanted, leastLease(limit), Math.ceil((rate * life * HEADROOM) / 1_000))
  return { count: Math.min(need, top), later: [] }
}

/**
 * Whether isolates that hold a lease's worth of a nearly full window would hold much in vain. What comes to one while it
 * lives varies by the square root of it: two fifths of that are left over on average, while others refuse.
 */
function isShared({ limit, rate, total, life }: Asked): boolean {
  const each = 0.4 * Math.sqrt((rate * life) / 1_000)
  return rate < NEARLY_ALL * total && each * (total / rate) > IN_VAIN * limit
}

/** In a window that is nearly full nobody holds much more than is needed until the next bucket leaves. */
function sliced(asked: Asked, open: number, top: number) {
  const { limit, rate, total, wanted, steps, leaving, now, life } = asked
  const least = leastLease(limit)
  const slices = steps.filter(({ at }) => at <= now + life)
  const later: Spell[] = []
  let [count, given, gone, i] = [0, 0, 0, 0]
  for (const [j, { at, room }] of slices.entries()) {
    const span = (slices[j + 1]?.at ?? now + life) - now
    for (let next = leaving[i]; next && next.at <= at; next = leaving[++i]) gone += next.count
    const need = Math.ceil((rate * (span + AHEAD_MS) * (1 + ALONE * (rate / total))) / 1_000)
    const fair = Math.round((rate / total) * (open + gone))
    const more = Math.min(room, top + gone, Math.max(need, wanted, least), Math.max(fair, least)) - given
    if (more <= 0) continue
    if (at === now) count = more
    else later.push({ ms: at - now, count: more })
    given += more
  }
  return { count, later }
}

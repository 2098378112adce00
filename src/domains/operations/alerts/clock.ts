/** Rules are looked at by whole minutes. */
export const MINUTE_MS = 60_000
/** So long after a minute's end it is looked at: isolates have told the Meter by then what they measured (docs/usage.md). */
const LAG_MS = 15_000

/** The end of the last minute of which everything is known. */
export const lastEnd = (now: number): number => Math.floor((now - LAG_MS) / MINUTE_MS) * MINUTE_MS

/** When the minute after that can be looked at. */
export const nextLook = (now: number): number => lookAfter(lastEnd(now))

/** When what follows the minute that ends at `end` can be looked at. */
export const lookAfter = (end: number): number => end + MINUTE_MS + LAG_MS

/** The end of the minute that can be looked at then. */
export const endOf = (look: number): number => look - LAG_MS

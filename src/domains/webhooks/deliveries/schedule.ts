const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE

/** The wait before each attempt (webhooks.md): the first goes out at once, after the tenth the delivery is exhausted. */
const WAITS_MS = [
  ...[0, 5 * SECOND, 5 * MINUTE, 30 * MINUTE],
  ...[2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR],
]

/** How far a wait may be off, so that what failed together does not come back together. */
const SPREAD = 0.1

/** The longest wait that a receiver can ask for. */
const LONGEST_RETRY_AFTER_MS = 24 * HOUR

/**
 * Milliseconds from the end of attempt `made` (1 for the first) to the next; null when there is none. `own` are an
 * endpoint's own waits in seconds, one for each attempt that failed. `random` is in [0, 1).
 */
export function waitAfter(made: number, random: number, own: readonly number[] | null = null): number | null {
  const seconds = own?.[made - 1]
  const wait = own === null ? WAITS_MS[made] : seconds === undefined ? undefined : seconds * SECOND
  return wait === undefined ? null : Math.round(wait * (1 - SPREAD + 2 * SPREAD * random))
}

const DAY = '(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)'
const MONTH = '(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)'
const CLOCK = '\\d{2}:\\d{2}:\\d{2}'
/** The three forms of RFC 9110, 5.6.7; Date.parse alone takes "5 apples" for a day in May. */
const HTTP_DATE = new RegExp(
  `^(?:${DAY}, \\d{2} ${MONTH} \\d{4} ${CLOCK} GMT|[A-Z][a-z]{5,8}, \\d{2}-${MONTH}-\\d{2} ${CLOCK} GMT|${DAY} ${MONTH} [ \\d]\\d ${CLOCK} \\d{4})$`,
)

/**
 * Milliseconds that a `Retry-After` (seconds or an HTTP date) asks to wait from `now`, at most 24 h; 0 for a time that is
 * past, null for what is neither.
 */
export function retryAfter(header: string | null, now: number): number | null {
  const value = header?.trim() ?? ''
  let wait: number
  if (/^\d+$/.test(value)) wait = Number(value) * SECOND
  else if (HTTP_DATE.test(value)) wait = Date.parse(value.endsWith('GMT') ? value : `${value} GMT`) - now
  else return null
  return Number.isNaN(wait) ? null : Math.min(Math.max(wait, 0), LONGEST_RETRY_AFTER_MS)
}

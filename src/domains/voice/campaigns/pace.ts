// The cap on calls a minute, kept against the clock: calls have places in time, a fixed distance apart, and what a look is
// late by it makes good. Places that could not be used (closed hours, a pause, a crash) are lost, and are not made good by a
// burst; and in no minute, wherever it begins, are more calls placed than the cap.

/** When the next place is, and what was placed within the last minute: when, and how many. */
export type Pace = {
  at: number
  placed: [at: number, count: number][]
  /** Whether nobody was left to be called: what passes until the next look is lost. */
  idle: boolean
}

const MINUTE_MS = 60_000
/** What a look is late by is made good up to this: a slow batch, not an outage. */
const MADE_GOOD_MS = 5_000
/** Looks come no closer than this: where calls are closer, several are placed at once. 0.8 % of a minute. */
export const TICK_MS = 500
/** A batch holds so many calls at most: the cap's largest, a late look's share included. */
export const MOST_AT_ONCE = 100

export const newPace = (now: number): Pace => ({ at: now, placed: [], idle: true })

/** The pace of who calls nobody for now. */
export const idling = (pace: Pace): Pace => ({ ...pace, idle: true })

const within = ({ placed }: Pace, now: number) => placed.filter(([at]) => at > now - MINUTE_MS)

/** How many calls may be placed now. */
export function placesAt(pace: Pace, now: number, perMinute: number): number {
  const at = fresh(pace, now)
  if (at > now) return 0
  const due = Math.floor(((now - at) * perMinute) / MINUTE_MS) + 1
  const used = within(pace, now).reduce((sum, [, count]) => sum + count, 0)
  return Math.max(0, Math.min(due, perMinute - used, MOST_AT_ONCE))
}

/** The next place; one that is long past is lost. */
const fresh = ({ at, idle }: Pace, now: number): number => (at < now - (idle ? 0 : MADE_GOOD_MS) ? now : at)

/** The pace after `count` of the calls that might be placed were; where there were fewer to call, the rest is lost. */
export function afterPlacing(pace: Pace, now: number, perMinute: number, count: number, lost: boolean): Pace {
  const distance = MINUTE_MS / perMinute
  const at = fresh(pace, now) + count * distance
  return {
    at: lost ? Math.max(at, now) : at,
    placed: [...within(pace, now), ...(count > 0 ? [[now, count] as [number, number]] : [])],
    idle: lost,
  }
}

/** When to look again to place calls. */
export function nextLook(pace: Pace, now: number, perMinute: number): number {
  const placed = within(pace, now)
  const used = placed.reduce((sum, [, count]) => sum + count, 0)
  const [oldest] = placed
  // The minute is full: until what was first in it is out of it.
  if (used >= perMinute && oldest) return Math.max(pace.at, oldest[0] + MINUTE_MS)
  return 60_000 / perMinute < TICK_MS ? Math.max(pace.at, now + TICK_MS) : Math.max(pace.at, now)
}

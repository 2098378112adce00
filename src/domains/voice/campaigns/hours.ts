// Calling hours are what clocks on the wall say where somebody lives: on a night when the clocks change, an hour that comes
// twice counts twice, and one that never comes is none.

export const DAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const
export type Day = (typeof DAYS)[number]

/** From `from` until before `to`; where that is earlier, until the next day. `days` are those on which they begin. */
export type CallingHours = { from: string; to: string; days: readonly string[] }

const MINUTE = 60_000
const DAY_MINUTES = 24 * 60

/** What the clock says: the day of the week, counted from Monday, and the minute of the day. */
type Local = { day: number; minute: number }

/** Making one costs some 50 µs. */
const MOST_CLOCKS = 1_000
const clocks = new Map<string, Intl.DateTimeFormat>()

function clockOf(timeZone: string): Intl.DateTimeFormat {
  let clock = clocks.get(timeZone)
  if (!clock) {
    if (clocks.size >= MOST_CLOCKS) clocks.clear()
    const parts = { weekday: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' } as const
    clock = new Intl.DateTimeFormat('en-US', { timeZone, ...parts })
    clocks.set(timeZone, clock)
  }
  return clock
}

function localOf(timeZone: string, at: number): Local {
  const said = new Map(
    clockOf(timeZone)
      .formatToParts(at)
      .map(({ type, value }) => [type, value]),
  )
  const day = DAYS.indexOf((said.get('weekday') ?? '').toLowerCase() as Day)
  return { day, minute: Number(said.get('hour')) * 60 + Number(said.get('minute')) }
}

function minuteOf(time: string): number {
  const [hours = '', minutes = ''] = time.split(':')
  return Number(hours) * 60 + Number(minutes)
}

/** How long they last yet, by the clock on the wall; null where they are closed. */
export function openFor(hours: CallingHours, timeZone: string, at: number): number | null {
  const { day, minute } = localOf(timeZone, at)
  const [from, to] = [minuteOf(hours.from), minuteOf(hours.to)]
  const begins = (on: number) => hours.days.includes(DAYS[(on + 7) % 7] as Day)
  const left = (minutes: number) => minutes * MINUTE
  if (from < to) return begins(day) && minute >= from && minute < to ? left(to - minute) : null
  if (begins(day) && minute >= from) return left(DAY_MINUTES - minute + to)
  return begins(day - 1) && minute < to ? left(to - minute) : null
}

/** In how many milliseconds they open, `most` where that is not within it; to be asked while they are closed. */
export function opensIn(hours: CallingHours, timeZone: string, at: number, most: number): number {
  const next = (Math.floor(at / MINUTE) + 1) * MINUTE
  for (let when = next; when < at + most; when += MINUTE)
    if (openFor(hours, timeZone, when) !== null) return when - at
  return most
}

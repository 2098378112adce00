import { Cron } from 'croner'

// Cron expressions of five fields, or a name such as @daily, in a time zone of their own.

const FORM = /^(?:@(?:hourly|daily|weekly|monthly|yearly|annually)|\S+(?:\s+\S+){4})$/i

/** The first tick after `after` (milliseconds); null where there is none any more. */
export function nextTick(cron: string, timeZone: string, after: number): number | null {
  const next = new Cron(cron, { mode: '5-part', timezone: timeZone }).nextRun(new Date(after))
  return next ? next.getTime() : null
}

/** Why an expression is not taken; null where it is. */
export function refusalOfCron(cron: string): string | null {
  const form =
    'must be a cron expression of five fields, such as 0 9 * * 1-5, or @hourly, @daily, @weekly or @monthly'
  if (!FORM.test(cron)) return form
  try {
    return nextTick(cron, 'UTC', Date.now()) === null ? 'must mean a time that comes' : null
  } catch {
    return form
  }
}

export { isTimeZone } from '../../lib/time-zones'

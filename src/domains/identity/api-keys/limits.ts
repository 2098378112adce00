import { defined } from '../../../lib/defined'

/** What a key may do at most, on top of what its tenant may; a total counts down and never comes back. */
export type KeyLimits = {
  per_minute?: number
  per_day?: number
  total?: number
  /** The key as which this one is counted: a rotation gives nothing back. */
  counted_as?: string
}

/** The most that each may be. */
export const MOST_OF_KEY: Required<Omit<KeyLimits, 'counted_as'>> = {
  per_minute: 1_000_000,
  per_day: 1_000_000_000,
  total: 1_000_000_000_000,
}

type Given = { [name in keyof typeof MOST_OF_KEY]?: number | undefined }

/** The limits that were given, without what is none; null where there is none at all. */
export function ownLimits({ per_minute, per_day, total }: Given = {}): KeyLimits | null {
  const own = defined({ per_minute, per_day, total })
  return Object.keys(own).length > 0 ? own : null
}

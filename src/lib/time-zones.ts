/** Some hundred names there are; each costs the runtime some 50 µs to look up. */
const MOST_KNOWN = 1_000
const known = new Map<string, string | null>()

/** Whether the runtime knows a time zone of that name (IANA). */
export const isTimeZone = (name: string): boolean => timeZoneNamed(name) !== null

/**
 * The time zone of that name as it is written, so that one has not as many names as there are ways to write it in capitals;
 * null where the runtime knows none.
 */
export function timeZoneNamed(name: string): string | null {
  const before = known.get(name)
  if (before !== undefined) return before
  if (known.size >= MOST_KNOWN) known.clear()
  const is = looksUp(name)
  known.set(name, is)
  return is
}

/** Parts in capitals, or with one: what an older name of a zone (Asia/Kolkata, US/Eastern) must look like to be kept. */
const AS_WRITTEN = /^(?:[A-Z][a-z]*|[A-Z\d]+)(?:[/_+-](?:[A-Z][a-z]*|[A-Z\d]+))*$/

function looksUp(name: string): string | null {
  // An offset is no place whose clocks are known.
  if (/^[+-]/.test(name)) return null
  try {
    const first = new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone
    return first.toLowerCase() !== name.toLowerCase() && AS_WRITTEN.test(name) ? name : first
  } catch {
    return null
  }
}

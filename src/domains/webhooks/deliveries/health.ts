// How an endpoint fares, by the ends of its attempts in a row: when it counts as degraded, when it is tried again, when
// its owner is told, and when it is given up.

const SECOND = 1_000
const MINUTE = 60 * SECOND
const DAY = 24 * 60 * MINUTE

/** So many failures in a row make an endpoint degraded. */
export const FAILURES_IN_A_ROW = 10
/** The wait before the first probe; it doubles up to the longest. */
const FIRST_PROBE_MS = 30 * SECOND
const LONGEST_PROBE_MS = 15 * MINUTE
/** After how long without success its owner is told, each time; and when the endpoint is disabled. */
const NOTICES_MS = [1 * DAY, 3 * DAY]
export const GIVEN_UP_MS = 5 * DAY
/** Between two notices, and between the last and the end, is so long at least. */
const BETWEEN_MS = 1 * DAY

/** What an endpoint's object remembers of how it fares. Times are milliseconds since 1970. */
export type Health = {
  /** Failures in a row. */
  failures: number
  /** When the first of them ended. */
  failing_since: number | null
  /** Whether D1 has it as degraded. */
  degraded: boolean
  /** Probes that failed since. */
  probes: number
  /** Notices given, and when the last was. */
  notices: number
  noticed_at: number | null
}

export const HEALTHY: Health = {
  ...{ failures: 0, failing_since: null, degraded: false },
  ...{ probes: 0, notices: 0, noticed_at: null },
}

/** How it fares after an attempt, and what that does to its circuit. */
export function afterAttempt(
  health: Health,
  { failed, probe, now }: { failed: boolean; probe: boolean; now: number },
): { health: Health; circuit: 'trip' | 'probe' | 'reset' | null } {
  if (!failed) return { health: HEALTHY, circuit: health.degraded ? 'reset' : null }
  const failures = health.failures + 1
  const next = { ...health, failures, failing_since: health.failing_since ?? now }
  if (health.degraded)
    return { health: { ...next, probes: health.probes + (probe ? 1 : 0) }, circuit: probe ? 'probe' : null }
  // Every tenth: one that could not be told, since the endpoint was paused just then, is not told by the first to come.
  return { health: next, circuit: failures % FAILURES_IN_A_ROW === 0 ? 'trip' : null }
}

/** How long the next probe waits after so many that failed. */
export const probeWait = (probes: number): number => Math.min(FIRST_PROBE_MS * 2 ** probes, LONGEST_PROBE_MS)

/** What is due to the owner of a degraded endpoint: a notice, its end, or nothing yet. */
export function dueToOwner(health: Health, now: number): 'notice' | 'disable' | null {
  if (!health.degraded || health.failing_since === null) return null
  if (health.noticed_at !== null && now - health.noticed_at < BETWEEN_MS) return null
  const failingFor = now - health.failing_since
  const notice = NOTICES_MS[health.notices]
  if (notice === undefined) return failingFor >= GIVEN_UP_MS ? 'disable' : null
  return failingFor >= notice ? 'notice' : null
}

/** How it stands once D1 knows what came of these attempts; the same where they did nothing to the circuit. */
export function afterReport(
  health: Health,
  reports: readonly { ended_at: number; verdict: { circuit: 'trip' | 'probe' | 'reset' | null } }[],
): Health {
  let next = health
  for (const { ended_at, verdict } of reports) {
    // Counted from here: failures of what was under way meanwhile belong to the same row.
    if (verdict.circuit === 'trip') next = { ...next, degraded: true }
    if (verdict.circuit === 'probe' && dueToOwner(next, ended_at) === 'notice')
      next = { ...next, notices: next.notices + 1, noticed_at: ended_at }
  }
  return next
}

/** When it will be disabled if nothing changes. */
export function givenUpAt(health: Health, now: number): number {
  const bySilence = (health.failing_since ?? now) + GIVEN_UP_MS
  const left = NOTICES_MS.length - health.notices
  const byNotices = (health.noticed_at ?? now) + left * BETWEEN_MS
  return Math.max(bySilence, byNotices)
}

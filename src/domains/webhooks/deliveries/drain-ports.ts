import type { Begun, Report } from './attempt-log'
import type { Attempt } from './schema'
import type { Verdict } from './verdict'

/** A delivery that is due, as it was read when its attempt is claimed. */
export type Due = {
  delivery_id: string
  event_id: string
  event_type: string
  attempt_count: number
  retries: number
  /** Whether it goes out to see whether a degraded endpoint answers again. */
  probe: boolean
}

/**
 * What is due now, read together with the endpoint as it is now: its own rate; `next_at` is when the next after these is
 * due.
 */
export type Work<D extends Due> = {
  due: D[]
  next_at: number | null
  rate?: number | null
  /** Others wait for what becomes of these. */
  ordered?: boolean
}

/** The outside of a drain: D1, the network and the clock. */
export type DrainPorts<D extends Due> = {
  now: () => number
  /** At most `limit` due deliveries, none of `except`. */
  load: (except: readonly string[], limit: number) => Promise<Work<D>>
  /** So many of `wanted` attempts may begin now by the tenant's rate; `wait` is how long the others are held. */
  pace: (wanted: number) => Promise<{ count: number; wait: number }>
  /** Sends nothing before `turn` has resolved with the time at which it begins, and at once when it has. */
  attempt: (
    delivery: D,
    begun: Begun,
    turn: () => Promise<number>,
  ) => Promise<{ attempt: Attempt; verdict: Verdict }>
  /** Resolves when all that was claimed is on disk. */
  kept: () => Promise<void>
  /** Answers whether more may be due for it. */
  report: (reports: readonly Report[]) => Promise<boolean>
}

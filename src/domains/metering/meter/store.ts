import type { Lent } from './lease'
import type { Period } from './window'

/** A window as it is kept: what was booked, and how many more may have been granted since. */
export type SavedWindow = {
  name: string
  period: Period
  buckets: [bucket: number, count: number][]
  reserve: number
}

/** All that a Meter needs to begin anew: at worst it counts too much. */
export type SavedMeter = {
  windows: SavedWindow[]
  leases: [isolate: string, lent: Lent][]
  clock: { ahead: number; last: number }
}

/** Where a Meter keeps its windows. What `write` was given is on disk before the answer leaves. */
export interface MeterStore {
  read(): SavedMeter
  /** Windows that are not among `saved` stay as they are, those in `gone` go. */
  write(saved: SavedMeter, gone: string[]): void
}

import type { CallRow } from './table'

// Calls are charged by the second. What is held for a call is what its next minutes cost; it is extended while it lasts.

/** Minutes that are held when a call is placed. */
const FIRST_MINUTES = 1
/** Minutes by which that is extended, where there is credit for them; else by what there is. */
export const EXTENSION_MINUTES = [5, 1] as const

type Price = Pick<CallRow, 'credits_per_minute'>

/** What so many seconds cost; a credit is not divided. */
export const costOf = ({ credits_per_minute }: Price, seconds: number): number =>
  Math.ceil((seconds * credits_per_minute) / 60)

/** What is held for a call when it is placed. */
export const firstHold = (call: Price & Pick<CallRow, 'max_duration_seconds'>): number =>
  costOf(call, Math.min(FIRST_MINUTES * 60, call.max_duration_seconds))

/** How many seconds are paid for by what is held; no end where calls cost nothing. */
export const secondsHeld = ({ credits_per_minute, reserved }: Price & Pick<CallRow, 'reserved'>): number =>
  credits_per_minute === 0 ? Number.POSITIVE_INFINITY : Math.floor((reserved * 60) / credits_per_minute)

/** Whole seconds that it lasted, each begun one counted. */
export const secondsBetween = (started_at: string, ended_at: string): number =>
  Math.max(0, Math.ceil((Date.parse(ended_at) - Date.parse(started_at)) / 1000))

/** Under what a call's transactions are found; each extension has a reference of its own. */
export const referenceOf = (callId: string, extension = 0): string =>
  extension === 0 ? `call:${callId}` : `call:${callId}:${extension}`

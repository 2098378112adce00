/** How long and how much an upstream may answer. */
export type Limits = {
  /** Milliseconds without a byte, from the request on. */
  stall_ms: number
  /** Milliseconds that an answer may take in all, however many signs of life it gives. */
  total_ms: number
  max_bytes: number
  /** Milliseconds to wait before each repetition of a call to an agent that allows it. */
  pauses_ms: readonly number[]
}

export const LIMITS: Limits = {
  // chat.md: what works longer in silence answers by callback.
  stall_ms: 60_000,
  total_ms: 30 * 60_000,
  max_bytes: 4 * 1024 * 1024,
  pauses_ms: [500, 2000],
}

import type { Bindings } from '../env'

// The queue is only a nudge and may lose a message; the sweeper looks at what is undone. It sleeps while nothing is,
// so whoever writes an event makes sure beforehand that it is awake: one call a minute per isolate.

/** How long the sweeper promises to keep looking after it was told to. */
export const WATCH_MS = 60_000

let watchedUntil = 0

/** Resolves when the sweeper is sure to look at the outbox after `now`, whatever becomes of this isolate. */
export async function keepWatch(env: Bindings, now: number): Promise<void> {
  if (watchedUntil - now > WATCH_MS / 2) return
  await env.SWEEPER.getByName('sweeper').watch()
  watchedUntil = now + WATCH_MS
}

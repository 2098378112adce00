import type { Bindings } from '../env'
import { log } from '../lib/log'

// The queue is only a nudge and may lose a message; the sweeper looks at what is undone. It sleeps while nothing is,
// so whoever makes work makes sure beforehand that it is awake: one call each half minute per isolate. Meters do while
// they are asked, for what is written to D1 from outside (scripts/lib/platform-admin.mjs).

/** How long the sweeper keeps looking after it was told to; three quarters of it are sure. */
export const WATCH_MS = 60_000

/** The sweeper answers in milliseconds; beyond this a write no longer waits for it, and cron, which sweeps too, steps in. */
const PATIENCE_MS = 2_000

let watchedUntil = 0

/** Resolves when the sweeper is sure to look at the outbox after `now`, whatever becomes of this isolate. */
export async function keepWatch(env: Bindings, now: number): Promise<void> {
  const left = watchedUntil - now
  // More than was ever promised: the clock went back, and the promise is of another time.
  if (left > WATCH_MS / 2 && left <= WATCH_MS) return
  const { promise: late, resolve } = Promise.withResolvers<'late'>()
  const timer = setTimeout(() => resolve('late'), PATIENCE_MS)
  try {
    const answer = await Promise.race([env.SWEEPER.getByName('sweeper').watch(), late])
    if (answer === 'late') log.error('sweeper_late', { patience_ms: PATIENCE_MS })
    else watchedUntil = now + WATCH_MS
  } catch (error) {
    log.error('sweeper_away', { cause: String(error) })
  } finally {
    clearTimeout(timer)
  }
}

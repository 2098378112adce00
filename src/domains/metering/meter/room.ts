import type { Spell } from './lease'
import type { SlidingWindow } from './window'

/** From `at` on, until the next step, so many may be granted. */
export type Step = { at: number; room: number }

/**
 * What may be granted of a window, now and as its buckets leave, so that nowhere in the future more than the limit is
 * out. `promised` are parts of leases that open later: they are booked already, but use nothing until then.
 */
export function roomOf(
  window: SlidingWindow,
  limit: number,
  promised: readonly Spell[],
  now: number,
): Step[] {
  const used = window.used(now)
  const changes = window.leaving(now, Number.POSITIVE_INFINITY).map(({ at, count }): Spell => [at, count])
  let free = limit - used
  for (const [at, count] of promised) {
    if (at <= now) continue
    free += count
    changes.push([at, -count])
  }
  changes.sort((a, b) => a[0] - b[0])
  const steps: Step[] = [{ at: now, room: free }]
  for (const [at, change] of changes) {
    free += change
    const last = steps.at(-1)
    if (last?.at === at) last.room = free
    else steps.push({ at, room: free })
  }
  // What is given at one time is gone for all later ones.
  for (let i = steps.length - 2; i >= 0; i--) {
    const [step, after] = [steps[i], steps[i + 1]]
    if (step && after) step.room = Math.min(step.room, after.room)
  }
  return steps
}

import type { Spell } from './lease'
import type { Dated } from './window'

/** From `at` on, until the next step: what is free then, and how much of it may be granted. */
export type Step = { at: number; free: number; room: number }

/**
 * What may be granted of a window, now and as its buckets leave, so that nowhere in the future more than the limit is
 * out. `promised` are parts of leases that open later: they are booked already, but use nothing until then.
 */
export function roomOf(
  limit: number,
  used: number,
  leaving: readonly Dated[],
  promised: readonly Dated[],
  now: number,
): Step[] {
  const changes = [...leaving]
  let free = limit - used
  for (const { at, count } of promised) {
    if (at <= now) continue
    free += count
    changes.push({ at, count: -count })
  }
  if (changes.length > leaving.length) changes.sort((a, b) => a.at - b.at)
  const steps: Step[] = [{ at: now, free, room: free }]
  for (const { at, count } of changes) {
    free += count
    const last = steps.at(-1)
    if (last?.at === at) last.free = free
    else steps.push({ at, free, room: free })
  }
  return reckon(steps)
}

/** Takes a grant off: `count` now, more at later times. */
export function takeFrom(steps: Step[], count: number, later: readonly Spell[], now: number): Step[] {
  let given = count
  let next = 0
  for (const step of steps) {
    for (let part = later[next]; part && now + part.ms <= step.at; part = later[++next]) given += part.count
    step.free -= given
  }
  return reckon(steps)
}

/** What is given at one time is gone for all later ones. */
function reckon(steps: Step[]): Step[] {
  let least = Number.POSITIVE_INFINITY
  for (let i = steps.length - 1; i >= 0; i--) {
    const step = steps[i]
    if (step) step.room = least = Math.min(least, step.free)
  }
  return steps
}

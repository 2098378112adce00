import { minuteOf, Simulation } from './simulation'
import { mostIn } from './timeline'

const MINUTE = 60_000
/** Requests that come, as parts of the limit. */
export const LOADS = [0.9, 1, 1.1, 1.25, 1.5, 2]

/** Parts of the limit, and Meter calls and writes for 1,000 admitted. */
export type Outcome = { most: number; part: number; calls: number; writes: number }

/**
 * Loads isolates for some minutes: the most that was admitted in any 60 s, what part of what could be was admitted in the
 * minutes after the first (which is easy: the window is empty), and Meter calls and writes for 1,000 admitted.
 */
export async function run(isolates: number, limit: number, load: number, minutes: number, restart = false) {
  const sim = new Simulation(isolates * 100 + load * 10, isolates)
  const start = sim.now
  sim.load(limit * load, minutes * MINUTE, [minuteOf(limit)])
  if (restart) sim.in(1.7 * MINUTE, () => sim.restartMeter())
  await sim.run(minutes * MINUTE)
  const admitted = sim.admittedAt.length
  const late = sim.admittedAt.filter((at) => at >= start + MINUTE).length
  return {
    most: mostIn(sim.admittedAt, MINUTE) / limit,
    part: (restart ? admitted / minutes : late / (minutes - 1)) / (limit * Math.min(1, load)),
    calls: (sim.calls.length * 1_000) / admitted,
    writes: (sim.store.writes * 1_000) / admitted,
  } satisfies Outcome
}

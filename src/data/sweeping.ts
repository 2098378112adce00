import type { Bindings, EventNudge } from '../env'

// What is left to do after a commit is known best by those who left it, and the sweep and the queue's consumer do not
// know them: each says here what there is. The sweep finds it whatever was lost; a nudge only makes it soon.

type Deferring = Pick<ExecutionContext, 'waitUntil'>

/**
 * Looks at what is undone, over all tenants, and sees to it; a bounded part of it, for another look is due in seconds.
 * Answers with how many things were not done yet when it looked: the sweeper sleeps where that is none.
 */
export type Sweep = (env: Bindings, ctx: Deferring, now: number) => Promise<number>

/** Sees to what these events may have left to do; one that fails, or never comes, is made good by the sweep. */
export type Nudged = (env: Bindings, nudges: readonly EventNudge[], ctx: Deferring) => Promise<unknown>

/** When the next thing is due by the clock, in milliseconds; null where nothing is. */
export type DueNext = (env: Bindings) => Promise<number | null>

const dues: DueNext[] = []
const sweeps = new Map<string, Sweep>()
const nudged = new Map<string, Nudged>()

/** Has `sweep` look every few seconds while anything happens, and each minute besides. `name` is what a failure logs. */
export function onSweep(name: string, sweep: Sweep): void {
  sweeps.set(name, sweep)
}

/** Has `work` called with the nudges of events that were just committed, beside their dispatch. */
export function onNudge(name: string, work: Nudged): void {
  nudged.set(name, work)
}

/** Has the sweeper, which sleeps while nothing happens, look when `due` says. */
export function onClock(due: DueNext): void {
  dues.push(due)
}

/** When the sweeper must look again though nothing happens; null where nothing is due by the clock. */
export async function dueNext(env: Bindings): Promise<number | null> {
  const all = (await Promise.all(dues.map((due) => due(env)))).filter((at) => at !== null)
  return all.length === 0 ? null : Math.min(...all)
}

/** All that was declared. */
export const allSweeps = (): ReadonlyMap<string, Sweep> => sweeps
export const allNudged = (): ReadonlyMap<string, Nudged> => nudged

import { readdirSync, readFileSync } from 'node:fs'
import type { Poster } from './poster.ts'

/** What takes events and sends them: the service, or what it is measured beside. */
export type Sender = {
  name: string
  /** Where events are posted; an answer of 201 names the event. */
  poster: Poster
  /** Its processes; what they have started counts with them. */
  processes: number[]
  /** Deliveries that it has not recorded the end of. */
  open: () => Promise<number>
  /** Attempts in its log. */
  logged: () => Promise<number>
  /** Sends nothing until it is released. */
  hold: () => Promise<void>
  release: () => Promise<void>
}

/** Microseconds of processor time of processes and all that they have started; NaN where the system does not tell. */
export function timeOf(processes: readonly number[]): number {
  try {
    const parents = new Map(
      readdirSync('/proc').flatMap((pid) => (/^\d+$/.test(pid) ? [[Number(pid), parentOf(pid)]] : [])) as [
        number,
        number,
      ][],
    )
    const isOurs = (pid: number): boolean =>
      processes.includes(pid) || (parents.has(pid) && isOurs(parents.get(pid) ?? 0))
    return [...parents.keys()].filter(isOurs).reduce((sum, pid) => sum + microseconds(pid), 0)
  } catch {
    return Number.NaN
  }
}

/** 0 for what has ended since the directory was read. */
function parentOf(pid: string): number {
  const [, parent] = /^\d+ \(.*\) \S+ (\d+)/.exec(read(`/proc/${pid}/stat`)) ?? []
  return Number(parent ?? 0)
}

function microseconds(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/task`).reduce(
      (sum, thread) => sum + Number.parseInt(read(`/proc/${pid}/task/${thread}/schedstat`) || '0', 10) / 1000,
      0,
    )
  } catch {
    return 0
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

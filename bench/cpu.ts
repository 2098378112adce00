import { readdirSync, readFileSync } from 'node:fs'

/**
 * Microseconds of processor time that the workerd started by this process has used; null where the system does not tell
 * (only Linux does). It does not depend on what else the machine does, as requests per second do.
 */
export function workerdTime(): (() => number) | null {
  const pid = childNamed('workerd')
  if (pid === null) return null
  return () =>
    readdirSync(`/proc/${pid}/task`).reduce(
      (sum, thread) => sum + firstNumber(`/proc/${pid}/task/${thread}/schedstat`) / 1000,
      0,
    )
}

/** The id of that workerd. */
export const workerdPid = (): number | null => {
  const pid = childNamed('workerd')
  return pid === null ? null : Number(pid)
}

const firstNumber = (file: string) => Number.parseInt(readFileSync(file, 'utf8'), 10)

function childNamed(name: string): string | null {
  try {
    return (
      readdirSync('/proc').find((pid) => {
        if (!/^\d+$/.test(pid)) return false
        // pid (comm) state ppid …
        const [, comm, parent] = /^\d+ \((.*)\) \S+ (\d+)/.exec(statOf(pid)) ?? []
        return comm === name && Number(parent) === process.pid
      }) ?? null
    )
  } catch {
    return null
  }
}

function statOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    // It has ended since the directory was read.
    return ''
  }
}

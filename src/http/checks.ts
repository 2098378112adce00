import type { Context as HonoContext } from 'hono'
import type { AppEnv } from './app-env'

/** Lets a request pass, refuses it by throwing, or answers it. */
export type Check = (c: HonoContext<AppEnv>) => undefined | Response | Promise<undefined | Response>

/** Checks one after the other until one answers; waits only for those that make it wait. */
export function inOrder(checks: readonly Check[], c: HonoContext<AppEnv>, first = 0): ReturnType<Check> {
  for (let i = first; i < checks.length; i++) {
    const outcome = checks[i]?.(c)
    if (outcome instanceof Promise) return outcome.then((answer) => answer ?? inOrder(checks, c, i + 1))
    if (outcome) return outcome
  }
}

import type { Context as HonoContext, MiddlewareHandler, Next } from 'hono'
import type { AppEnv } from './app-env'

/** Lets a request pass, refuses it by throwing, or answers it. */
export type Check = (c: HonoContext<AppEnv>) => undefined | Response | Promise<undefined | Response>

/**
 * Checks one after the other in one middleware, since each middleware costs a request a promise and a closure. It waits
 * only where a check makes it wait.
 */
export function inOrder(...checks: Check[]): MiddlewareHandler<AppEnv> {
  const from = (first: number, c: HonoContext<AppEnv>, next: Next): Promise<Response | undefined> => {
    for (let i = first; i < checks.length; i++) {
      const outcome = checks[i]?.(c)
      if (outcome instanceof Promise) return outcome.then((answer) => answer ?? from(i + 1, c, next))
      if (outcome) return Promise.resolve(outcome)
    }
    return next() as Promise<undefined>
  }
  return (c, next) => from(0, c, next)
}

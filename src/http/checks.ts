import type { Context as HonoContext, MiddlewareHandler } from 'hono'
import type { AppEnv } from './app-env'

/** Lets a request pass, refuses it by throwing, or answers it. */
export type Check = (c: HonoContext<AppEnv>) => undefined | Response | Promise<undefined | Response>

/** Checks one after the other in one middleware, since each middleware costs a request a promise and a closure. */
export function inOrder(...checks: Check[]): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    for (const check of checks) {
      const outcome = check(c)
      const answer = outcome instanceof Promise ? await outcome : outcome
      if (answer) return answer
    }
    return next()
  }
}

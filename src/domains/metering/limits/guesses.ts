import type { Context as HonoContext } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { addressLimiter } from '../isolate'
import { limitProblem } from './headers'
import { admit } from './middleware'
import { GUESS_WANTS } from './policy'

// What is public and not counted (limits.md) costs nothing where it is remembered; to look for what is not there costs a
// read each time, so that alone is counted, in a window of its own: nothing else that an address does shuts it out.

/** Counts a request for what is not there by its address; 429 `rate_limited` where there were too many. */
export const countGuess = (c: HonoContext<AppEnv>): undefined | Promise<undefined> =>
  admit(c, addressLimiter(c.env, c.get('request').address), GUESS_WANTS)

/** 429 `rate_limited`, without a look, for an address that asked too often for what is not there. */
export function refuseGuesser(c: HonoContext<AppEnv>): void {
  const refusal = addressLimiter(c.env, c.get('request').address).refusal(GUESS_WANTS)
  if (refusal?.refusedBy) throw limitProblem(refusal.refusedBy)
}

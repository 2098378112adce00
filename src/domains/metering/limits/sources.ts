import type { Context as HonoContext } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { addressLimiter, sourceLimiter } from '../isolate'
import { admit } from './middleware'
import { ADDRESS_WANTS, FILE_WANTS, PROVIDER_WANTS, REFUSAL_WANTS, RUN_WANTS, sourceWants } from './policy'

// Incoming webhooks are counted by their source (limits.md), and only once it is known that the source sent them: who
// knows its URL alone uses up nothing of it. Nor is an address counted that brought what a source refuses: a provider's
// addresses are those of all its customers, and one who signs wrongly must not shut the others out.

/** Counts a webhook that its source did send; 429 `rate_limited`. `null`: a provider's, for all tenants. */
export const admitSource = (
  c: HonoContext<AppEnv>,
  source: string,
  perMinute: number | null,
): undefined | Promise<undefined> =>
  admit(c, sourceLimiter(c.env, source), perMinute === null ? PROVIDER_WANTS : sourceWants(perMinute))

/** Counts what an agent posts of one run; 429 `rate_limited`. Only for who has shown the run’s own token. */
export const admitRun = (c: HonoContext<AppEnv>, runId: string): undefined | Promise<undefined> =>
  admit(c, sourceLimiter(c.env, `run:${runId}`), RUN_WANTS)

/** Counts one that was refused; 429 `rate_limited` where there were too many. */
export const countRefused = (c: HonoContext<AppEnv>, source: string): undefined | Promise<undefined> =>
  admit(c, sourceLimiter(c.env, source), REFUSAL_WANTS)

/** Counts a request to a source that there is not, by its address; 429 `rate_limited`. */
export const countUnknown = (c: HonoContext<AppEnv>): undefined | Promise<undefined> =>
  admit(c, addressLimiter(c.env, c.get('request').address), ADDRESS_WANTS.public)

/** Counts a request by a signed URL, once its signature is proven, by its file; 429 `rate_limited`. */
export const admitFile = (c: HonoContext<AppEnv>, file: string): undefined | Promise<undefined> =>
  admit(c, sourceLimiter(c.env, `file:${file}`), FILE_WANTS)

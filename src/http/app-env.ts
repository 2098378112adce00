import type { Caller } from '../data/caller'
import type { Context, RequestContext } from '../data/context'
import type { Bindings } from '../env'
import type { LimitFields } from './answer-headers'
import type { MatchedRoute } from './notes'

/** Hono's environment: what middleware leaves for the routes. */
export type AppEnv = {
  Bindings: Bindings
  Variables: {
    /** Set for every request. */
    request: RequestContext
    /** Set once a credential was verified; routes that are not `open()` can rely on it. */
    ctx: Context
    /** The same credential as the isolate remembers it: how it stands now. Set together with `ctx`. */
    caller?: Caller
    /** Set by `routeOf`, which is asked several times a request. */
    route?: MatchedRoute
    /** Answers with the value, as the route's `returns` prints it; a route that has none can't use it. */
    reply: (value: never) => Response
    /** The answer as `answerWith` made it, with the headers of every answer. */
    answer?: Response
    /** What the limits say of the request, for its answer; unset where it was not counted. */
    limitFields?: LimitFields
    /** Bytes of the request's body, where it was read without having been announced. */
    requestBytes?: number
    /** Bytes of the answer's body, where its maker knows, or will. */
    responseBytes?: number | Promise<number>
  }
}

import type { Context, RequestContext } from '../data/context'
import type { Bindings } from '../env'

/** Hono's environment: what middleware leaves for the routes. */
export type AppEnv = {
  Bindings: Bindings
  Variables: {
    /** Set for every request. */
    request: RequestContext
    /** Set once a credential was verified; routes that are not `open()` can rely on it. */
    ctx: Context
  }
}

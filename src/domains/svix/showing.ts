import type { Context } from '../../data/context'
import { problem } from '../../lib/problem'

/**
 * The context of a request whose answer is not what its verb commits but what `show` makes of it: an idempotent request
 * keeps that answer beside the change. Once for each request.
 */
export function showing<R>(ctx: Context, show: (result: R) => unknown): Context {
  const claim = ctx.idempotency
  const print = claim?.render
  if (print) claim.render = (result) => print(show(result as R))
  return ctx
}

/** 412 where what is about to be made was to be changed: If-Match names a version, and there is none (RFC 9110, 13.1.1). */
export function refuseMatch(ctx: Context, resource: string): void {
  if (ctx.ifMatch !== undefined)
    throw problem('precondition_failed', `There is no such ${resource} whose version could match`)
}

import type { Context } from '../../../data/context'
import { meterOf } from '../../../data/objects'
import type { LimitFields } from '../../../http/answer-headers'
import { describeError, log } from '../../../lib/log'
import { problem } from '../../../lib/problem'
import { tenantLimiter } from '../isolate'
import type { Taken } from '../meter/grants'
import { PERIODS } from '../meter/window'
import { HOP_LIMIT_MS } from './courier'
import { fieldsOf, limitProblem } from './headers'
import type { Want, WindowState } from './held-window'
import type { Limiter } from './limiter'
import { policyOf } from './policy'
import { secondsTo } from './verdict'

/** What a route's context is to this. */
type Answering = {
  var: { ctx: Context; limitFields?: LimitFields | undefined }
  set: (name: 'limitFields', fields: LimitFields) => void
}

/**
 * Counts the files of a request that announces several, of which the first was counted with the request: all of them, or
 * none. 429 `rate_limited`; 422 naming `field` where the limit is too small for so many at once.
 */
export async function admitUploads(c: Answering, field: string, files: number): Promise<void> {
  const { ctx } = c.var
  const more = files - 1
  const [window] = policyOf(ctx.tenant).files
  if (more < 1 || !window) return
  if (files > window.limit)
    throw problem.invalid({
      [field]: `must be ${window.limit} at most: that is the limit of uploads a minute`,
    })
  const limiter = tenantLimiter(ctx.env, ctx.tenant.id)
  const taken = limiter.isSilent ? null : await take(ctx, window, more)
  if (taken === null) return oneByOne(ctx, limiter, more)
  const state = stateOf(window, taken)
  if (taken.wait !== null) throw limitProblem(state)
  const shown = c.var.limitFields
  if (!shown || state.remaining <= shown.remaining) c.set('limitFields', fieldsOf(state))
}

function stateOf({ name, period, limit }: Want, { left, reset, wait }: Taken): WindowState {
  const seconds = PERIODS[period].length / 1_000
  return {
    ...{ name, limit, period: seconds, remaining: left, reset: secondsTo(wait ?? reset, 0) },
    policy: `"${name}";q=${limit};w=${seconds}`,
  }
}

/** Asks the Meter; null where it does not answer. */
async function take({ env, tenant }: Context, window: Want, count: number): Promise<Taken | null> {
  const asked = meterOf(env, tenant.id).then((meter) =>
    meter.take(window.name, window.period, window.limit, count),
  )
  try {
    return await Promise.race([asked, scheduler.wait(HOP_LIMIT_MS).then(() => null)])
  } catch (error) {
    log.warn('uploads_not_counted', { tenant_id: tenant.id, cause: describeError(error) })
    return null
  }
}

/** By the rule for a silent Meter. */
async function oneByOne({ tenant, defer }: Context, limiter: Limiter, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const { refusedBy } = await limiter.admit(policyOf(tenant).files, defer)
    if (refusedBy) throw limitProblem(refusedBy)
  }
}

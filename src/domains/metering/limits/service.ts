import type { Context } from '../../../data/context'
import { meterOf } from '../../../data/objects'
import { problem } from '../../../lib/problem'
import { storageUsed } from '../../files/storage'
import { type Limits, limitsOf, type PlanName } from '../../tenancy/plans'
import { tenantLimiter } from '../isolate'
import type { WindowUse } from '../meter/grants'
import type { StreamUse } from '../meter/streams'
import { publicName, type Want } from './held-window'
import { policyOf, wantsOf } from './policy'
import type { LimitsNow, LimitUse } from './schema'

/** Longer than this nobody waits for a Meter, which may be asking others (streams.ts). */
const PATIENCE_MS = 2_000

/** How each limit of the caller's tenant stands, and those of the key that asks. 503 while the Meter does not answer. */
export async function limitsNow(ctx: Context): Promise<LimitsNow> {
  const wants = wantsShown(ctx)
  const stored = storageUsed(ctx)
  ctx.defer(stored)
  const asked = meterOf(ctx.env, ctx.tenant.id).then((meter) =>
    Promise.all([
      meter.look(wants.map(({ name, period, limit }) => ({ name, period, limit }))),
      meter.streamUse(),
    ]),
  )
  ctx.defer(asked)
  const late = scheduler.wait(PATIENCE_MS).then(() => null)
  const answer = await Promise.race([asked.catch(() => null), late])
  if (!answer)
    throw problem('service_unavailable', 'The windows can’t be looked at just now', {
      headers: { 'Retry-After': '1' },
    })
  const [uses, streams] = answer
  const limits = limitsOf(ctx.tenant)
  const bytes = await stored
  return {
    plan: ctx.tenant.plan as PlanName,
    windows: [
      ...uses.map((use) => shown(ctx, use)),
      openStreams(streams),
      deliveries(limits),
      storage(limits, bytes),
    ],
  }
}

function wantsShown(ctx: Context): Want[] {
  const { message, upload, self_help } = policyOf(ctx.tenant)
  // By a key its own windows as well; each window once.
  const wants = [...wantsOf(ctx.tenant, ctx.principal, 'request'), ...message, ...upload, ...self_help]
  return [...new Map(wants.map((want) => [want.name, want])).values()]
}

function shown(ctx: Context, use: WindowUse): LimitUse {
  const { name, period, limit, reset } = use
  // What this isolate holds and has not spent is booked there, but not used.
  const used = Math.max(0, use.used - tenantLimiter(ctx.env, ctx.tenant.id).unspent(name))
  return {
    window: publicName(name),
    per: period === 'total' ? null : period,
    limit,
    used,
    remaining: limit - used,
    resets: used > 0 && Number.isFinite(reset) ? Math.ceil(reset / 1_000) : null,
  }
}

const openStreams = ({ open, limit }: StreamUse): LimitUse => ({
  ...{ window: 'open_streams', per: null, limit, used: open },
  remaining: Math.max(0, limit - open),
  resets: null,
})

const deliveries = ({ deliveries_per_second: limit }: Limits): LimitUse => ({
  ...{ window: 'deliveries', per: 'second', limit },
  ...{ used: null, remaining: null, resets: null },
})

const storage = ({ storage_bytes: limit }: Limits, used: number): LimitUse => ({
  ...{ window: 'storage_bytes', per: null, limit, used },
  remaining: Math.max(0, limit - used),
  resets: null,
})

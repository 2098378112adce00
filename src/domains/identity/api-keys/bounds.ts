import type { Context } from '../../../data/context'
import { find } from '../../../data/revise'
import { isPartOf, networkFrom } from '../../../lib/ip-address'
import { problem } from '../../../lib/problem'
import { ownLimits } from './limits'
import type { CreateApiKey } from './schema'
import { type ApiKeyRow, apiKeys } from './table'

type Bounds = Pick<CreateApiKey, 'expires_at' | 'allowed_addresses' | 'limits'>

/**
 * The bounds of a key that a key makes: it ends no later, is used from nowhere else, and is counted with the one that makes
 * it, or whoever holds a key could make one without its bounds. 422 for wider ones; what a user asks for stands as it is.
 */
export async function boundsWithin(
  ctx: Context,
  asked: Bounds,
): Promise<Bounds & { counted_as?: string | undefined }> {
  if (ctx.principal.kind !== 'api_key') return asked
  const maker = await find(ctx, apiKeys, ctx.principal.id)
  if (!maker) throw problem.notFound('API key', ctx.principal.id)
  const wider = {
    ...(endsLater(maker, asked)
      ? { expires_at: 'must not be later than that of the key which makes it' }
      : {}),
    ...(isElsewhere(maker, asked)
      ? { allowed_addresses: 'must lie within those of the key which makes it' }
      : {}),
    ...(hasOtherLimits(maker, asked) ? { limits: 'must be those of the key which makes it' } : {}),
  }
  if (Object.keys(wider).length > 0) throw problem.invalid(wider)
  return {
    expires_at: asked.expires_at ?? maker.expires_at ?? undefined,
    allowed_addresses: asked.allowed_addresses ?? maker.allowed_addresses ?? undefined,
    limits: maker.limits ?? asked.limits,
    counted_as: maker.limits ? (maker.counted_as ?? maker.id) : undefined,
  }
}

const endsLater = ({ expires_at: end }: ApiKeyRow, { expires_at }: Bounds): boolean =>
  end !== null && expires_at !== undefined && expires_at > end

function isElsewhere({ allowed_addresses: own }: ApiKeyRow, { allowed_addresses: asked }: Bounds): boolean {
  const within = own?.flatMap((text) => networkFrom(text) ?? [])
  const networks = asked?.flatMap((text) => networkFrom(text) ?? [])
  if (!within || !networks) return false
  return !networks.every((one) => within.some((network) => isPartOf(network, one)))
}

/** Limits are counted together, so they are the same. */
function hasOtherLimits({ limits: own }: ApiKeyRow, { limits: asked }: Bounds): boolean {
  const wanted = ownLimits(asked)
  if (!own || !wanted) return false
  return (['per_minute', 'per_day', 'total'] as const).some((name) => own[name] !== wanted[name])
}

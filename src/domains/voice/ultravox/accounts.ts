import type { Context } from '../../../data/context'
import { problem } from '../../../lib/problem'
import type { Provider } from '../../../lib/provider-fetch'
import { providerOf } from '../../providers/choose'
import { operatorsProvider } from '../../providers/kinds'
import type { Asking } from '../answer'
import type { CallRow } from '../calls/table'

/** What is asked outside for one call has ended by then. */
const PATIENCE_MS = 9_000

const KINDS = ['ultravox', 'telnyx'] as const
type Carrying = (typeof KINDS)[number]

export type Accounts = Record<Carrying, Asking>

/**
 * Whose accounts carry the tenant’s calls; null where one is lacking. Both are the tenant’s own, or both the operator’s: one
 * account may say what it likes of a call, and is never to decide what becomes of the other’s bill.
 */
export async function servedBy(ctx: Context): Promise<'own' | 'operator' | null> {
  const all = await Promise.all(KINDS.map((kind) => providerOf(ctx, kind)))
  const own = all.filter((account) => account?.own).length
  if (own === KINDS.length) return 'own'
  if (own === 0) return all.includes(null) ? null : 'operator'
  // Another places its calls.
  if (ctx.settings.CALL_PROVIDER !== 'ultravox') return null
  throw lacking(KINDS.find((_, i) => !all[i]?.own) ?? 'telnyx')
}

const lacking = (kind: Carrying) =>
  problem(
    'provider_not_configured',
    `Calls go through accounts of your own at both Ultravox and Telnyx, or at neither: set up ${kind} too, or remove the other`,
    { details: { kind } },
  )

/**
 * The accounts that carry a call: those by which it was placed, or would be now. What another account says of it, set up
 * since, is not asked. 409 `provider_not_configured` where one is lacking.
 */
export async function accountsOf(ctx: Context, call?: Pick<CallRow, 'own'>): Promise<Accounts> {
  const own = call?.own ?? (await servedBy(ctx)) === 'own'
  const until = Date.now() + PATIENCE_MS
  const [ultravox, telnyx] = await Promise.all(KINDS.map((kind) => accountOf(ctx, kind, own)))
  if (!ultravox || !telnyx)
    throw problem(
      'provider_not_configured',
      `There is no ${ultravox ? 'telnyx' : 'ultravox'} account ${own ? 'of your own any more' : 'of the operator’s'}`,
      {
        details: { kind: ultravox ? 'telnyx' : 'ultravox' },
      },
    )
  return { ultravox: { ctx, account: ultravox, until }, telnyx: { ctx, account: telnyx, until } }
}

async function accountOf(ctx: Context, kind: Carrying, own: boolean): Promise<Provider | null> {
  if (!own) return operatorsProvider(ctx.settings, kind)
  const account = await providerOf(ctx, kind)
  return account?.own ? account : null
}

/** Whether accounts of the tenant’s own that placed a call are not set up any more: nobody can say how it stands. */
export async function areGone(ctx: Context, { own }: Pick<CallRow, 'own'>): Promise<boolean> {
  if (own !== true) return false
  const all = await Promise.all(KINDS.map((kind) => accountOf(ctx, kind, true)))
  return all.includes(null)
}

import { commit } from '../../../data/commit'
import type { RequestContext } from '../../../data/context'
import { find } from '../../../data/revise'
import { bareTenant, contextFor } from '../../../data/system'
import { isUuid } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { refuseOtherTenant } from '../../tenancy/tenants/pinned'
import { accountOf } from '../subscription/account'
import { isSubscribed } from '../subscription/follow'
import { begun } from '../subscription/look'
import { monthLater } from '../subscription/period'
import { settled } from './settle'
import { type CheckoutRow, checkouts } from './table'

// Where nobody pays: who has the address of a checkout says that it is paid. Only where the settings say so, which
// production refuses.

const STALE = problem('conflict', 'The checkout has changed meanwhile; try again')

/** The checkout of an address, `{tenant}.{checkout}`; 404. */
export async function simulatedCheckout(request: RequestContext, at: string) {
  const [tenantId = '', id = ''] = at.split('.')
  const here = request.settings.PAYMENTS === 'simulated' && isUuid(tenantId) && isUuid(id)
  if (here) refuseOtherTenant(request, tenantId)
  const ctx = contextFor(request, bareTenant(tenantId))
  const row = here ? await find(ctx, checkouts, id) : null
  if (row?.provider !== 'simulated') throw problem.notFound('checkout', id)
  return { ctx, row }
}

/** Has a checkout be paid, once. 409 where its time is over, or the tenant has a subscription meanwhile. */
export async function paySimulated(request: RequestContext, at: string): Promise<CheckoutRow> {
  const { ctx, row } = await simulatedCheckout(request, at)
  if (row.status === 'completed') return row
  const isOver = row.status !== 'open' || Date.parse(row.expires_at) <= ctx.now
  const settling = settled(ctx, row, { status: isOver ? 'expired' : 'completed' }, STALE)
  const subscribing = isOver || row.plan === null ? null : await subscribed(ctx, row)
  if (settling)
    await commit(ctx, {
      ...subscribing,
      statements: [...settling.statements, ...(subscribing?.statements ?? [])],
      events: [...settling.events, ...(subscribing?.events ?? [])],
      audit: [settling.audit, subscribing?.audit ?? []].flat(),
      result: null,
    })
  if (isOver) throw problem('conflict', 'The checkout can’t be paid any more; make another')
  return row
}

async function subscribed(ctx: Parameters<typeof accountOf>[0], row: CheckoutRow) {
  const account = await accountOf(ctx)
  if (isSubscribed(account)) throw problem('conflict', 'The tenant has a subscription already')
  const period_start = new Date(ctx.now).toISOString()
  const standing = {
    ...{ provider: 'simulated' as const, subscription_id: `sub_simulated_${row.id}`, item_id: null },
    ...{ status: 'active', plan: row.plan, period_start, period_end: monthLater(period_start) },
    cancel_at_period_end: false,
  }
  return begun(ctx, account, standing, STALE)
}

/** Where the browser goes from there; Stripe puts its session’s id for the same words. */
export const returnOf = ({ session_id }: CheckoutRow, url: string): string =>
  new URL(url.replaceAll('{CHECKOUT_SESSION_ID}', session_id)).href

import { and, eq } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { find } from '../../../data/revise'
import { iso } from '../../../lib/ids'
import { log } from '../../../lib/log'
import { OVERTAKEN } from '../../webhooks/incoming/heard'
import { askStripe, StripeSession } from '../stripe/client'
import { sessionFollowed } from '../stripe/follow'
import { settled } from './settle'
import { type CheckoutRow, checkouts } from './table'

const HOUR_MS = 3600_000
/** A payment that takes days is settled by then, one way or the other. */
const MOST_DAYS = 30

/**
 * Asks Stripe how a checkout stands of which no event told: who paid has what they paid for, even where events never come.
 */
export async function lookAtCheckout(ctx: Context, id: string): Promise<void> {
  const row = await find(ctx, checkouts, id)
  if (!row || row.look_at === null || row.look_at > iso(ctx.now)) return
  const path = `checkout/sessions/${encodeURIComponent(row.session_id)}`
  const session = await askStripe(ctx, { path, answer: StripeSession, meant: [404] })
  const told = session ? await sessionFollowed(ctx, row, session, '') : null
  // What is not there may be so by a key that was set in error: it is looked for as long as any other.
  const look_at = nextLook(ctx.now, row)
  if (look_at === null && !told)
    log.warn('checkout_never_settled', { tenant_id: row.tenant_id, checkout_id: id, status: row.status })
  const follows = told ?? (look_at === null ? givenUp(ctx, row) : null)
  const looked = ctx.db
    .update(checkouts)
    .set({ look_at })
    .where(
      // What was settled meanwhile is looked at no more.
      and(eq(checkouts.tenant_id, ctx.tenant.id), eq(checkouts.id, id), eq(checkouts.version, row.version)),
    )
  await commit(
    ctx,
    follows ? { statements: [], ...follows, result: null } : { statements: [looked], result: null },
  )
}

/** Nobody paid, as far as can be known; an event that says otherwise after all is believed. */
const givenUp = (ctx: Context, row: CheckoutRow) =>
  settled(ctx, row, { status: row.status === 'processing' ? 'failed' : 'expired' }, OVERTAKEN)

/** Ever later: 10, 40 and 160 minutes after it was opened, …, and once it has ended; then daily, where money is on its way. */
function nextLook(now: number, { created_at, expires_at, status }: CheckoutRow): string | null {
  const age = now - Date.parse(created_at)
  if (age > MOST_DAYS * 24 * HOUR_MS) return null
  const ended = Date.parse(expires_at) + HOUR_MS
  if (status === 'processing' || now >= ended) return iso(now + 24 * HOUR_MS)
  return iso(Math.min(now + 3 * age, ended))
}

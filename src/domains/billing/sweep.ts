import { and, asc, eq, isNotNull, lt, lte, sql } from 'drizzle-orm'
import { directory } from '../../data/database'
import { onClock, onSweep } from '../../data/sweeping'
import { bareTenant, systemContext } from '../../data/system'
import type { Bindings } from '../../env'
import { iso } from '../../lib/ids'
import { describeError, log } from '../../lib/log'
import { lookAtCheckout } from './checkouts/look'
import { checkouts } from './checkouts/table'
import { GRACE_MS, invoiceMonth, monthOf, spanOf } from './invoices/monthly'
import { creditMonths } from './invoices/table'
import { endWithPeriod, lookAtSubscription } from './subscription/look'
import { billingAccounts } from './subscription/table'

// What is due by the clock, over all tenants: months to be invoiced, subscriptions whose period is over, checkouts of which
// no event told.

const MOST = 100
const AT_ONCE = 5
/** What could not be looked at lets the others go first for so long. */
const STEPS_BACK_MS = 60_000
const MOST_BEHIND = 1_000

type Due = { tenant_id: string; id: string }

const behind = new Map<string, number>()

/** Those that do not step back. */
const ready = <T extends Due>(what: string, due: readonly T[], now: number): T[] =>
  due.filter(({ tenant_id, id }) => (behind.get(`${what}:${tenant_id}:${id}`) ?? 0) <= now).slice(0, MOST)

async function each<T extends Due>(
  what: string,
  env: Bindings,
  execution: Pick<ExecutionContext, 'waitUntil'>,
  now: number,
  due: readonly T[],
  work: (ctx: ReturnType<typeof systemContext>, one: T) => Promise<unknown>,
): Promise<number> {
  const some = ready(what, due, now)
  for (let i = 0; i < some.length; i += AT_ONCE)
    await Promise.all(
      some.slice(i, i + AT_ONCE).map(async (one) => {
        const ctx = systemContext(env, bareTenant(one.tenant_id), 'billing', (work) =>
          execution.waitUntil(work),
        )
        try {
          await work({ ...ctx, now }, one)
        } catch (error) {
          if (behind.size >= MOST_BEHIND) behind.clear()
          behind.set(`${what}:${one.tenant_id}:${one.id}`, now + STEPS_BACK_MS)
          log.warn(`billing_${what}_not_done`, { ...one, cause: describeError(error) })
        }
      }),
    )
  return some.length
}

onSweep('months_not_invoiced', async (env, execution, now) => {
  const open = and(lt(creditMonths.month, monthOf(now - GRACE_MS)), sql`${creditMonths.invoiced} = 0`)
  const rows = await directory(env)
    .select({ tenant_id: creditMonths.tenant_id, id: creditMonths.month })
    .from(creditMonths)
    .where(open)
    .orderBy(asc(creditMonths.month))
    .limit(MOST * 6)
  const due = [...new Map(rows.map((row) => [`${row.tenant_id} ${row.id}`, row])).values()]
  return each('months', env, execution, now, due, (ctx, { id }) => invoiceMonth(ctx, id))
})

onSweep('subscriptions_not_looked_at', async (env, execution, now) => {
  const due = await directory(env)
    .select({ tenant_id: billingAccounts.tenant_id, id: sql<string>`'account'` })
    .from(billingAccounts)
    .where(lte(billingAccounts.renews_at, iso(now)))
    .orderBy(asc(billingAccounts.renews_at))
    .limit(MOST * 2)
  return each('subscriptions', env, execution, now, due, (ctx) => lookAtSubscription(ctx))
})

onSweep('subscriptions_of_cancelled_tenants', async (env, execution, now) => {
  const due = await directory(env).all<Due>(sql`
    select a.tenant_id, 'cancelled' as id from deletions as d cross join billing_accounts as a on a.tenant_id = d.id
    where d.finished_at is null and a.renews_at is not null and a.cancel_at_period_end = 0 limit ${MOST}`)
  return each('cancellations', env, execution, now, due, (ctx) => endWithPeriod(ctx))
})

onSweep('checkouts_not_looked_at', async (env, execution, now) => {
  const due = await directory(env)
    .select({ tenant_id: checkouts.tenant_id, id: checkouts.id })
    .from(checkouts)
    .where(lte(checkouts.look_at, iso(now)))
    .orderBy(asc(checkouts.look_at))
    .limit(MOST * 2)
  return each('checkouts', env, execution, now, due, (ctx, { id }) => lookAtCheckout(ctx, id))
})

/** What could not be done when it was due is due again when it steps back no more. */
const clock = (at: number): number => (at > Date.now() ? at : Date.now() + STEPS_BACK_MS)

onClock(async (env) => {
  const first = await directory(env)
    .select({ month: creditMonths.month })
    .from(creditMonths)
    .where(eq(creditMonths.invoiced, sql`0`))
    .orderBy(asc(creditMonths.month))
    .limit(1)
    .get()
  return first ? clock(Date.parse(spanOf(first.month).end) + GRACE_MS) : null
})

onClock(async (env) => {
  const first = await directory(env)
    .select({ at: billingAccounts.renews_at })
    .from(billingAccounts)
    .where(isNotNull(billingAccounts.renews_at))
    .orderBy(asc(billingAccounts.renews_at))
    .limit(1)
    .get()
  return first?.at ? clock(Date.parse(first.at)) : null
})

onClock(async (env) => {
  const first = await directory(env)
    .select({ at: checkouts.look_at })
    .from(checkouts)
    .where(isNotNull(checkouts.look_at))
    .orderBy(asc(checkouts.look_at))
    .limit(1)
    .get()
  return first?.at ? clock(Date.parse(first.at)) : null
})

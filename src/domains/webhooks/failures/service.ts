import { and, eq, gte, lt } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { deliveryFailures } from './table'

const MINUTE_MS = 60_000
/** Nobody asks for what failed more than a day ago. */
const KEPT_MS = 2 * 24 * 3600_000

/** Whole minutes, in milliseconds since 1970: from `from` on and before `to`. */
type Minutes = { from: number; to: number }

/** How many attempts failed in each of these times, as they were written down. */
export async function failedAttempts(ctx: Context, spans: readonly Minutes[]): Promise<number[]> {
  const first = Math.min(...spans.map(({ from }) => from)) / MINUTE_MS
  const rows = await ctx.db
    .select({ minute: deliveryFailures.minute, failed: deliveryFailures.failed })
    .from(deliveryFailures)
    .where(and(eq(deliveryFailures.tenant_id, ctx.tenant.id), gte(deliveryFailures.minute, first)))
  return spans.map(({ from, to }) =>
    rows
      .filter(({ minute }) => minute >= from / MINUTE_MS && minute < to / MINUTE_MS)
      .reduce((sum, { failed }) => sum + failed, 0),
  )
}

/** Drops what is too old to be asked for. */
export async function dropOldFailures(ctx: Context): Promise<void> {
  const before = Math.floor((ctx.now - KEPT_MS) / MINUTE_MS)
  const old = and(eq(deliveryFailures.tenant_id, ctx.tenant.id), lt(deliveryFailures.minute, before))
  await commit(ctx, { statements: [ctx.db.delete(deliveryFailures).where(old)], result: undefined })
}

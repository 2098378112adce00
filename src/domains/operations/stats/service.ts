import type { RequestContext } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { usageOfAll } from '../../metering/usage/everyone'
import { countAll } from '../../tenancy/platform/counts'
import { backlogOf, totalsOf } from '../metrics/service'
import type { PlatformStats } from './schema'

const DAY_MS = 24 * 3600_000
const DAYS = 7

/** What there is on the platform, what it did in a week, and what waits. */
export async function platformStats(
  caller: Pick<RequestContext, 'env' | 'now' | 'requestId'>,
): Promise<PlatformStats> {
  const { env, now } = caller
  const from = Math.floor(now / DAY_MS - DAYS + 1) * DAY_MS
  const [counts, usage, waiting, open_streams] = await Promise.all([
    countAll(env),
    usageOfAll(env, from),
    backlogOf(caller),
    // The rest is worth reading all the same.
    totalsOf(env).then(
      (totals) => totals.open_streams,
      () => null,
    ),
  ])
  return {
    ...counts,
    usage: { from: iso(from), ...usage },
    open_streams,
    outbox_entries: waiting.outbox_entries ?? null,
    outbox_oldest_seconds: waiting.outbox_oldest_seconds ?? null,
    deliveries_due: waiting.deliveries_due ?? null,
    deliveries_overdue_seconds: waiting.deliveries_overdue_seconds ?? null,
  }
}

import { asc, sql } from 'drizzle-orm'
import { directory } from '../../../data/database'
import { allSweeps } from '../../../data/sweeping'
import { tellAgain } from '../../../data/tell'
import type { Bindings } from '../../../env'
import { firstIdAt, iso } from '../../../lib/ids'
import { describeError, log } from '../../../lib/log'
import { sealDue } from '../../audit/seal'
import { events } from '../../events/table'
import { wakeOverdueJobs } from '../../jobs/overdue'
import { sendDue } from '../../mail/service'
import { firstPending } from './first-pending'
import { dispatch } from './queue'
import { wakeEndpoint } from './wake'

/** What is younger than this is on its ordinary way. */
const GRACE_MS = 2_000
/** Events that one sweep dispatches; the next takes the next. */
const MOST_EVENTS = 500
/** No sweep waits longer than this for a part of it, which goes on; the next is due by then. */
const PATIENCE_MS = 10_000
/** So long rows of the audit log wait for others to be sealed with. */
const SEAL_AFTER_MS = 20_000

/**
 * Looks at what a crash may have left, over all tenants: events whose deliveries were not made, endpoints with
 * deliveries that are overdue, changes that not everybody was told, and mail; and at what waits to be sealed. Sees to all
 * of them; answers with how many things were not done yet when it looked.
 */
export async function sweep(
  env: Bindings,
  ctx: Pick<ExecutionContext, 'waitUntil'>,
  now = Date.now(),
): Promise<number> {
  // Beside the others: a Meter that hangs must not hold deliveries up.
  const beside = [
    inTime('changes_not_told', tellAgain(env, now)),
    inTime('mails_not_sent', sendDue(env, ctx, now)),
    inTime('audit_not_sealed', sealDue(env, ctx, now - SEAL_AFTER_MS)),
    inTime('jobs_not_woken', wakeOverdueJobs(env, now)),
    ...[...allSweeps()].map(([name, look]) => inTime(name, look(env, ctx, now))),
  ]
  const [undispatched, overdue] = await Promise.all([
    directory(env)
      .select({ tenant_id: events.tenant_id, event_id: events.id })
      .from(events)
      .where(sql`${events.dispatched} = 0`)
      .orderBy(asc(events.seq))
      .limit(MOST_EVENTS),
    directory(env).all<{ tenant_id: string; endpoint_id: string }>(overdueEndpoints(now)),
  ])
  const youngest = `msg_${firstIdAt(now - GRACE_MS)}`
  const late = undispatched.flatMap(({ tenant_id, event_id }) =>
    event_id < youngest ? [{ tenant_id, event_ids: [event_id] }] : [],
  )
  const dispatching = dispatch(env, late, ctx).then(() => undispatched.length)
  const waking = Promise.all(overdue.map((endpoint) => wakeEndpoint(env, endpoint)))
  const undone = await Promise.all([
    inTime('events_not_dispatched', dispatching),
    inTime(
      'endpoints_not_woken',
      waking.then(() => overdue.length),
    ),
    ...beside,
  ])
  return undone.reduce((sum, count) => sum + count, 0)
}

/** How many things were not done yet; one where that failed, or goes on for longer than the next sweep waits. */
async function inTime(name: string, work: Promise<number>): Promise<number> {
  const { promise: late, resolve } = Promise.withResolvers<number>()
  const timer = setTimeout(() => resolve(1), PATIENCE_MS)
  const done = work.catch((error: unknown) => {
    log.error(name, { cause: describeError(error) })
    return 1
  })
  return Promise.race([done, late]).finally(() => clearTimeout(timer))
}

/** Endpoints of active tenants whose longest-due delivery, or whose probe, is overdue. */
function overdueEndpoints(now: number) {
  const before = iso(now - GRACE_MS)
  return sql`
    with recursive ${firstPending}
    select d.tenant_id as tenant_id, d.endpoint_id as endpoint_id
    from first_pending as d
    join endpoints as w on w.tenant_id = d.tenant_id and w.id = d.endpoint_id
    join tenants as t on t.id = d.tenant_id and t.status = 'active'
    where d.next_attempt_at < ${before} and w.status = 'active'
      and (w.not_before is null or w.not_before < ${before})
    union all
    -- Degraded ones whose probe is overdue, and that have something to probe with.
    select w.tenant_id, w.id from endpoints as w
    join tenants as t on t.id = w.tenant_id and t.status = 'active'
    where w.status = 'degraded' and (w.not_before is null or w.not_before < ${before})
      and exists (select 1 from deliveries as h
        where h.tenant_id = w.tenant_id and h.endpoint_id = w.id and h.status = 'held')`
}

import { asc, sql } from 'drizzle-orm'
import { directory } from '../../../data/database'
import { tellAgain } from '../../../data/tell'
import type { Bindings } from '../../../env'
import { firstIdAt, iso } from '../../../lib/ids'
import { describeError, log } from '../../../lib/log'
import { sealDue } from '../../audit/seal'
import { events } from '../../events/table'
import { sendDue } from '../../mail/service'
import { firstPending } from './first-pending'
import { dispatch } from './queue'
import { wakeEndpoint } from './wake'

/** What is younger than this is on its ordinary way. */
const GRACE_MS = 2_000
/** Events that one sweep dispatches; the next takes the next. */
const MOST_EVENTS = 500
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
  const telling = tellAgain(env, now).catch((error: unknown) => {
    log.error('changes_not_told', { cause: describeError(error) })
    return 1
  })
  const mailing = sendDue(env, ctx, now).catch((error: unknown) => {
    log.error('mails_not_sent', { cause: describeError(error) })
    return 1
  })
  const sealing = sealDue(env, ctx, now - SEAL_AFTER_MS).catch((error: unknown) => {
    log.error('audit_not_sealed', { cause: describeError(error) })
    return 1
  })
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
  await dispatch(
    env,
    undispatched.filter((event) => event.event_id < youngest),
    ctx,
  )
  await Promise.all(overdue.map((endpoint) => wakeEndpoint(env, endpoint)))
  return undispatched.length + overdue.length + (await telling) + (await mailing) + (await sealing)
}

/** Active endpoints of active tenants whose longest-due delivery is overdue. */
function overdueEndpoints(now: number) {
  const before = iso(now - GRACE_MS)
  return sql`
    with recursive ${firstPending}
    select d.tenant_id as tenant_id, d.endpoint_id as endpoint_id
    from hop
    join deliveries as d on d.rowid = hop.at
    join endpoints as w on w.tenant_id = d.tenant_id and w.id = d.endpoint_id
    join tenants as t on t.id = d.tenant_id and t.status = 'active'
    where d.next_attempt_at < ${before} and w.status = 'active'
      and (w.not_before is null or w.not_before < ${before})`
}

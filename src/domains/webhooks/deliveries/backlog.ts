import { sql } from 'drizzle-orm'
import { directory } from '../../../data/database'
import type { Bindings } from '../../../env'
import { iso } from '../../../lib/ids'
import { firstPending } from './first-pending'

/** Whoever looks every few seconds pays for each row, and a number beyond this says no more. */
export const MOST_COUNTED = 10_000

/** What waits over all tenants: how much of it, counted up to MOST_COUNTED, and for how many seconds the first does. */
export type Backlog = {
  outbox_entries: number
  outbox_oldest_seconds: number
  deliveries_due: number
  deliveries_overdue_seconds: number
}

/** Reads how far the service is behind: events without their deliveries, and deliveries whose time has come. */
export async function backlog(env: Bindings, now: number): Promise<Backlog> {
  const [outbox, due] = await Promise.all([
    directory(env).get<{ entries: number; oldest: string | null }>(OUTBOX),
    directory(env).get<{ entries: number; oldest: string | null }>(dueAt(iso(now))),
  ])
  const since = (ms: number) => Math.max(0, now - ms) / 1_000
  return {
    outbox_entries: outbox.entries,
    outbox_oldest_seconds: outbox.oldest === null ? 0 : since(timeOf(outbox.oldest)),
    deliveries_due: due.entries,
    deliveries_overdue_seconds: due.oldest === null ? 0 : since(Date.parse(due.oldest)),
  }
}

/** When an event was made, by its id (`msg_` and a UUIDv7); its timestamp may be the caller's own. */
const timeOf = (eventId: string) => Number.parseInt(eventId.slice(4, 17).replace('-', ''), 16)

const OUTBOX = sql`
  select
    (select count(*) from (select 1 from events where dispatched = 0 limit ${MOST_COUNTED})) as entries,
    (select id from events where dispatched = 0 order by seq limit 1) as oldest`

/** Of active tenants' endpoints that are active and do not wait: from each one's first delivery on, by the index. */
const dueAt = (now: string) => sql`
  with recursive ${firstPending},
  first as materialized (
    select d.tenant_id, d.endpoint_id, d.next_attempt_at
    from first_pending as d
    join endpoints as w on w.tenant_id = d.tenant_id and w.id = d.endpoint_id
    join tenants as t on t.id = d.tenant_id and t.status = 'active'
    where d.next_attempt_at <= ${now} and w.status = 'active'
      and (w.not_before is null or w.not_before <= ${now}))
  select
    (select count(*) from (
      select 1 from first as f join deliveries as m
        on m.tenant_id = f.tenant_id and m.endpoint_id = f.endpoint_id
          and m.status = 'pending' and m.next_attempt_at <= ${now}
      limit ${MOST_COUNTED})) as entries,
    (select min(next_attempt_at) from first) as oldest`

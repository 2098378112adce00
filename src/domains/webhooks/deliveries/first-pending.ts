import { sql } from 'drizzle-orm'

/**
 * A recursive table `hop(at)`: the row of the longest-due pending delivery of each endpoint. It hops through the index
 * from endpoint to endpoint, so a backlog of a hundred thousand at one endpoint costs no more than one delivery.
 */
export const firstPending = sql`
    hop(at) as (
      select (
        select rowid from deliveries where status = 'pending'
        order by tenant_id, endpoint_id, next_attempt_at limit 1)
      union all
      select coalesce(
        (select n.rowid from deliveries as n
        where n.status = 'pending' and n.tenant_id = d.tenant_id and n.endpoint_id > d.endpoint_id
        order by n.endpoint_id, n.next_attempt_at limit 1),
        (select n.rowid from deliveries as n
        where n.status = 'pending' and n.tenant_id > d.tenant_id
        order by n.tenant_id, n.endpoint_id, n.next_attempt_at limit 1))
      from hop join deliveries as d on d.rowid = hop.at
    )`

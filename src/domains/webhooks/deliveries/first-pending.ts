import { sql } from 'drizzle-orm'

/**
 * A table `first_pending(tenant_id, endpoint_id, next_attempt_at)`, after `with recursive`: the longest-due pending delivery
 * of each endpoint. It hops through the index from endpoint to endpoint, so a backlog of a hundred thousand at one endpoint
 * costs no more than one delivery.
 */
export const firstPending = sql`
    hop(at) as (
      select (
        select json_array(tenant_id, endpoint_id, next_attempt_at) from deliveries where status = 'pending'
        order by tenant_id, endpoint_id, next_attempt_at limit 1)
      union all
      select coalesce(
        (select json_array(n.tenant_id, n.endpoint_id, n.next_attempt_at) from deliveries as n
        where n.status = 'pending' and n.tenant_id = hop.at ->> 0 and n.endpoint_id > hop.at ->> 1
        order by n.endpoint_id, n.next_attempt_at limit 1),
        (select json_array(n.tenant_id, n.endpoint_id, n.next_attempt_at) from deliveries as n
        where n.status = 'pending' and n.tenant_id > hop.at ->> 0
        order by n.tenant_id, n.endpoint_id, n.next_attempt_at limit 1))
      from hop where hop.at is not null
    ),
    first_pending(tenant_id, endpoint_id, next_attempt_at) as (
      select at ->> 0, at ->> 1, at ->> 2 from hop where at is not null
    )`

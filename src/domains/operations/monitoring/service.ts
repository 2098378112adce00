import type { Context } from '../../../data/context'
import { readWaiting } from '../../../data/waiting'
import { iso } from '../../../lib/ids'
import { jobsNow } from '../../jobs/now'
import { deliveriesNow, eventsWaiting, incomingLately } from '../../webhooks/now/service'
import { requestsLately } from './requests'
import type { Health } from './schema'

const WINDOW_MINUTES = 5
/** Fewer requests say nothing about a rate. */
const ENOUGH_REQUESTS = 20
const MINUTE_S = 60
/** So far is counted: a row is read for each, and what is asked costs the same however much waits. */
const AT_A_GLANCE = 100

const worst = (...all: Health[]): Health =>
  all.includes('failing') ? 'failing' : all.includes('degraded') ? 'degraded' : 'healthy'

const graded = (value: number, degraded: number, failing: number): Health =>
  value >= failing ? 'failing' : value >= degraded ? 'degraded' : 'healthy'

/** How the tenant's own traffic, deliveries and jobs fare at this moment. */
export async function tenantStatus(ctx: Context) {
  const [requests, deliveries, jobs] = await Promise.all([
    requestsLately(ctx, WINDOW_MINUTES),
    deliveriesNow(ctx, AT_A_GLANCE),
    jobsNow(ctx, AT_A_GLANCE),
  ])
  const isEnough = requests.requests >= ENOUGH_REQUESTS
  const ofRequests = isEnough ? graded(requests.server_errors / requests.requests, 0.01, 0.1) : 'healthy'
  const { pending, held, endpoints, overdue_ms } = deliveries
  const overdue_seconds = overdue_ms / 1_000
  const isAway = endpoints.degraded + endpoints.disabled > 0
  const ofDeliveries = worst(
    graded(overdue_seconds, MINUTE_S, 10 * MINUTE_S),
    isAway ? 'degraded' : 'healthy',
  )
  const ofJobs: Health = jobs.failed > 0 ? 'degraded' : 'healthy'
  return {
    status: worst(ofRequests, ofDeliveries, ofJobs),
    as_of: iso(ctx.now),
    requests: { status: ofRequests, ...requests },
    deliveries: { status: ofDeliveries, pending, held, overdue_seconds, endpoints },
    jobs: { status: ofJobs, queued: jobs.queued, running: jobs.running, failed_last_day: jobs.failed },
    interactions: { service_enabled: ctx.tenant.settings.service_enabled !== false },
  }
}

/** What of the tenant's waits, and for how long. */
export async function queuesNow(ctx: Context) {
  const age = (since: number | null) => (since === null ? null : Math.max(0, ctx.now - since) / 1_000)
  const [events, deliveries, jobs, incoming, others] = await Promise.all([
    eventsWaiting(ctx),
    deliveriesNow(ctx, AT_A_GLANCE),
    jobsNow(ctx, AT_A_GLANCE),
    incomingLately(ctx, AT_A_GLANCE),
    readWaiting(ctx),
  ])
  const { pending, held, overdue_ms, queues } = deliveries
  return {
    as_of: iso(ctx.now),
    events: { waiting: events.waiting, oldest_seconds: age(events.since) },
    deliveries: { pending, held, overdue_seconds: overdue_ms / 1_000, endpoints: queues },
    jobs: {
      ...{ queued: jobs.queued, running: jobs.running },
      oldest_queued_seconds: age(jobs.queued_since === null ? null : Date.parse(jobs.queued_since)),
    },
    incoming: { received_last_hour: incoming.received, refused_last_hour: incoming.refused },
    others: others.map(({ name, waiting, since, stuck }) => ({
      ...{ name, waiting, stuck },
      oldest_seconds: age(since === null ? null : Date.parse(since)),
    })),
  }
}

import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { doc, query, returns } from '../../../http/route'
import { allow } from '../../tenancy/authorize'
import { errorsLately, latencyLately } from './requests'
import { ErrorReport, LatencyReport, QueueReport, TenantStatus, windowQuery } from './schema'
import { queuesNow, tenantStatus } from './service'

const about = (summary: string, description: string) =>
  doc(summary, { tag: 'Monitoring', description, errors: ['service_unavailable'] })

/** How the tenant's own traffic, deliveries and queues look now. */
export const monitoringRoutes = new Hono<AppEnv>()
  .get(
    '/status',
    about(
      'How the tenant fares at this moment',
      'Requests of five minutes, deliveries and jobs, each with how it is.',
    ),
    allow('monitoring:admin'),
    returns(200, TenantStatus),
    async (c) => c.var.reply(await tenantStatus(c.var.ctx)),
  )
  .get(
    '/errors',
    about(
      'Which requests failed lately',
      'Refusals (400 to 499) and failures (500 and more) of the tenant’s own.',
    ),
    allow('monitoring:admin'),
    query(windowQuery),
    returns(200, ErrorReport),
    async (c) => c.var.reply(await errorsLately(c.var.ctx, c.req.valid('query').minutes)),
  )
  .get(
    '/latency',
    about(
      'How long requests took lately',
      'From a request to its answer; to its first byte where it streams.',
    ),
    allow('monitoring:admin'),
    query(windowQuery),
    returns(200, LatencyReport),
    async (c) => c.var.reply(await latencyLately(c.var.ctx, c.req.valid('query').minutes)),
  )
  .get(
    '/queues',
    about('What waits, and for how long', 'Events, deliveries by endpoint, jobs, and what others sent.'),
    allow('monitoring:admin'),
    returns(200, QueueReport),
    async (c) => c.var.reply(await queuesNow(c.var.ctx)),
  )

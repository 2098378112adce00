import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, Id, params, returns } from '../../../http/route'
import { Job } from '../../jobs/schema'
import { allow } from '../../tenancy/authorize'
import { Recover } from './schema'
import { recoverEndpoint } from './service'

/** Mounted under the endpoints. */
export const recoveryRoutes = new Hono<AppEnv>().post(
  '/:id/recover',
  doc('Send an endpoint again what did not reach it', {
    tag: 'webhooks',
    description:
      'A job, which counts first and then sends, oldest first, no faster than the endpoint takes it; `result` has what was ' +
      'counted and how many were sent again. With `dry_run` it only counts.',
  }),
  allow('deliveries:write'),
  params({ id: Id }),
  body(Recover, { example: { since: '2026-01-31T10:00:00.000Z', status: ['failed', 'exhausted'] } }),
  returns(202, Job),
  async (c) => c.var.reply(await recoverEndpoint(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
)

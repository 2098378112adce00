import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { doc, returns } from '../../../http/route'
import { authenticated } from '../../tenancy/authorize'
import { LimitsNow } from './schema'
import { limitsNow } from './service'

/** How the limits stand, also for a tenant that is over them. */
export const limitRoutes = new Hono<AppEnv>().get(
  '/',
  doc('See how the limits stand', {
    tag: 'Usage',
    description:
      'Every window of the tenant, and those of the API key that asks. What other parts of the service hold in advance counts as used for some seconds.',
    errors: ['service_unavailable'],
  }),
  authenticated(),
  returns(200, LimitsNow),
  async (c) => c.var.reply(await limitsNow(c.var.ctx)),
)

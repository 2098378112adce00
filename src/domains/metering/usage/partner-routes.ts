import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { doc, query, returnsPage } from '../../../http/route'
import { paging } from '../../../lib/wire'
import { authenticated } from '../../tenancy/authorize'
import { partnerUsage } from './partner'
import { TenantUsage, usageQuery } from './schema'

/** What a partner's tenants used; mounted beside the rest of the partner portal. */
export const partnerUsageRoutes = new Hono<AppEnv>().get(
  '/',
  doc('Read what the tenants that one may act in used', {
    tag: 'Partners',
    description: 'By whole days in UTC; those that the last 24 hours touch where nothing is said.',
    errors: ['partner_required', 'service_unavailable'],
  }),
  authenticated(),
  query({ ...paging, from: usageQuery.from, to: usageQuery.to }),
  returnsPage(TenantUsage),
  async (c) => c.var.reply(await partnerUsage(c.var.ctx, c.req.valid('query'))),
)

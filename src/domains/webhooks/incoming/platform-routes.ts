import { Hono } from 'hono'
import { bareTenant } from '../../../data/system'
import type { AppEnv } from '../../../http/app-env'
import { doc, paging, params, query, returnsPage } from '../../../http/route'
import { allow } from '../../tenancy/authorize'
import { NOBODY } from './receive'
import { listReceived } from './received'
import { listRefusals } from './refusals'
import { ProviderName, Received, Refused } from './schema'
import { contextOf } from './take'

const tag = 'platform'

/** What the operator's providers sent that is no tenant's business. */
export const providerRoutes = new Hono<AppEnv>()
  .get(
    '/:provider/errors',
    doc('List what a provider was refused, newest first', {
      tag,
      description: 'The last 200, for 30 days.',
    }),
    allow('platform:*'),
    params({ provider: ProviderName }),
    query({ ...paging }),
    returnsPage(Refused),
    async (c) => {
      const { provider } = c.req.valid('param')
      return c.var.reply(
        await listRefusals(contextOf(c.var.request, bareTenant(NOBODY)), provider, c.req.valid('query')),
      )
    },
  )
  .get(
    '/:provider/unclaimed',
    doc('List a provider’s webhooks about what no tenant asked for, newest first', { tag }),
    allow('platform:*'),
    params({ provider: ProviderName }),
    query({ ...paging }),
    returnsPage(Received),
    async (c) => {
      const { provider: source } = c.req.valid('param')
      const nobody = contextOf(c.var.request, bareTenant(NOBODY))
      return c.var.reply(await listReceived(nobody, { ...c.req.valid('query'), source }))
    },
  )

import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { doc, Id, params, query, returns } from '../../../http/route'
import { allow } from '../../tenancy/authorize'
import { PollEvents, Polled } from './schema'
import { poll } from './service'

/** Mounted under the endpoints. */
export const pollingRoutes = new Hono<AppEnv>().get(
  '/:id/poll',
  doc('Fetch an endpoint’s events, for receivers that can’t be reached', {
    tag: 'webhooks',
    description:
      'In the order of their commit, chosen as for its deliveries, whatever its status. An answer may be short or empty and ' +
      'go on all the same: poll again at once until it is `done`. Nothing is kept of who fetched what: keep the `cursor`.',
  }),
  allow('events:read'),
  params({ id: Id }),
  query(PollEvents),
  returns(200, Polled),
  async (c) => c.var.reply(await poll(c.var.ctx, c.req.valid('param').id, c.req.valid('query'))),
)

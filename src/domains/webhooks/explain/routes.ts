import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { doc, params, query, returnsPage } from '../../../http/route'
import { EventId } from '../../events/schema'
import { allow } from '../../tenancy/authorize'
import { Explanation, ListExplanations } from './schema'
import { explainEvent } from './service'

/** Mounted under the events. */
export const explainRoutes = new Hono<AppEnv>().get(
  '/:id/explain',
  doc('Explain where an event went, and why not elsewhere', {
    tag: 'events',
    description:
      'Each endpoint of its application, newest first: how the delivery stands, or what said no. An endpoint’s own ' +
      'conditions are those that it has now.',
  }),
  allow('events:read'),
  params({ id: EventId }),
  query(ListExplanations),
  returnsPage(Explanation),
  async (c) => c.var.reply(await explainEvent(c.var.ctx, c.req.valid('param').id, c.req.valid('query'))),
)

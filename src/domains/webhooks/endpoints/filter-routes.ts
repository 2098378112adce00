import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, Id, params, returns } from '../../../http/route'
import { allow } from '../../tenancy/authorize'
import { FilterTested, TestFilter, TestFilterOf } from './filter-schema'
import { testFilter, testFilterOf } from './filter-test'

const tag = 'webhooks'
const filter = { path: 'order.total', compare: { gte: 100 } }

/** Filters tried on what happened; mounted under the endpoints. */
export const filterTests = new Hono<AppEnv>()
  .post(
    '/filter/test',
    doc('Try a filter on the last events', {
      tag,
      description: 'Nothing is sent, and nothing changes.',
    }),
    allow('webhooks:read', 'events:read'),
    body(TestFilter, { example: { filter, type: 'order.shipped' } }),
    returns(200, FilterTested),
    async (c) => c.var.reply(await testFilter(c.var.ctx, c.req.valid('json'))),
  )
  .post(
    '/:id/filter/test',
    doc('Try which of the last events an endpoint takes', {
      tag,
      description:
        'By its event types, its channels, and its own filter or the one that is sent. Nothing is sent, and nothing changes.',
    }),
    allow('webhooks:read', 'events:read'),
    params({ id: Id }),
    body(TestFilterOf, { example: { filter }, optional: true }),
    returns(200, FilterTested),
    async (c) => c.var.reply(await testFilterOf(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )

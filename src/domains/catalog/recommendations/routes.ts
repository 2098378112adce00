import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, returns } from '../../../http/route'
import { allow } from '../../tenancy/authorize'
import { Recommend, Recommendations, RecommendSimilar } from './schema'
import { recommendations, similarItems } from './service'
import './sweep'

const tag = 'Recommendations'

export const recommendationRoutes = new Hono<AppEnv>()
  .post(
    '/',
    doc('Recommend items to a user', {
      tag,
      // An engine of the operator’s may be asked.
      idempotency: 'claimed',
      description:
        'What the user bought or rated is not recommended. Somebody nobody knows is recommended what is popular.',
    }),
    allow('recommendations:read'),
    body(Recommend, { example: { user_id: 'user-17', count: 5, filters: { category: 'shoes' } } }),
    returns(200, Recommendations),
    async (c) => c.var.reply(await recommendations(c.var.ctx, c.req.valid('json'))),
  )
  .post(
    '/similar',
    doc('Recommend items that go with an item', { tag, idempotency: 'claimed', errors: ['not_found'] }),
    allow('recommendations:read'),
    body(RecommendSimilar, { example: { item_id: 'sku-1042', count: 5 } }),
    returns(200, Recommendations),
    async (c) => c.var.reply(await similarItems(c.var.ctx, c.req.valid('json'))),
  )

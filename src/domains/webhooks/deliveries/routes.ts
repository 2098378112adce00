import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { doc, Id, params, query, returns, returnsPage } from '../../../http/route'
import { allow } from '../../tenancy/authorize'
import { cancelDelivery } from './cancel'
import { listDeliveries } from './list'
import { Delivery, DeliveryDetail, ListDeliveries } from './schema'
import { getDelivery, retryDelivery } from './service'

const tag = 'deliveries'

export const deliveries = new Hono<AppEnv>()
  .get(
    '/',
    doc('List deliveries, newest first', { tag, description: '`status=exhausted` lists the dead letters.' }),
    allow('deliveries:read'),
    query(ListDeliveries),
    returnsPage(Delivery),
    async (c) => c.var.reply(await listDeliveries(c.var.ctx, c.req.valid('query'))),
  )
  .get(
    '/:id',
    doc('Read a delivery with all its attempts', { tag }),
    allow('deliveries:read'),
    params({ id: Id }),
    returns(200, DeliveryDetail),
    async (c) => c.var.reply(await getDelivery(c.var.ctx, c.req.valid('param').id)),
  )
  .post(
    '/:id/retry',
    doc('Attempt a delivery now, a finished one too', { tag, errors: ['delivery_not_retryable'] }),
    allow('deliveries:write'),
    params({ id: Id }),
    returns(202, Delivery),
    async (c) => c.var.reply(await retryDelivery(c.var.ctx, c.req.valid('param').id)),
  )
  .post(
    '/:id/cancel',
    doc('Cancel a delivery that is pending or held', {
      tag,
      description:
        'At an ordered endpoint the next of its subject goes out: so one that keeps failing is skipped.',
      errors: ['conflict'],
    }),
    allow('deliveries:write'),
    params({ id: Id }),
    returns(200, Delivery),
    async (c) => c.var.reply(await cancelDelivery(c.var.ctx, c.req.valid('param').id)),
  )

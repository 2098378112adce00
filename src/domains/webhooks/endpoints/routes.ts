import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, Id, params, query, returns, returnsNothing, returnsPage } from '../../../http/route'
import { allow } from '../../tenancy/authorize'
import { listDeliveries } from '../deliveries/list'
import { Delivery, ListEndpointDeliveries } from '../deliveries/schema'
import { endpointsByUid } from './by-uid-routes'
import { filterTests } from './filter-routes'
import {
  CreatedEndpoint,
  CreateEndpoint,
  Endpoint,
  ListEndpoints,
  TestEndpoint,
  TestResult,
  UpdateEndpoint,
} from './schema'
import { endpointSecrets } from './secret-routes'
import {
  createEndpoint,
  deleteEndpoint,
  enableEndpoint,
  existing,
  getEndpoint,
  listEndpoints,
  pauseEndpoint,
  updateEndpoint,
} from './service'
import { statsOf } from './stats'
import { EndpointStats, StatsOf } from './stats-schema'
import { testEndpoint } from './test-delivery'

const tag = 'webhooks'

export const webhooks = new Hono<AppEnv>()
  .route('/by-uid', endpointsByUid)
  .route('/', endpointSecrets)
  .route('/', filterTests)
  .post(
    '/',
    doc('Create an endpoint', {
      tag,
      description: 'The answer holds the signing secret. It takes events from now on.',
      errors: ['already_exists'],
      secret: true,
    }),
    allow('webhooks:write'),
    body(CreateEndpoint, {
      example: { url: 'https://example.com/webhooks', event_types: ['interaction.created'] },
    }),
    returns(201, CreatedEndpoint),
    async (c) => c.var.reply(await createEndpoint(c.var.ctx, c.req.valid('json'))),
  )
  .get(
    '/',
    doc('List endpoints, newest first', { tag }),
    allow('webhooks:read'),
    query(ListEndpoints),
    returnsPage(Endpoint),
    async (c) => c.var.reply(await listEndpoints(c.var.ctx, c.req.valid('query'))),
  )
  .get(
    '/:id',
    doc('Read an endpoint', { tag }),
    allow('webhooks:read'),
    params({ id: Id }),
    returns(200, Endpoint),
    async (c) => c.var.reply(await getEndpoint(c.var.ctx, c.req.valid('param').id)),
  )
  .patch(
    '/:id',
    doc('Change an endpoint', {
      tag,
      description:
        'What is under way for it goes to the new URL. A header sent as ******** stays as it is; with a url on another host it must be sent again.',
      errors: ['already_exists'],
      secret: ['url', 'headers'],
    }),
    allow('webhooks:write'),
    params({ id: Id }),
    body(UpdateEndpoint, { example: { event_types: ['interaction.created', 'chat.*'] } }),
    returns(200, Endpoint),
    async (c) => c.var.reply(await updateEndpoint(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )
  .delete(
    '/:id',
    doc('Delete an endpoint', { tag, description: 'What is under way for it is cancelled.' }),
    allow('webhooks:write'),
    params({ id: Id }),
    returnsNothing(),
    async (c) => {
      await deleteEndpoint(c.var.ctx, c.req.valid('param').id)
      return c.var.reply(undefined)
    },
  )
  .post(
    '/:id/test',
    doc('Send a sample event now and see the answer', { tag, idempotency: 'claimed' }),
    allow('webhooks:write'),
    params({ id: Id }),
    body(TestEndpoint, { example: { type: 'interaction.created' } }),
    returns(200, TestResult),
    async (c) => c.var.reply(await testEndpoint(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )
  .post(
    '/:id/enable',
    doc('Enable an endpoint', { tag, description: 'What was held for it is sent.' }),
    allow('webhooks:write'),
    params({ id: Id }),
    returns(200, Endpoint),
    async (c) => c.var.reply(await enableEndpoint(c.var.ctx, c.req.valid('param').id)),
  )
  .post(
    '/:id/pause',
    doc('Pause an endpoint', { tag, description: 'Its events are held until it is enabled.' }),
    allow('webhooks:write'),
    params({ id: Id }),
    returns(200, Endpoint),
    async (c) => c.var.reply(await pauseEndpoint(c.var.ctx, c.req.valid('param').id)),
  )
  .get(
    '/:id/stats',
    doc('Read what an endpoint’s attempts came to', {
      tag,
      description: 'Counts, how long answers took, how many attempts succeeded, and what waits now.',
    }),
    allow('webhooks:read'),
    params({ id: Id }),
    query(StatsOf),
    returns(200, EndpointStats),
    async (c) => c.var.reply(await statsOf(c.var.ctx, c.req.valid('param').id, c.req.valid('query'))),
  )
  .get(
    '/:id/deliveries',
    doc('List an endpoint’s deliveries, newest first', { tag }),
    allow('deliveries:read'),
    params({ id: Id }),
    query(ListEndpointDeliveries),
    returnsPage(Delivery),
    async (c) => {
      const { id: endpoint_id } = await existing(c.var.ctx, c.req.valid('param').id)
      return c.var.reply(await listDeliveries(c.var.ctx, { ...c.req.valid('query'), endpoint_id }))
    },
  )

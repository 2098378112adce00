import { Hono } from 'hono'
import * as z from 'zod'
import type { AppEnv } from '../../http/app-env'
import { body, doc, params, query, returns, returnsPage } from '../../http/route'
import { allow } from '../tenancy/authorize'
import { deliveriesOfEvent } from '../webhooks/deliveries/list'
import { Delivery } from '../webhooks/deliveries/schema'
import { listEvents } from './list'
import { Event, EventId, ListEvents, SendEvent, SendEvents, SentEvents } from './schema'
import { getEvent, sendEvent, sendEvents } from './service'

const tag = 'events'

const EventDetail = Event.extend({
  deliveries: z.array(Delivery).meta({ description: 'Where it goes, at most a hundred of them.' }),
}).meta({ id: 'EventDetail' })

export const events = new Hono<AppEnv>()
  .post(
    '/',
    doc('Send an event of your own', {
      tag,
      description: 'Kept when answered 201, and on its way to every endpoint that takes its type.',
      errors: ['payload_too_large'],
    }),
    allow('events:write'),
    body(SendEvent, { example: { type: 'order.shipped', data: { order_id: 'A-1001' } } }),
    returns(201, Event),
    async (c) => c.var.reply(await sendEvent(c.var.ctx, c.req.valid('json'))),
  )
  .post(
    '/batch',
    doc('Send up to a hundred events of your own', {
      tag,
      description: 'All of them are taken, in their order, or none.',
      errors: ['payload_too_large'],
    }),
    allow('events:write'),
    body(SendEvents, {
      limit: 4 * 1024 * 1024,
      example: { events: [{ type: 'order.shipped', data: { order_id: 'A-1001' } }] },
    }),
    returns(201, SentEvents, { location: () => '/api/v1/events' }),
    async (c) => c.var.reply(await sendEvents(c.var.ctx, c.req.valid('json'))),
  )
  .get(
    '/',
    doc('List events, newest first', { tag }),
    allow('events:read'),
    query(ListEvents),
    returnsPage(Event),
    async (c) => c.var.reply(await listEvents(c.var.ctx, c.req.valid('query'))),
  )
  .get(
    '/:id',
    doc('Read an event and where it stands with each endpoint', { tag }),
    allow('events:read'),
    params({ id: EventId }),
    returns(200, EventDetail),
    async (c) => {
      const { id } = c.req.valid('param')
      const event = await getEvent(c.var.ctx, id)
      const deliveries = await deliveriesOfEvent(c.var.ctx, id)
      // An event never changes; what is told of its deliveries does.
      const changes = deliveries.reduce((sum, { version }) => sum + version, 0)
      const versioned = { ...event, deliveries, version: `1.${changes}` }
      return c.var.reply(versioned)
    },
  )

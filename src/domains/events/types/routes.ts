import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, params, query, returns, returnsNothing, returnsPage } from '../../../http/route'
import { allow } from '../../tenancy/authorize'
import { EventTypeName } from '../schema'
import { CreateEventType, EventType, ListEventTypes, UpdateEventType } from './schema'
import { createEventType, deleteEventType, getEventType, listEventTypes, updateEventType } from './service'

const tag = 'events'

export const eventTypeRoutes = new Hono<AppEnv>()
  .get(
    '/',
    doc('List the event types there are, by name', {
      tag,
      description: 'Those that the service sends, and the tenant’s own.',
    }),
    allow('webhooks:read'),
    query(ListEventTypes),
    returnsPage(EventType),
    async (c) => c.var.reply(await listEventTypes(c.var.ctx, c.req.valid('query'))),
  )
  .post(
    '/',
    doc('Create an event type of your own', {
      tag,
      description:
        'Events need no type to be made first; one that is made can say what their data looks like.',
      errors: ['already_exists'],
    }),
    allow('webhooks:write'),
    body(CreateEventType, {
      example: {
        name: 'order.paid',
        description: 'An order was paid.',
        schema: { type: 'object', properties: { order_id: { type: 'string' } }, required: ['order_id'] },
        validation: 'enforce',
      },
    }),
    returns(201, EventType, { location: ({ name }) => `/api/v1/webhooks/event-types/${name}` }),
    async (c) => c.var.reply(await createEventType(c.var.ctx, c.req.valid('json'))),
  )
  .get(
    '/:name',
    doc('Read an event type', { tag }),
    allow('webhooks:read'),
    params({ name: EventTypeName }),
    returns(200, EventType),
    async (c) => c.var.reply(await getEventType(c.var.ctx, c.req.valid('param').name)),
  )
  .patch(
    '/:name',
    doc('Change an event type of your own', {
      tag,
      description: 'Holds for every event that is sent after the answer.',
    }),
    allow('webhooks:write'),
    params({ name: EventTypeName }),
    body(UpdateEventType, { example: { validation: 'off' } }),
    returns(200, EventType),
    async (c) =>
      c.var.reply(await updateEventType(c.var.ctx, c.req.valid('param').name, c.req.valid('json'))),
  )
  .delete(
    '/:name',
    doc('Delete an event type of your own', { tag, description: 'Its events stay.' }),
    allow('webhooks:write'),
    params({ name: EventTypeName }),
    returnsNothing(),
    async (c) => c.var.reply(await deleteEventType(c.var.ctx, c.req.valid('param').name)),
  )

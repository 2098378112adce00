import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, params, query, returns, returnsNothing } from '../../../http/route'
import { allow } from '../../tenancy/authorize'
import { getApplication } from '../../webhooks/applications/service'
import { endpointOf, endpointsOf } from '../../webhooks/endpoints/of-application'
import { deleteEndpoint } from '../../webhooks/endpoints/service'
import { svix as dialect } from '../dialect'
import { createdOrNot, listing, listOf, ordering, prefixed, Ref, spanOf, unprefixed, windowOf } from '../wire'
import { EndpointIn, EndpointOut, EndpointPatch, EndpointPut } from './schema'
import { endpointOut, makeEndpoint, patchEndpoint, putEndpoint } from './service'

const tag = 'svix'
const ofApp = { app_id: Ref('app') }
const path = { ...ofApp, endpoint_id: Ref('ep') }
const bare = { bare: true } as const
const example = { url: 'https://example.com/webhook/', description: 'An example endpoint name' }

/** Svix's endpoints, of one application. */
export const svixEndpoints = new Hono<AppEnv>()
  .get(
    '/',
    doc('List an application’s endpoints, newest first', { tag, dialect }),
    allow('webhooks:read'),
    params(ofApp),
    query(ordering, { unknown: 'ignored' }),
    returns(200, listOf(EndpointOut), bare),
    async (c) => {
      const window = windowOf(c.req.valid('query'), 'descending', (text) => unprefixed('ep', text))
      const { id } = await getApplication(c.var.ctx, c.req.valid('param').app_id)
      const rows = await endpointsOf(c.var.ctx, id, spanOf(window))
      const show = (row: (typeof rows)[number]) => endpointOut(row)
      return c.var.reply(listing(rows, window, show, (row) => prefixed('ep', row.id)))
    },
  )
  .post(
    '/',
    doc('Create an endpoint', {
      tag,
      dialect,
      description:
        'It takes every event type where `eventTypes` is left out; types that are named must exist. ' +
        'Its body is the payload alone, signed under Svix’s names.',
      errors: ['already_exists'],
      secret: true,
    }),
    allow('webhooks:write'),
    params(ofApp),
    body(EndpointIn, { example }),
    returns(201, EndpointOut, bare),
    async (c) => {
      const { id } = await getApplication(c.var.ctx, c.req.valid('param').app_id)
      return c.var.reply(await makeEndpoint(c.var.ctx, id, c.req.valid('json')))
    },
  )
  .get(
    '/:endpoint_id',
    doc('Read an endpoint', { tag, dialect }),
    allow('webhooks:read'),
    params(path),
    returns(200, EndpointOut, bare),
    async (c) => {
      const { app_id, endpoint_id } = c.req.valid('param')
      const { id } = await getApplication(c.var.ctx, app_id)
      return c.var.reply(endpointOut(await endpointOf(c.var.ctx, id, endpoint_id)))
    },
  )
  .put(
    '/:endpoint_id',
    doc('Change an endpoint, or create the one of that uid', {
      tag,
      dialect,
      errors: ['already_exists'],
      also: [{ status: 201, schema: EndpointOut, bare: true, description: 'It was created' }],
      // The URL is always sent.
      secret: true,
    }),
    allow('webhooks:write'),
    params(path),
    body(EndpointPut, { example }),
    returns(200, EndpointOut, createdOrNot),
    async (c) => {
      const { app_id, endpoint_id } = c.req.valid('param')
      const { id } = await getApplication(c.var.ctx, app_id)
      return c.var.reply(await putEndpoint(c.var.ctx, id, endpoint_id, c.req.valid('json')))
    },
  )
  .patch(
    '/:endpoint_id',
    doc('Change what is sent of an endpoint', {
      tag,
      dialect,
      errors: ['already_exists'],
      secret: ['url'],
    }),
    allow('webhooks:write'),
    params(path),
    body(EndpointPatch, { example: { description: 'Orders' } }),
    returns(200, EndpointOut, bare),
    async (c) => {
      const { app_id, endpoint_id } = c.req.valid('param')
      const { id } = await getApplication(c.var.ctx, app_id)
      return c.var.reply(await patchEndpoint(c.var.ctx, id, endpoint_id, c.req.valid('json')))
    },
  )
  .delete(
    '/:endpoint_id',
    doc('Delete an endpoint', { tag, dialect, description: 'What is under way for it is cancelled.' }),
    allow('webhooks:write'),
    params(path),
    returnsNothing(),
    async (c) => {
      const { app_id, endpoint_id } = c.req.valid('param')
      const { id } = await getApplication(c.var.ctx, app_id)
      const endpoint = await endpointOf(c.var.ctx, id, endpoint_id)
      return c.var.reply(await deleteEndpoint(c.var.ctx, endpoint.id))
    },
  )

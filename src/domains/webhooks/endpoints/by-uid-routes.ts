import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, params, returns } from '../../../http/route'
import { allow } from '../../tenancy/authorize'
import { deleteEndpointByUid, getEndpointByUid, upsertEndpointByUid } from './by-uid'
import { Endpoint, PutEndpoint, RegisteredEndpoint, Uid } from './schema'

const tag = 'webhooks'

/** Endpoints by the tenant's own names for them; mounted under the endpoints. */
export const endpointsByUid = new Hono<AppEnv>()
  .put(
    '/:uid',
    doc('Create the endpoint of a uid, or change it', {
      tag,
      description: 'A new one answers with its signing secret; one that there was keeps it.',
      secret: true,
    }),
    allow('webhooks:write'),
    params({ uid: Uid }),
    body(PutEndpoint, {
      example: { url: 'https://example.com/webhooks', event_types: ['interaction.created'] },
    }),
    returns(200, RegisteredEndpoint),
    async (c) =>
      c.var.reply(await upsertEndpointByUid(c.var.ctx, c.req.valid('param').uid, c.req.valid('json'))),
  )
  .get(
    '/:uid',
    doc('Read the endpoint of a uid', { tag }),
    allow('webhooks:read'),
    params({ uid: Uid }),
    returns(200, Endpoint),
    async (c) => c.var.reply(await getEndpointByUid(c.var.ctx, c.req.valid('param').uid)),
  )
  .delete(
    '/:uid',
    doc('Delete the endpoint of a uid', {
      tag,
      description: 'Answers with the endpoint as it was. What is under way for it is cancelled.',
    }),
    allow('webhooks:write'),
    params({ uid: Uid }),
    returns(200, Endpoint),
    async (c) => c.var.reply(await deleteEndpointByUid(c.var.ctx, c.req.valid('param').uid)),
  )

import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, Id, params, returns } from '../../../http/route'
import { allow } from '../../tenancy/authorize'
import { readSecret, rotateSecret } from './rotation'
import { EndpointSecret, RotatedSecret, RotateSecret } from './schema'

const tag = 'webhooks'

/** An endpoint's signing secret; mounted under the endpoints. */
export const endpointSecrets = new Hono<AppEnv>()
  .get(
    '/:id/secret',
    doc('Read the signing secret again', { tag, description: 'Every reading is audited.', secret: true }),
    allow('webhooks:secret'),
    params({ id: Id }),
    returns(200, EndpointSecret),
    async (c) => c.var.reply(await readSecret(c.var.ctx, c.req.valid('param').id)),
  )
  .post(
    '/:id/secret/rotate',
    doc('Rotate the signing secret', {
      tag,
      description: 'From now on the new secret signs, and the one before too until the overlap has ended.',
      errors: ['conflict'],
      secret: true,
    }),
    allow('webhooks:write', 'webhooks:secret'),
    params({ id: Id }),
    body(RotateSecret, { example: { overlap_seconds: 3600 }, optional: true }),
    returns(200, RotatedSecret),
    async (c) => c.var.reply(await rotateSecret(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )

import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, params, query, returns, returnsNothing, returnsPage } from '../../../http/route'
import { Id, paging } from '../../../lib/wire'
import { allow } from '../../tenancy/authorize'
import { rotateApiKey } from './rotate'
import { ApiKey, CreateApiKey, NewApiKey, RotateApiKey } from './schema'
import { createApiKey, getApiKey, listApiKeys, revokeApiKey } from './service'

const tag = 'API keys'

export const apiKeyRoutes = new Hono<AppEnv>()
  .post(
    '/',
    doc('Make an API key', {
      tag,
      description: 'The key is shown in this answer and never again.',
      secret: true,
    }),
    allow('api_keys:write'),
    body(CreateApiKey),
    returns(201, NewApiKey),
    async (c) => c.var.reply(await createApiKey(c.var.ctx, c.req.valid('json'))),
  )
  .get(
    '/',
    doc('List API keys', { tag }),
    allow('api_keys:read'),
    query(paging),
    returnsPage(ApiKey),
    async (c) => c.var.reply(await listApiKeys(c.var.ctx, c.req.valid('query'))),
  )
  .get(
    '/:id',
    doc('Read an API key', { tag }),
    allow('api_keys:read'),
    params({ id: Id }),
    returns(200, ApiKey),
    async (c) => c.var.reply(await getApiKey(c.var.ctx, c.req.valid('param').id)),
  )
  .post(
    '/:id/rotate',
    doc('Rotate an API key', {
      tag,
      description:
        'Makes a new key in its place, shown in this answer and never again; the old one goes on for a while.',
      errors: ['conflict'],
      secret: true,
    }),
    allow('api_keys:write'),
    params({ id: Id }),
    body(RotateApiKey, { optional: true }),
    returns(201, NewApiKey, { location: ({ id }) => `/api/v1/auth/api-keys/${id}` }),
    async (c) => c.var.reply(await rotateApiKey(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )
  .delete(
    '/:id',
    doc('Revoke an API key', { tag }),
    allow('api_keys:write'),
    params({ id: Id }),
    returnsNothing(),
    async (c) => c.var.reply(await revokeApiKey(c.var.ctx, c.req.valid('param').id)),
  )

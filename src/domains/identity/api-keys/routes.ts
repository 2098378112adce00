import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, params, query, returns, returnsNothing, returnsPage } from '../../../http/route'
import { Id, paging } from '../../../lib/wire'
import { allow } from '../../tenancy/authorize'
import { ApiKey, CreateApiKey, NewApiKey } from './schema'
import { createApiKey, getApiKey, listApiKeys, revokeApiKey } from './service'

const tag = 'API keys'

export const apiKeyRoutes = new Hono<AppEnv>()
  .post(
    '/',
    doc('Make an API key', { tag, description: 'The key is shown in this answer and never again.' }),
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
  .delete(
    '/:id',
    doc('Revoke an API key', { tag }),
    allow('api_keys:write'),
    params({ id: Id }),
    returnsNothing(),
    async (c) => c.var.reply(await revokeApiKey(c.var.ctx, c.req.valid('param').id)),
  )

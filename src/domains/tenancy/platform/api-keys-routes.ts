import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { doc, params, query, returnsNothing, returnsPage } from '../../../http/route'
import { Id, paging } from '../../../lib/wire'
import { allow } from '../authorize'
import { listTenantKeys, revokeTenantKey } from './api-keys'
import { TenantKey } from './schema'

const tag = 'Platform'

/** The API keys of every tenant; mounted under the platform's routes. */
export const tenantKeyRoutes = new Hono<AppEnv>()
  .get(
    '/',
    doc('List API keys', { tag, description: 'Those of all tenants, newest first, or of one.' }),
    allow('platform:*'),
    query({ ...paging, tenant_id: Id.optional() }),
    returnsPage(TenantKey),
    async (c) => c.var.reply(await listTenantKeys(c.var.ctx, c.req.valid('query'))),
  )
  .delete(
    '/:id',
    doc('Revoke an API key', { tag }),
    allow('platform:*'),
    params({ id: Id }),
    returnsNothing(),
    async (c) => c.var.reply(await revokeTenantKey(c.var.ctx, c.req.valid('param').id)),
  )

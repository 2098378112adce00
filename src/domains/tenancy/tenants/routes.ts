import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, open, returns } from '../../../http/route'
import { allow } from '../authorize'
import { Onboard, Onboarded, TenantView, UpdateTenant } from './schema'
import { currentTenant, onboard, updateCurrentTenant } from './service'

const tag = 'Tenants'

export const tenantRoutes = new Hono<AppEnv>()
  .post(
    '/onboarding/public',
    doc('Sign a company up', {
      tag,
      description: 'Makes the tenant and its first admin, and mails the admin a verification link.',
      errors: ['slug_taken', 'login_busy'],
    }),
    open(),
    body(Onboard),
    returns(201, Onboarded, { location: () => '/api/v1/tenants/current' }),
    async (c) => c.var.reply(await onboard(c.var.request, c.req.valid('json'))),
  )
  .get(
    '/current',
    doc('Read the tenant', { tag }),
    allow('tenants:read'),
    returns(200, TenantView),
    async (c) => c.var.reply(await currentTenant(c.var.ctx)),
  )
  .patch(
    '/current',
    doc('Change the tenant’s name or settings', { tag }),
    allow('tenants:write'),
    body(UpdateTenant),
    returns(200, TenantView),
    async (c) => c.var.reply(await updateCurrentTenant(c.var.ctx, c.req.valid('json'))),
  )

import { Hono } from 'hono'
import * as z from 'zod'
import type { AppEnv } from '../../http/app-env'
import { doc, query, returns, returnsPage } from '../../http/route'
import { AuditEntry, listAudit as auditQuery } from '../audit/schema'
import { listAudit } from '../audit/service'
import { listUsers } from '../identity/members/list'
import { userFilters } from '../identity/members/schema'
import { User } from '../identity/users/schema'
import { UsageRow, usageQuery } from '../metering/usage/schema'
import { usage } from '../metering/usage/service'
import { allow } from '../tenancy/authorize'
import { Portal } from './schema'
import { portalOf } from './service'

const tag = 'Tenants'

/** A tenant's overview for its own administrators. */
export const portalRoutes = new Hono<AppEnv>()
  .get(
    '/',
    doc('See the tenant at a glance', { tag }),
    allow('tenants:admin'),
    returns(200, Portal),
    async (c) => c.var.reply(await portalOf(c.var.ctx)),
  )
  .get(
    '/usage',
    doc('See what the tenant used', {
      tag,
      description: 'As `GET /api/v1/usage`.',
      errors: ['service_unavailable'],
    }),
    allow('tenants:admin', 'usage:read'),
    query(usageQuery),
    returns(200, z.array(UsageRow)),
    async (c) => c.var.reply(await usage(c.var.ctx, c.req.valid('query'))),
  )
  .get(
    '/members',
    doc('See who is in the tenant', { tag, description: 'As `GET /api/v1/users`.' }),
    allow('tenants:admin', 'users:read'),
    query(userFilters),
    returnsPage(User),
    async (c) => c.var.reply(await listUsers(c.var.ctx, c.req.valid('query'))),
  )
  .get(
    '/activity',
    doc('See what was done in the tenant', { tag, description: 'The audit log, as `GET /api/v1/audit`.' }),
    allow('tenants:admin', 'audit:read'),
    query(auditQuery),
    returnsPage(AuditEntry),
    async (c) => c.var.reply(await listAudit(c.var.ctx, c.req.valid('query'))),
  )

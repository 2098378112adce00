import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, params, query, returns, returnsNothing, returnsPage } from '../../../http/route'
import { Id, paging } from '../../../lib/wire'
import { allow, authenticated } from '../authorize'
import { portal, portalTenants } from './portal'
import {
  addUser,
  grantTenant,
  listPartnerTenants,
  listPartnerUsers,
  removeTenant,
  removeUser,
} from './rights'
import {
  CreatePartner,
  GrantTenant,
  ListPartners,
  Partner,
  PartnerTenant,
  PartnerUser,
  Portal,
  UpdatePartner,
} from './schema'
import { createPartner, deletePartner, getPartner, listPartners, updatePartner } from './service'

const tag = 'Partners'
const ENDING = 'The access tokens of before of those whom it concerns end.'
const ofOne = { id: Id }
const ofTenant = { id: Id, tenant_id: Id }
const ofUser = { id: Id, user_id: Id }

export const partnerRoutes = new Hono<AppEnv>()
  .get(
    '/portal',
    doc('Read the partner that one acts for', { tag, errors: ['partner_required'] }),
    authenticated(),
    returns(200, Portal),
    async (c) => c.var.reply(await portal(c.var.ctx)),
  )
  .get(
    '/portal/tenants',
    doc('List the tenants that one may act in', { tag, errors: ['partner_required'] }),
    authenticated(),
    query(paging),
    returnsPage(PartnerTenant),
    async (c) => c.var.reply(await portalTenants(c.var.ctx, c.req.valid('query'))),
  )
  .post(
    '/',
    doc('Make a partner', { tag }),
    allow('platform:*'),
    body(CreatePartner),
    returns(201, Partner),
    async (c) => c.var.reply(await createPartner(c.var.ctx, c.req.valid('json'))),
  )
  .get(
    '/',
    doc('List partners, newest first', { tag }),
    allow('platform:*'),
    query(ListPartners),
    returnsPage(Partner),
    async (c) => c.var.reply(await listPartners(c.var.ctx, c.req.valid('query'))),
  )
  .get(
    '/:id',
    doc('Read a partner', { tag }),
    allow('platform:*'),
    params(ofOne),
    returns(200, Partner),
    async (c) => c.var.reply(await getPartner(c.var.ctx, c.req.valid('param').id)),
  )
  .patch(
    '/:id',
    doc('Change, suspend or resume a partner', { tag }),
    allow('platform:*'),
    params(ofOne),
    body(UpdatePartner),
    returns(200, Partner),
    async (c) => c.var.reply(await updatePartner(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )
  .delete(
    '/:id',
    doc('Delete a partner', { tag, description: 'Its users act in none of its tenants any more.' }),
    allow('platform:*'),
    params(ofOne),
    returnsNothing(),
    async (c) => c.var.reply(await deletePartner(c.var.ctx, c.req.valid('param').id)),
  )
  .get(
    '/:id/tenants',
    doc('List a partner’s tenants', { tag }),
    allow('platform:*'),
    params(ofOne),
    query(paging),
    returnsPage(PartnerTenant),
    async (c) =>
      c.var.reply(await listPartnerTenants(c.var.ctx, c.req.valid('param').id, c.req.valid('query'))),
  )
  .put(
    '/:id/tenants/:tenant_id',
    doc('Let a partner’s users act in a tenant', { tag, description: ENDING, errors: ['conflict'] }),
    allow('platform:*'),
    params(ofTenant),
    body(GrantTenant),
    returns(200, PartnerTenant),
    async (c) => {
      const { id, tenant_id } = c.req.valid('param')
      return c.var.reply(await grantTenant(c.var.ctx, id, tenant_id, c.req.valid('json').role))
    },
  )
  .delete(
    '/:id/tenants/:tenant_id',
    doc('Take a tenant from a partner', { tag, description: ENDING }),
    allow('platform:*'),
    params(ofTenant),
    returnsNothing(),
    async (c) => {
      const { id, tenant_id } = c.req.valid('param')
      return c.var.reply(await removeTenant(c.var.ctx, id, tenant_id))
    },
  )
  .get(
    '/:id/users',
    doc('List a partner’s users', { tag }),
    allow('platform:*'),
    params(ofOne),
    query(paging),
    returnsPage(PartnerUser),
    async (c) =>
      c.var.reply(await listPartnerUsers(c.var.ctx, c.req.valid('param').id, c.req.valid('query'))),
  )
  .put(
    '/:id/users/:user_id',
    doc('Have a user act for a partner', { tag, description: ENDING, errors: ['conflict'] }),
    allow('platform:*'),
    params(ofUser),
    returns(200, PartnerUser),
    async (c) => c.var.reply(await addUser(c.var.ctx, c.req.valid('param').id, c.req.valid('param').user_id)),
  )
  .delete(
    '/:id/users/:user_id',
    doc('Have a user act for a partner no more', { tag, description: ENDING }),
    allow('platform:*'),
    params(ofUser),
    returnsNothing(),
    async (c) =>
      c.var.reply(await removeUser(c.var.ctx, c.req.valid('param').id, c.req.valid('param').user_id)),
  )

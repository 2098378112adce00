import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, params, query, returns, returnsNothing, returnsPage } from '../../../http/route'
import { Id } from '../../../lib/wire'
import { allow } from '../../tenancy/authorize'
import { CreateIssuer, Issuer, ListIssuers, UpdateIssuer } from './schema'
import { createIssuer, deleteIssuer, getIssuer, listIssuers, updateIssuer } from './service'

const tag = 'Issuers'
const example = {
  iss: 'https://login.example.com/',
  aud: 'https://api.example.com',
  jwks_uri: 'https://login.example.com/.well-known/jwks.json',
  algs: ['RS256'],
  roles: { editors: 'developer' },
  provision: true,
}

/** The tenant's own OIDC issuers. */
export const issuerRoutes = new Hono<AppEnv>()
  .post(
    '/',
    doc('Trust an issuer', {
      tag,
      description:
        'Its access tokens count in this tenant, and in no other, in requests that name the tenant in X-Tenant-ID.',
      errors: ['already_exists', 'conflict'],
      secret: true,
    }),
    allow('issuers:admin'),
    body(CreateIssuer, { example }),
    returns(201, Issuer),
    async (c) => c.var.reply(await createIssuer(c.var.ctx, c.req.valid('json'))),
  )
  .get(
    '/',
    doc('List issuers', { tag }),
    allow('issuers:admin'),
    query(ListIssuers),
    returnsPage(Issuer),
    async (c) => c.var.reply(await listIssuers(c.var.ctx, c.req.valid('query'))),
  )
  .get(
    '/:id',
    doc('Read an issuer', { tag }),
    allow('issuers:admin'),
    params({ id: Id }),
    returns(200, Issuer),
    async (c) => c.var.reply(await getIssuer(c.var.ctx, c.req.valid('param').id)),
  )
  .patch(
    '/:id',
    doc('Change an issuer', { tag, errors: ['already_exists'], secret: true }),
    allow('issuers:admin'),
    params({ id: Id }),
    body(UpdateIssuer, { example: { is_active: false } }),
    returns(200, Issuer),
    async (c) => c.var.reply(await updateIssuer(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )
  .delete(
    '/:id',
    doc('Trust an issuer no more', { tag }),
    allow('issuers:admin'),
    params({ id: Id }),
    returnsNothing(),
    async (c) => c.var.reply(await deleteIssuer(c.var.ctx, c.req.valid('param').id)),
  )

import { Hono } from 'hono'
import * as z from 'zod'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, params, query, returns, returnsNothing, returnsPage } from '../../../http/route'
import { Id, paging } from '../../../lib/wire'
import { NewApiKey } from '../../identity/api-keys/schema'
import { forgetKeys } from '../../identity/tokens/keys'
import { resealByItself, resealSecrets } from '../../identity/tokens/resealing'
import { rotateSigningKey } from '../../identity/tokens/rotation'
import { Resealed, SigningKey } from '../../identity/tokens/schema'
import { allow } from '../authorize'
import { TenantView } from '../tenants/schema'
import { tenantKeyRoutes } from './api-keys-routes'
import { CreateTenant, CreateTenantKey, PatchTenant } from './schema'
import { cancelTenant, createTenant, createTenantKey, getTenant, listTenants, patchTenant } from './service'

const tag = 'Platform'

export const platform = new Hono<AppEnv>()
  .post(
    '/tenants',
    doc('Make a tenant', { tag, errors: ['slug_taken'] }),
    allow('platform:*'),
    body(CreateTenant),
    returns(201, TenantView),
    async (c) => c.var.reply(await createTenant(c.var.ctx, c.req.valid('json'))),
  )
  .get(
    '/tenants',
    doc('List tenants', { tag }),
    allow('platform:*'),
    query({
      ...paging,
      status: z.enum(['active', 'suspended', 'cancelled']).optional(),
      q: z.string().max(63).optional().meta({ description: 'How the slug begins.' }),
    }),
    returnsPage(TenantView),
    async (c) => c.var.reply(await listTenants(c.var.ctx, c.req.valid('query'))),
  )
  .get(
    '/tenants/:id',
    doc('Read a tenant', { tag }),
    allow('platform:*'),
    params({ id: Id }),
    returns(200, TenantView),
    async (c) => c.var.reply(await getTenant(c.var.ctx, c.req.valid('param').id)),
  )
  .patch(
    '/tenants/:id',
    doc('Change, suspend or resume a tenant', { tag, errors: ['conflict'] }),
    allow('platform:*'),
    params({ id: Id }),
    body(PatchTenant),
    returns(200, TenantView),
    async (c) => c.var.reply(await patchTenant(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )
  .delete(
    '/tenants/:id',
    doc('Cancel a tenant', {
      tag,
      description:
        'It is refused at once, and its data are deleted after thirty days. Until that begins, setting a status takes the cancellation back.',
      errors: ['conflict'],
    }),
    allow('platform:*'),
    params({ id: Id }),
    returnsNothing(),
    async (c) => c.var.reply(await cancelTenant(c.var.ctx, c.req.valid('param').id)),
  )
  .route('/api-keys', tenantKeyRoutes)
  .post(
    '/api-keys',
    doc('Make an API key for a tenant', {
      tag,
      description: 'The key is shown in this answer and never again.',
      errors: ['conflict'],
    }),
    allow('platform:*'),
    body(CreateTenantKey),
    returns(201, NewApiKey),
    async (c) => c.var.reply(await createTenantKey(c.var.ctx, c.req.valid('json'))),
  )
  .post(
    '/keys/rotate',
    doc('Make the key that signs access tokens next', {
      tag,
      description:
        'It is published at once and signs six minutes later; the one before stays until its last token has ended. Where the settings name a master key from before, tenants’ data keys and whatever else was sealed under it are wrapped anew first.',
      errors: ['conflict'],
    }),
    allow('platform:*'),
    returns(201, SigningKey, { location: () => '/.well-known/jwks.json' }),
    async (c) => {
      await resealByItself(c.env, c.var.ctx.now)
      const made = await rotateSigningKey(c.var.ctx)
      forgetKeys(c.env)
      return c.var.reply(made)
    },
  )
  .post(
    '/keys/reseal',
    doc('Encrypt every secret anew under the master key in force', {
      tag,
      description:
        'After a change of MASTER_KEY. When nothing is unreadable and a second call has nothing to do, MASTER_KEY_PREVIOUS can go.',
      errors: ['conflict'],
    }),
    allow('platform:*'),
    returns(200, Resealed),
    async (c) => c.var.reply(await resealSecrets(c.var.ctx)),
  )

import { Hono } from 'hono'
import type { AppEnv } from '../../http/app-env'
import { body, doc, params, returns, returnsPage } from '../../http/route'
import { allow } from '../tenancy/authorize'
import { Kind, ProviderView, UpdateProvider } from './schema'
import { listProviders, updateProvider } from './service'

const tag = 'Providers'

export const providerAccountRoutes = new Hono<AppEnv>()
  .get(
    '/',
    doc('See which outside services are used', {
      tag,
      description:
        'Each kind, with whose account it goes through: yours, the operator’s, or none. No key is shown.',
    }),
    allow('secrets:read'),
    returnsPage(ProviderView),
    async (c) => c.var.reply({ items: await listProviders(c.var.ctx), next_cursor: null }),
  )
  .patch(
    '/:kind',
    doc('Use an account of your own', {
      tag,
      description:
        'Your key becomes the secret `provider_{kind}`, which may go to the host of the account alone. `api_key: null` removes the account, and the operator’s is used again.',
      errors: ['conflict'],
      secret: ['api_key', 'base_url'],
    }),
    allow('secrets:write'),
    params({ kind: Kind }),
    body(UpdateProvider, { example: { api_key: 'sk_5f0c1d2e3f4a5b6c7d8e9f3f9a' } }),
    returns(200, ProviderView),
    async (c) => c.var.reply(await updateProvider(c.var.ctx, c.req.valid('param').kind, c.req.valid('json'))),
  )

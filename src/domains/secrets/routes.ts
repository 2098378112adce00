import { Hono } from 'hono'
import type { AppEnv } from '../../http/app-env'
import { body, doc, params, query, returns, returnsNothing, returnsPage } from '../../http/route'
import { allow } from '../tenancy/authorize'
import { ListSecrets, PutSecret, Secret, SecretName } from './schema'
import { deleteSecret, getSecret, listSecrets, putSecret } from './service'

const tag = 'secrets'
const name = { name: SecretName }

export const secretRoutes = new Hono<AppEnv>()
  .get(
    '/',
    doc('List secrets, newest first', { tag, description: 'Without their values, which nobody is shown.' }),
    allow('secrets:read'),
    query(ListSecrets),
    returnsPage(Secret),
    async (c) => c.var.reply(await listSecrets(c.var.ctx, c.req.valid('query'))),
  )
  .get(
    '/:name',
    doc('Read what is known of a secret', { tag, description: 'All but its value.' }),
    allow('secrets:read'),
    params(name),
    returns(200, Secret),
    async (c) => c.var.reply(await getSecret(c.var.ctx, c.req.valid('param').name)),
  )
  .put(
    '/:name',
    doc('Set a secret', {
      tag,
      description:
        'Its value and its hosts, together: to let it go to another host, send its value again. What uses it has the new value with its next request.',
      errors: ['conflict'],
      secret: true,
    }),
    allow('secrets:write'),
    params(name),
    body(PutSecret, { example: { value: 'k3y-of-the-billing-service', hosts: ['api.example.com'] } }),
    returns(200, Secret),
    async (c) => c.var.reply(await putSecret(c.var.ctx, c.req.valid('param').name, c.req.valid('json'))),
  )
  .delete(
    '/:name',
    doc('Delete a secret', { tag, description: 'What uses it fails from now on, and says so.' }),
    allow('secrets:write'),
    params(name),
    returnsNothing(),
    async (c) => c.var.reply(await deleteSecret(c.var.ctx, c.req.valid('param').name)),
  )

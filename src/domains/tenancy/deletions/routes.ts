import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { doc, params, query, returns, returnsPage } from '../../../http/route'
import { Id, paging } from '../../../lib/wire'
import { allow } from '../authorize'
import { Deletion } from './schema'
import { getDeletion, listDeletions } from './service'

const tag = 'Platform'

export const deletionRoutes = new Hono<AppEnv>()
  .get(
    '/',
    doc('List deletions of cancelled tenants', { tag }),
    allow('platform:*'),
    query(paging),
    returnsPage(Deletion),
    async (c) => c.var.reply(await listDeletions(c.var.ctx, c.req.valid('query'))),
  )
  .get(
    '/:id',
    doc('Read how a tenant’s deletion stands, and what it removed', {
      tag,
      description: 'By the tenant’s id. It stays when nothing else of the tenant does.',
    }),
    allow('platform:*'),
    params({ id: Id }),
    returns(200, Deletion),
    async (c) => c.var.reply(await getDeletion(c.var.ctx, c.req.valid('param').id)),
  )

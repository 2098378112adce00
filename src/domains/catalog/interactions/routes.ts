import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, params, query, returns, returnsNothing, returnsPage } from '../../../http/route'
import { Id } from '../../../lib/wire'
import { allow } from '../../tenancy/authorize'
import { CreateInteraction, Interaction, listFilters } from './schema'
import { createInteraction, deleteInteraction, getInteraction, listInteractions } from './service'

const tag = 'Interactions'

export const interactionRoutes = new Hono<AppEnv>()
  .post(
    '/',
    doc('Register something said', { tag, errors: ['service_disabled', 'payload_too_large'] }),
    allow('interactions:write'),
    body(CreateInteraction),
    returns(201, Interaction),
    async (c) => c.var.reply(await createInteraction(c.var.ctx, c.req.valid('json'))),
  )
  .get(
    '/',
    doc('List interactions, newest first', { tag }),
    allow('interactions:read'),
    query(listFilters),
    returnsPage(Interaction),
    async (c) => c.var.reply(await listInteractions(c.var.ctx, c.req.valid('query'))),
  )
  .get(
    '/:id',
    doc('Read an interaction', { tag }),
    allow('interactions:read'),
    params({ id: Id }),
    returns(200, Interaction),
    async (c) => c.var.reply(await getInteraction(c.var.ctx, c.req.valid('param').id)),
  )
  .delete(
    '/:id',
    doc('Delete an interaction', { tag }),
    allow('interactions:write'),
    params({ id: Id }),
    returnsNothing(),
    async (c) => c.var.reply(await deleteInteraction(c.var.ctx, c.req.valid('param').id)),
  )

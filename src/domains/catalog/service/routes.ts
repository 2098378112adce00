import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, returns } from '../../../http/route'
import { allow } from '../../tenancy/authorize'
import { Service, UpdateService } from './schema'
import { getService, updateService } from './service'

const tag = 'Interactions'

export const serviceRoutes = new Hono<AppEnv>()
  .get(
    '/',
    doc('Whether interactions are taken, and who is told', { tag }),
    allow('service:read'),
    returns(200, Service),
    async (c) => c.var.reply(await getService(c.var.ctx)),
  )
  .patch(
    '/',
    doc('Switch the taking of interactions on or off', { tag }),
    allow('service:write'),
    body(UpdateService),
    returns(200, Service),
    async (c) => c.var.reply(await updateService(c.var.ctx, c.req.valid('json'))),
  )

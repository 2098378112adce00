import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { doc, returnsPage } from '../../../http/route'
import { authenticated } from '../../tenancy/authorize'
import { Client } from './schema'
import { listClients } from './service'

export const clientRoutes = new Hono<AppEnv>().get(
  '/',
  doc('List the tenants that the caller may act in', { tag: 'Authentication' }),
  authenticated(),
  returnsPage(Client),
  async (c) => c.var.reply(await listClients(c.var.ctx)),
)

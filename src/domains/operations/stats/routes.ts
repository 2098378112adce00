import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { doc, returns } from '../../../http/route'
import { allow } from '../../tenancy/authorize'
import { PlatformStats } from './schema'
import { platformStats } from './service'

export const statsRoutes = new Hono<AppEnv>().get(
  '/',
  doc('Read what there is on the platform, and what waits', {
    tag: 'Platform',
    description: 'Reads a row or two of every tenant: for people and dashboards, not for each second.',
  }),
  allow('platform:*'),
  returns(200, PlatformStats),
  async (c) => c.var.reply(await platformStats(c.var.request)),
)

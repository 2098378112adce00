import { Hono } from 'hono'
import type { AppEnv } from '../../http/app-env'
import { doc, Id, params, query, returns, returnsPage } from '../../http/route'
import { allow } from '../tenancy/authorize'
import { listJobs } from './list'
import { Job, ListJobs } from './schema'
import { cancelJob, getJob, retryJob, stillEnds } from './service'

const tag = 'jobs'

export const jobRoutes = new Hono<AppEnv>()
  .get(
    '/',
    doc('List jobs, newest first', { tag }),
    allow('jobs:read'),
    query(ListJobs),
    returnsPage(Job),
    async (c) => c.var.reply(await listJobs(c.var.ctx, c.req.valid('query'))),
  )
  .get(
    '/:id',
    doc('Read how a job stands', { tag }),
    allow('jobs:read'),
    params({ id: Id }),
    returns(200, Job),
    async (c) => c.var.reply(await getJob(c.var.ctx, c.req.valid('param').id)),
  )
  .post(
    '/:id/cancel',
    doc('Cancel a job', {
      tag,
      description:
        'What its steps did remains; the step under way is taken back. Needs the scope that starting it needs, too.',
      again: stillEnds,
      errors: ['conflict'],
    }),
    allow('jobs:write'),
    params({ id: Id }),
    returns(200, Job),
    async (c) => c.var.reply(await cancelJob(c.var.ctx, c.req.valid('param').id)),
  )
  .post(
    '/:id/retry',
    doc('Have a failed or cancelled job go on', {
      tag,
      description: 'From its last checkpoint. Needs the scope that starting it needs, too.',
      again: stillEnds,
      errors: ['conflict'],
    }),
    allow('jobs:write'),
    params({ id: Id }),
    returns(202, Job),
    async (c) => c.var.reply(await retryJob(c.var.ctx, c.req.valid('param').id)),
  )

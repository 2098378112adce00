import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { doc, query, returns } from '../../../http/route'
import { Job } from '../../jobs/schema'
import { allow } from '../../tenancy/authorize'
import { EraseSubject } from './schema'
import { eraseSubject } from './service'

/** Mounted under the events. */
export const erasureRoutes = new Hono<AppEnv>().delete(
  '/',
  doc('Erase the events of one subject', {
    tag: 'events',
    description:
      'A job, of events accepted until now: their data, what attempts sent and were answered, and the subject itself ' +
      'are erased; what is pending or held is cancelled. The events stay, without saying what or whom they are about.',
  }),
  allow('events:write'),
  query(EraseSubject),
  returns(202, Job),
  async (c) => c.var.reply(await eraseSubject(c.var.ctx, c.req.valid('query').subject)),
)

import { Hono } from 'hono'
import * as z from 'zod'
import type { AppEnv } from '../../../http/app-env'
import { doc, open } from '../../../http/route'
import { TEXT_FORMAT } from '../../../lib/metrics'
import { checkReader, metricsPage } from './service'

/** What monitoring scrapes. The credential is the operator’s, of no tenant. */
export const metrics = new Hono<AppEnv>().get(
  '/metrics',
  doc('Metrics for Prometheus', {
    tag: 'Operations',
    description:
      'Counts of the whole service, at most some seconds old. Outside development it needs the operator’s own ' +
      '`Authorization: Bearer <METRICS_TOKEN>`.',
    returns: { status: 200, bare: true, contentType: 'text/plain', schema: z.string() },
    errors: ['credential_required', 'invalid_token', 'service_unavailable'],
  }),
  open(),
  async (c) => {
    checkReader(c.var.request, c.req.raw.headers.get('Authorization'))
    const page = await metricsPage(c.var.request)
    return c.body(page, 200, { 'Content-Type': TEXT_FORMAT, 'Cache-Control': 'no-store' })
  },
)

import { Hono } from 'hono'
import { accepts } from 'hono/accepts'
import * as z from 'zod'
import type { AppEnv } from '../../../http/app-env'
import { doc, query, returns, returnsPage } from '../../../http/route'
import { paging } from '../../../lib/wire'
import { allow } from '../../tenancy/authorize'
import { usageCsv } from './csv'
import { NotedRequest, UsageRow, usageQuery } from './schema'
import { notedRequests, usage } from './service'

const tag = 'Usage'

export const usageRoutes = new Hono<AppEnv>()
  .get(
    '/',
    doc('Read what was used', {
      tag,
      description: [
        'Requests by time, endpoint, status or API key; the last 24 hours by hour where nothing is said. Times are',
        'whole ones in UTC; those without a request have no row. Minutes go back seven days, hours ninety, days for',
        'ever. `Accept: text/csv` gets the same as CSV.',
      ].join(' '),
      also: [{ status: 200, schema: null, contentType: 'text/csv', description: 'The rows as CSV' }],
      errors: ['service_unavailable'],
    }),
    allow('usage:read'),
    query(usageQuery),
    returns(200, z.array(UsageRow)),
    async (c) => {
      const input = c.req.valid('query')
      const rows = await usage(c.var.ctx, input)
      const supports = ['application/json', 'text/csv']
      const type = accepts(c, { header: 'Accept', supports, default: 'application/json' })
      c.header('Vary', 'Accept', { append: true })
      if (type !== 'text/csv') return c.var.reply(rows)
      return c.body(usageCsv(input.group_by, rows), 200, {
        'Content-Type': 'text/csv; charset=utf-8; header=present',
        'Content-Disposition': `attachment; filename="usage-by-${input.group_by}.csv"`,
        'Cache-Control': 'no-store',
      })
    },
  )
  .get(
    '/requests',
    doc('List failed and slow requests', {
      tag,
      description:
        'A sample of the last 24 hours, newest first: answers of 400 or more, and those that took a second or longer; at most one a second and isolate, and a thousand in all.',
      errors: ['service_unavailable'],
    }),
    allow('usage:read'),
    query(paging),
    returnsPage(NotedRequest),
    async (c) => c.var.reply(await notedRequests(c.var.ctx, c.req.valid('query'))),
  )

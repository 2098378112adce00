import { Hono } from 'hono'
import { accepts } from 'hono/accepts'
import type { AppEnv } from '../../http/app-env'
import { doc, query, returns, returnsPage } from '../../http/route'
import { iso } from '../../lib/ids'
import { allow } from '../tenancy/authorize'
import { CONTENT_TYPES, type Format, fileOf } from './export'
import {
  AuditEntry,
  exportAudit as exportQuery,
  listAudit as listQuery,
  Verification,
  verifyAudit,
} from './schema'
import { exportAudit, listAudit } from './service'
import { verifyLog } from './verify'

const tag = 'Audit'

export const auditRoutes = new Hono<AppEnv>()
  .get(
    '/',
    doc('List what was done, newest first', {
      tag,
      description: [
        'Who did what to which resource, from where, and what it changed. A page of rows by `resource` or `request_id`',
        'alone may be shorter than `limit`, or empty: there is more as long as `next_cursor` says so.',
      ].join(' '),
    }),
    allow('audit:read'),
    query(listQuery),
    returnsPage(AuditEntry),
    async (c) => c.var.reply(await listAudit(c.var.ctx, c.req.valid('query'))),
  )
  .get(
    '/verify',
    doc('Check the log against its seals', {
      tag,
      description: [
        'Finds rows that were changed, removed, added or moved since they were sealed, and seals that were. A long log',
        'takes several requests: `next_cursor` goes on with the next part.',
      ].join(' '),
    }),
    allow('audit:read'),
    query(verifyAudit),
    returns(200, Verification),
    async (c) => c.var.reply(await verifyLog(c.var.ctx, c.req.valid('query').cursor)),
  )
  .get(
    '/export',
    doc('Download the log, oldest first', {
      tag,
      description:
        'All rows that the filters choose, as they are read. A text that a spreadsheet would take for a formula has an apostrophe before it in CSV.',
      also: [{ status: 200, schema: null, contentType: 'text/csv', description: 'The rows as CSV' }],
    }),
    allow('audit:read'),
    query(exportQuery),
    returns(200, AuditEntry, { description: 'The rows as NDJSON' }),
    (c) => {
      const { format = preferred(c), ...filters } = c.req.valid('query')
      const { body, bytes } = fileOf(format, exportAudit(c.var.ctx, filters))
      c.set('responseBytes', bytes)
      const name = `audit-${iso(c.var.ctx.now).slice(0, 10)}.${format}`
      c.header('Vary', 'Accept', { append: true })
      return c.body(body, 200, {
        'Content-Type': CONTENT_TYPES[format],
        'Content-Disposition': `attachment; filename="${name}"`,
        'Cache-Control': 'no-store',
      })
    },
  )

function preferred(c: Parameters<typeof accepts>[0]): Format {
  const supports = ['application/x-ndjson', 'text/csv']
  return accepts(c, { header: 'Accept', supports, default: 'application/x-ndjson' }) === 'text/csv'
    ? 'csv'
    : 'ndjson'
}

import { type Context, Hono } from 'hono'
import { accepts } from 'hono/accepts'
import type { AppEnv } from '../../../http/app-env'
import { doc, query, returns } from '../../../http/route'
import { csvLine } from '../../../lib/csv'
import { allow } from '../../tenancy/authorize'
import {
  ChatAnalytics,
  chatsQuery,
  daysQuery,
  GROUP_COLUMNS,
  InteractionAnalytics,
  interactionsQuery,
  Overview,
  WebhookAnalytics,
  webhooksQuery,
} from './schema'
import { chatAnalytics, interactionAnalytics, overview, webhookAnalytics } from './service'

const about = (summary: string, what: string) =>
  doc(summary, {
    tag: 'Analytics',
    description: `${what} Days are those of UTC, at most 366 of them. \`Accept: text/csv\` gets the groups, or the days, as CSV.`,
    also: [{ status: 200, schema: null, contentType: 'text/csv', description: 'A line for each row' }],
    errors: ['service_unavailable'],
  })

type Rows = Record<string, unknown>[]

/** The groups, or the days, as CSV, where the caller would rather have that; null where not. No groups are a heading. */
function asCsv(
  c: Context,
  name: string,
  found: { days: Rows; groups?: Rows; from: string; to: string },
  by?: keyof typeof GROUP_COLUMNS,
): Response | null {
  c.header('Vary', 'Accept', { append: true })
  const supports = ['application/json', 'text/csv']
  if (accepts(c, { header: 'Accept', supports, default: 'application/json' }) !== 'text/csv') return null
  const columns = by ? GROUP_COLUMNS[by] : Object.keys(found.days[0] ?? {})
  const rows = by ? (found.groups ?? []) : found.days
  const lines = rows.map((row) => csvLine(columns.map((column) => row[column])))
  return c.body(csvLine(columns) + lines.join(''), 200, {
    'Content-Type': 'text/csv; charset=utf-8; header=present',
    'Content-Disposition': `attachment; filename="${name}-${found.from}-${found.to}.csv"`,
    'Cache-Control': 'no-store',
  })
}

export const analyticsRoutes = new Hono<AppEnv>()
  .get(
    '/overview',
    about('Read what there was of everything, day by day', 'Requests, chats, deliveries and the rest.'),
    allow('analytics:read'),
    query(daysQuery),
    returns(200, Overview),
    async (c) => {
      const found = await overview(c.var.ctx, c.req.valid('query'))
      return asCsv(c, 'overview', found) ?? c.var.reply(found)
    },
  )
  .get(
    '/chats',
    about('Read how much was chatted', 'Chats, messages, and what agents answered; tokens where they told.'),
    allow('analytics:read'),
    query(chatsQuery),
    returns(200, ChatAnalytics),
    async (c) => {
      const found = await chatAnalytics(c.var.ctx, c.req.valid('query'))
      return asCsv(c, 'chats', found, c.req.valid('query').group_by) ?? c.var.reply(found)
    },
  )
  .get(
    '/webhooks',
    about('Read what was announced and delivered', 'Events, and what came of their deliveries and attempts.'),
    allow('analytics:read'),
    query(webhooksQuery),
    returns(200, WebhookAnalytics),
    async (c) => {
      const found = await webhookAnalytics(c.var.ctx, c.req.valid('query'))
      return asCsv(c, 'webhooks', found, c.req.valid('query').group_by) ?? c.var.reply(found)
    },
  )
  .get(
    '/interactions',
    about('Read what was said and done', 'Interactions on the day on which they occurred.'),
    allow('analytics:read'),
    query(interactionsQuery),
    returns(200, InteractionAnalytics),
    async (c) => {
      const found = await interactionAnalytics(c.var.ctx, c.req.valid('query'))
      return asCsv(c, 'interactions', found, c.req.valid('query').group_by) ?? c.var.reply(found)
    },
  )

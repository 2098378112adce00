import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, Id, params, query, returns, returnsNothing, returnsPage } from '../../../http/route'
import { allow } from '../../tenancy/authorize'
import { createRule, deleteRule, getRule, listRules, updateRule } from './rules'
import { Alert, AlertRule, alertFilters, CreateRule, ruleFilters, UpdateRule } from './schema'
import { acknowledgeAlert, getAlert, listAlerts } from './service'

const tag = 'Alerts'
const id = params({ id: Id })

export const alertRoutes = new Hono<AppEnv>()
  .post(
    '/rules',
    doc('Make a rule', {
      tag,
      description:
        'Each minute the metric of the last minutes is compared with the threshold. While that is true, one alert lasts.',
      errors: ['conflict'],
    }),
    allow('alerts:write'),
    body(CreateRule, {
      example: {
        ...{ name: 'Too many errors', metric: 'error_rate', comparison: 'gt', threshold: 0.05 },
        window_minutes: 5,
      },
    }),
    returns(201, AlertRule),
    async (c) => c.var.reply(await createRule(c.var.ctx, c.req.valid('json'))),
  )
  .get(
    '/rules',
    doc('List rules, newest first', { tag }),
    allow('alerts:read'),
    query(ruleFilters),
    returnsPage(AlertRule),
    async (c) => c.var.reply(await listRules(c.var.ctx, c.req.valid('query'))),
  )
  .get(
    '/rules/:id',
    doc('Read a rule', { tag }),
    allow('alerts:read'),
    id,
    returns(200, AlertRule),
    async (c) => c.var.reply(await getRule(c.var.ctx, c.req.valid('param').id)),
  )
  .patch(
    '/rules/:id',
    doc('Change a rule', {
      tag,
      description: 'With other terms, or once it is paused, an alert of it is over.',
      errors: ['conflict'],
    }),
    allow('alerts:write'),
    id,
    body(UpdateRule, { example: { threshold: 0.1 } }),
    returns(200, AlertRule),
    async (c) => c.var.reply(await updateRule(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )
  .delete(
    '/rules/:id',
    doc('Delete a rule', {
      tag,
      description: 'An alert of it is over; its alerts stay.',
      errors: ['conflict'],
    }),
    allow('alerts:write'),
    id,
    returnsNothing(),
    async (c) => c.var.reply(await deleteRule(c.var.ctx, c.req.valid('param').id)),
  )
  .get(
    '/',
    doc('List alerts, newest first', { tag }),
    allow('alerts:read'),
    query(alertFilters),
    returnsPage(Alert),
    async (c) => c.var.reply(await listAlerts(c.var.ctx, c.req.valid('query'))),
  )
  .get('/:id', doc('Read an alert', { tag }), allow('alerts:read'), id, returns(200, Alert), async (c) =>
    c.var.reply(await getAlert(c.var.ctx, c.req.valid('param').id)),
  )
  .post(
    '/:id/acknowledge',
    doc('Say that one sees to an alert', {
      tag,
      description: 'Done again, it changes nothing. The alert ends by itself, once what it is about does.',
      errors: ['conflict'],
    }),
    allow('alerts:write'),
    id,
    returns(200, Alert),
    async (c) => c.var.reply(await acknowledgeAlert(c.var.ctx, c.req.valid('param').id)),
  )

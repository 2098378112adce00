import { eq, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { newest } from '../../../data/newest'
import type { Page } from '../../../data/page'
import { find, removal, revise } from '../../../data/revise'
import { defined } from '../../../lib/defined'
import { iso, newId } from '../../../lib/ids'
import { type FieldErrors, problem } from '../../../lib/problem'
import { sayAlerts } from './channel'
import { nextLook } from './clock'
import { endingOf } from './ending'
import type { CreateRule, RuleFilters, UpdateRule } from './schema'
import { type AlertRow, alertRules, alertWatches, type RuleRow } from './table'

/** All of a tenant’s rules are looked at each minute. */
const MOST_RULES = 100
const USUAL_WINDOW = 5

const audited = (row: RuleRow) => {
  const { name, metric, comparison, threshold, resolve_threshold, window_minutes, no_data, status } = row
  return { name, metric, comparison, threshold, resolve_threshold, window_minutes, no_data, status }
}

/** Makes a rule; the first time it is looked at is within the next minute and a half. 409 where there are a hundred. */
export function createRule(ctx: Context, { window_minutes, ...input }: CreateRule): Promise<RuleRow> {
  const now = iso(ctx.now)
  const row: RuleRow = {
    ...{ tenant_id: ctx.tenant.id, id: newId(ctx.now), ...input },
    window_minutes: window_minutes ?? (input.metric === 'credit' ? 1 : USUAL_WINDOW),
    created_by: ctx.principal.id,
    ...{ version: 1, created_at: now, updated_at: now },
  }
  checkTerms(row)
  const others = sql`select count(*) from ${alertRules} where ${eq(alertRules.tenant_id, ctx.tenant.id)}`
  return commit(ctx, {
    statements: [
      {
        holds: sql`(${others}) < ${MOST_RULES}`,
        otherwise: problem('conflict', `There are ${MOST_RULES} rules already; delete one first`),
      },
      ctx.db.insert(alertRules).values(row),
      ...watching(ctx, row),
    ],
    result: row,
    audit: { action: 'alert_rule.create', resource: 'alert_rule', resource_id: row.id, after: audited(row) },
  })
}

/** From when on the tenant’s rules are looked at, where they were not. */
function watching(ctx: Context, { status }: RuleRow) {
  if (status !== 'active') return []
  const row = { tenant_id: ctx.tenant.id, next_at: iso(nextLook(ctx.now)) }
  return [ctx.db.insert(alertWatches).values(row).onConflictDoNothing()]
}

/** Refuses thresholds that the metric can’t have, or by which an alert would end before it began. */
function checkTerms({ metric, comparison, threshold, resolve_threshold, window_minutes }: RuleRow): void {
  const wrong: FieldErrors = {}
  const most = metric === 'error_rate' ? 1 : Number.POSITIVE_INFINITY
  if (threshold > most) wrong.threshold = 'must be at most 1, for an error rate is a part of the requests'
  if (resolve_threshold !== null) {
    const above = comparison === 'gt' || comparison === 'gte'
    if (above && resolve_threshold > threshold)
      wrong.resolve_threshold = 'must be at most the threshold, for the alert is of what is above that'
    if (!above && resolve_threshold < threshold)
      wrong.resolve_threshold = 'must be at least the threshold, for the alert is of what is below that'
    if (resolve_threshold > most) wrong.resolve_threshold = 'must be at most 1'
  }
  if (metric === 'credit' && window_minutes !== 1)
    wrong.window_minutes = 'must be 1 for credit: it is what is left, and no sum of a time'
  if (Object.keys(wrong).length > 0) throw problem.invalid(wrong)
}

/** The tenant’s rules, newest first. */
export function listRules(ctx: Context, { limit, cursor, ...by }: RuleFilters): Promise<Page<RuleRow>> {
  return newest(ctx, alertRules, { limit, cursor }, by)
}

/** One rule; 404. */
export async function getRule(ctx: Context, id: string): Promise<RuleRow> {
  const row = await find(ctx, alertRules, id)
  if (!row) throw problem.notFound('alert rule', id)
  return row
}

/** What an alert was raised by: with other terms it says nothing any more. */
const TERMS = ['metric', 'comparison', 'threshold', 'window_minutes'] as const

/** Changes a rule. Where its terms are others, or it is paused, an alert of it ends. 404, 412, 422. */
export async function updateRule(ctx: Context, id: string, input: UpdateRule): Promise<RuleRow> {
  let ended: AlertRow[] = []
  const row = await revise(ctx, alertRules, 'alert rule', id, async (before) => {
    const set = defined(input)
    const after: RuleRow = { ...before, ...set }
    checkTerms(after)
    const isOther = TERMS.some((name) => after[name] !== before[name])
    const isPaused = before.status === 'active' && after.status === 'paused'
    const end =
      isOther || isPaused ? await endingOf(ctx, id, isPaused ? 'rule_paused' : 'rule_changed') : null
    ended = end?.ended ?? []
    return {
      set,
      statements: [...(end?.statements ?? []), ...watching(ctx, after)],
      audit: {
        action: 'alert_rule.update',
        resource: 'alert_rule',
        resource_id: id,
        before: audited(before),
        after: audited(after),
      },
      events: end?.events ?? [],
    }
  })
  if (ended.length > 0) ctx.defer(sayAlerts(ctx, ended))
  return row
}

/** Deletes a rule; an alert of it ends, those that were stay. 404, 412. */
export async function deleteRule(ctx: Context, id: string): Promise<undefined> {
  const before = await getRule(ctx, id)
  const { ended, statements, events } = await endingOf(ctx, id, 'rule_deleted')
  await commit(ctx, {
    statements: [removal(ctx, alertRules, 'alert rule', id), ...statements],
    result: undefined,
    audit: { action: 'alert_rule.delete', resource: 'alert_rule', resource_id: id, before: audited(before) },
    events,
  })
  if (ended.length > 0) ctx.defer(sayAlerts(ctx, ended))
}

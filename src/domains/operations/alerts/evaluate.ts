import { and, eq, inArray, lt, sql } from 'drizzle-orm'
import { type Change, commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { firstIdAt, iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { sayAlerts } from './channel'
import { endOf, lastEnd, lookAfter, MINUTE_MS } from './clock'
import { ENDED, ending, over, raised } from './ending'
import { measure } from './measure'
import { type AlertRow, alertRules, alerts, alertWatches, type RuleRow } from './table'

/** After an outage, so many minutes are looked at one after the other; what is longer ago no longer. */
const MOST_MINUTES = 15
/** Alerts that are over are kept this long. */
const KEPT_MS = 90 * 24 * 3600_000
const MOST_DROPPED = 500

/** Another has looked at this minute, or a rule was changed meanwhile: what was found is not written. */
const OVERTAKEN = problem('conflict', 'The rules are looked at by another, or have changed')

/**
 * Looks at the tenant's rules, minute by minute, from the one that is due at `nextAt` to the last. What comes of a minute
 * (alerts, their events, and that the minute was looked at) is one batch: a crash repeats the minute or does not, so no
 * alert is raised twice or lost. Throws where what is measured can't be read.
 */
export async function evaluate(ctx: Context, nextAt: string): Promise<void> {
  const last = lastEnd(ctx.now)
  const first = Math.max(endOf(Date.parse(nextAt)), last - (MOST_MINUTES - 1) * MINUTE_MS)
  let stored: string | null = nextAt
  for (let end = first; end <= last && stored !== null; end += MINUTE_MS)
    stored = await lookAt(ctx, end, stored)
}

/** Looks at the minute that ends at `end`; answers when the next is due as it is written now, null where that is over. */
async function lookAt(ctx: Context, end: number, stored: string): Promise<string | null> {
  const [rules, lasting] = await ctx.db.batch([
    ctx.db
      .select()
      .from(alertRules)
      .where(and(eq(alertRules.tenant_id, ctx.tenant.id), eq(alertRules.status, 'active'))),
    ctx.db
      .select()
      .from(alerts)
      .where(and(eq(alerts.tenant_id, ctx.tenant.id), sql`${alerts.resolved_at} is null`))
      .limit(1_000),
  ])
  if (rules.length === 0) return stopWatching(ctx, stored)
  const values = await measure(ctx, rules, end)
  const outcomes = rules.map((rule) => {
    const alert = lasting.find(({ rule_id }) => rule_id === rule.id)
    return outcomeOf(ctx, rule, alert, values.get(rule.id) ?? null)
  })
  const next = iso(lookAfter(end))
  try {
    await commit(ctx, {
      statements: [
        { statement: moveOn(ctx, stored, next), otherwise: OVERTAKEN },
        ...outcomes.flatMap(({ statements }) => statements),
        ...(end % (60 * MINUTE_MS) === 0 ? [dropOld(ctx)] : []),
      ],
      events: outcomes.flatMap(({ events }) => events),
      result: undefined,
    })
  } catch (error) {
    if (error === OVERTAKEN || error === ENDED) return null
    throw error
  }
  const changed = outcomes.flatMap(({ alert }) => alert ?? [])
  if (changed.length > 0) ctx.defer(sayAlerts(ctx, changed))
  return next
}

const watchOf = (ctx: Context, stored: string) =>
  and(eq(alertWatches.tenant_id, ctx.tenant.id), eq(alertWatches.next_at, stored))

const moveOn = (ctx: Context, stored: string, next_at: string) =>
  ctx.db.update(alertWatches).set({ next_at }).where(watchOf(ctx, stored))

/** No rule is active any more; one that becomes so meanwhile stays watched. */
async function stopWatching(ctx: Context, stored: string): Promise<null> {
  const active = and(eq(alertRules.tenant_id, ctx.tenant.id), eq(alertRules.status, 'active'))
  const none = sql`not exists (select 1 from ${alertRules} where ${active})`
  await commit(ctx, {
    statements: [ctx.db.delete(alertWatches).where(and(watchOf(ctx, stored), none))],
    result: undefined,
  })
  return null
}

type Outcome = Required<Pick<Change<unknown>, 'statements' | 'events'>> & { alert?: AlertRow }

/** What a rule's metric means: an alert begins, ends, or nothing changes. */
function outcomeOf(
  ctx: Context,
  rule: RuleRow,
  lasting: AlertRow | undefined,
  value: number | null,
): Outcome {
  const { threshold, resolve_threshold } = rule
  if (lasting) {
    const lasts =
      value === null ? rule.no_data === 'keep' : isTrue(rule, value, resolve_threshold ?? threshold)
    if (lasts) return { statements: [], events: [] }
    const alert = over(ctx, lasting, value === null ? 'no_data' : 'recovered', value)
    return { alert, ...ending(ctx, alert) }
  }
  if (value === null || !isTrue(rule, value, threshold)) return { statements: [], events: [] }
  const alert = newAlert(ctx, rule, value)
  return {
    alert,
    statements: [asRead(ctx, rule), ctx.db.insert(alerts).values(alert)],
    events: [raised(alert)],
  }
}

function isTrue({ comparison }: RuleRow, value: number, threshold: number): boolean {
  switch (comparison) {
    case 'gt':
      return value > threshold
    case 'gte':
      return value >= threshold
    case 'lt':
      return value < threshold
    case 'lte':
      return value <= threshold
  }
}

/** The rule stands as it was measured: one that was changed, paused or deleted meanwhile raises nothing. */
function asRead(ctx: Context, { id, version }: RuleRow) {
  const mine = and(
    eq(alertRules.tenant_id, ctx.tenant.id),
    eq(alertRules.id, id),
    eq(alertRules.version, version),
  )
  return { holds: sql`exists (select 1 from ${alertRules} where ${mine})`, otherwise: OVERTAKEN }
}

function newAlert(ctx: Context, rule: RuleRow, value: number): AlertRow {
  const { name, metric, comparison, threshold, window_minutes } = rule
  return {
    ...{ tenant_id: ctx.tenant.id, id: newId(ctx.now), rule_id: rule.id },
    ...{ name, metric, comparison, threshold, window_minutes, value, status: 'open' },
    ...{ acknowledged_at: null, acknowledged_by: null },
    ...{ resolved_at: null, resolved_value: null, resolution: null },
    ...{ version: 1, created_at: iso(ctx.now), updated_at: iso(ctx.now) },
  }
}

/** Drops alerts that were over long ago; the next hour takes the next. */
function dropOld(ctx: Context) {
  const old = and(eq(alerts.tenant_id, ctx.tenant.id), lt(alerts.id, firstIdAt(ctx.now - KEPT_MS)))
  const some = ctx.db
    .select({ id: alerts.id })
    .from(alerts)
    .where(and(old, sql`+${alerts.resolved_at} is not null`))
    .limit(MOST_DROPPED)
  return ctx.db.delete(alerts).where(and(eq(alerts.tenant_id, ctx.tenant.id), inArray(alerts.id, some)))
}

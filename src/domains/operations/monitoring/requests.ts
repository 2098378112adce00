import type { Context } from '../../../data/context'
import { categoryOf } from '../../../data/metrics'
import { iso } from '../../../lib/ids'
import { percentile } from '../../metering/usage/latency'
import { notedRequests, percentiles, usageGroups } from '../../metering/usage/service'
import { addStat, emptyStat, type Stat } from '../../metering/usage/stat'

// What the tenant's requests of the last minutes came to, from its Meter's minutes: the present second among them.

const MINUTE_MS = 60_000
const MOST_ENDPOINTS = 50
const MOST_RECENT = 20
/** Beyond this trends are by the hour. */
const BY_MINUTE = 180
/** Slower than this is noted (metering/usage). */
const SLOW_MS = 1_000

type Span = { from: number; to: number }

/** The last minutes, the one that runs among them. */
const lastMinutes = (ctx: Context, minutes: number): Span => ({
  from: (Math.floor(ctx.now / MINUTE_MS) - minutes + 1) * MINUTE_MS,
  to: ctx.now + 1,
})

const shownSpan = ({ from, to }: Span) => ({ from: iso(from), to: iso(to - 1) })

/** Of some requests: rounded to a ten-thousandth, null without any. */
const rateOf = (some: number, all: number): number | null =>
  all === 0 ? null : Math.round((some / all) * 10_000) / 10_000

function together(stats: readonly Stat[]): Stat {
  const sum = emptyStat()
  for (const stat of stats) addStat(sum, stat)
  return sum
}

/** By status, and all of it in one. */
async function byStatus(ctx: Context, { from, to }: Span) {
  const groups = await usageGroups(ctx, 'status', from, to)
  const statuses = groups.map(({ group, stat }) => ({ status: Number(group), requests: stat.requests }))
  const all = together(groups.map(({ stat }) => stat))
  const of = (is: (status: number) => boolean) =>
    statuses.reduce((sum, { status, requests }) => sum + (is(status) ? requests : 0), 0)
  return { statuses, all, of }
}

/** What the requests of the last minutes came to altogether. */
export async function requestsLately(ctx: Context, minutes: number) {
  const { all, of } = await byStatus(ctx, lastMinutes(ctx, minutes))
  return {
    window_minutes: minutes,
    requests: all.requests,
    errors: all.errors,
    server_errors: of((status) => status >= 500),
    refused: of((status) => status === 429),
    error_rate: rateOf(all.errors, all.requests),
    latency_ms: percentiles(all.latency),
  }
}

/** Which requests of the last minutes failed, and how. */
export async function errorsLately(ctx: Context, minutes: number) {
  const span = lastMinutes(ctx, minutes)
  const [{ statuses, all, of }, endpoints, recent] = await Promise.all([
    byStatus(ctx, span),
    usageGroups(ctx, 'endpoint', span.from, span.to),
    noted(ctx, span, ({ status }) => status >= 400),
  ])
  const failed = statuses.filter(({ status }) => status >= 400)
  const by_category: Record<string, number> = {}
  for (const { status, requests } of failed) {
    const category = categoryOf(status)
    if (category) by_category[category] = (by_category[category] ?? 0) + requests
  }
  return {
    ...shownSpan(span),
    ...{ requests: all.requests, errors: all.errors, server_errors: of((status) => status >= 500) },
    error_rate: rateOf(all.errors, all.requests),
    by_category,
    by_status: failed,
    by_endpoint: endpoints
      .filter(({ stat }) => stat.errors > 0)
      .sort((a, b) => b.stat.errors - a.stat.errors)
      .slice(0, MOST_ENDPOINTS)
      .map(({ group, stat: { requests, errors } }) => ({
        ...endpointOf(group),
        ...{ requests, errors, error_rate: rateOf(errors, requests) },
      })),
    recent,
  }
}

/** How long the requests of the last minutes took. */
export async function latencyLately(ctx: Context, minutes: number) {
  const span = lastMinutes(ctx, minutes)
  const [times, endpoints, recent] = await Promise.all([
    usageGroups(ctx, minutes <= BY_MINUTE ? 'minute' : 'hour', span.from, span.to),
    usageGroups(ctx, 'endpoint', span.from, span.to),
    noted(ctx, span, ({ latency_ms }) => latency_ms >= SLOW_MS),
  ])
  const all = together(endpoints.map(({ stat }) => stat))
  return {
    ...shownSpan(span),
    requests: all.requests,
    latency_ms: percentiles(all.latency),
    steps: times.map(({ group, stat }) => ({
      at: iso(Number(group)),
      requests: stat.requests,
      latency_ms: percentiles(stat.latency),
    })),
    by_endpoint: endpoints
      .filter(({ stat }) => stat.requests > 0)
      .map((one) => ({ ...one, p95: percentile(one.stat.latency, 0.95) ?? 0 }))
      .sort((a, b) => b.p95 - a.p95)
      .slice(0, MOST_ENDPOINTS)
      .map(({ group, stat: { requests, latency } }) => ({
        ...endpointOf(group),
        ...{ requests, latency_ms: percentiles(latency) },
      })),
    recent,
  }
}

/** `GET /api/v1/chats/:id`, or what stands for all that were too many. */
function endpointOf(group: number | string): { method: string | null; endpoint: string } {
  const [, method = null, endpoint = String(group)] = /^(\S+) (.*)$/.exec(String(group)) ?? []
  return { method, endpoint }
}

type Noted = Awaited<ReturnType<typeof notedRequests>>['items'][number]

async function noted(ctx: Context, { from }: Span, isMeant: (request: Noted) => boolean): Promise<Noted[]> {
  const { items } = await notedRequests(ctx, { limit: 100 })
  return items.filter((one) => Date.parse(one.ts) >= from && isMeant(one)).slice(0, MOST_RECENT)
}

import type { Context } from '../../../data/context'
import { withinLimit } from '../../../data/metrics'
import { meterOf } from '../../../data/objects'
import { type Page, pageOf } from '../../../data/page'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { tenantLimiter } from '../isolate'
import { archivedParts, archivedTimes } from './archive'
import { type GroupBy, isTime, type UsageGroup } from './book'
import { type Latencies, percentile } from './latency'
import { PUBLIC, USERS } from './line'
import { dayBefore, earliest, type Span, spansOf } from './plan'
import type { NotedRequest, UsageQuery, UsageRow } from './schema'
import { addStat, OTHERS, type Stat } from './stat'

/** Nobody waits longer for the Meter. */
const PATIENCE_MS = 5_000

/** What the tenant's requests came to, group by group: times in order, the rest by how many requests they had. */
export async function usage(ctx: Context, input: UsageQuery): Promise<UsageRow[]> {
  const by = input.group_by === 'api_key' ? 'caller' : input.group_by
  const { from, to } = spanAsked(by, input, ctx.now)
  const groups = await usageGroups(ctx, by, from, to)
  return groups.map(({ group, stat }) => ({ ...named(by, group), ...shown(stat) }))
}

/** The same as it is added up, for whoever goes on reckoning; what is before minutes or hours are kept has none. */
export async function usageGroups(
  ctx: Context,
  by: GroupBy,
  from: number,
  to: number,
): Promise<UsageGroup[]> {
  const spans = spansOf(by, from, to, ctx.now)
  if (spans.some(({ source }) => source === 'meter')) await settle(ctx)
  const parts = await Promise.all(spans.map((span) => read(ctx, by, span)))
  const groups = merged(parts.flat())
  if (isTime(by)) return groups.sort((a, b) => Number(a.group) - Number(b.group))
  return groups.sort((a, b) => b.stat.requests - a.stat.requests || (a.group < b.group ? -1 : 1))
}

/** What the requests of each of these times came to, to the minute; of the last seven days. */
export async function usageTotals(
  ctx: Context,
  spans: readonly { from: number; to: number }[],
): Promise<Stat[]> {
  await settle(ctx)
  return ask(ctx, (meter) => meter.usageTotals(spans))
}

/** Failed and slow requests of the last 24 hours, newest first. */
export async function notedRequests(
  ctx: Context,
  input: { limit: number; cursor?: string | undefined },
): Promise<Page<NotedRequest & { id: string }>> {
  if (input.cursor === undefined) await settle(ctx)
  return pageOf(`usage_requests:${ctx.tenant.id}`, input, async (after, limit) => {
    const before = after ? Number(after.id) : null
    const found = await ask(ctx, (meter) => meter.usageSamples(before, limit))
    return found.map(({ id, at, caller, ...sample }) => ({
      ...sample,
      id: String(id),
      ts: iso(at),
      api_key_id: keyOf(caller),
    }))
  })
}

function spanAsked(by: GroupBy, input: UsageQuery, now: number): { from: number; to: number } {
  // The present moment belongs to it.
  const to = input.to === undefined ? now + 1 : Date.parse(input.to)
  const from = input.from === undefined ? dayBefore(by, to) : Date.parse(input.from)
  const named = input.from === undefined ? 'to' : 'from'
  if (from >= to) throw problem.invalid({ from: `must be before ${input.to === undefined ? 'now' : 'to'}` })
  const first = earliest(by, now)
  if (from < first)
    throw problem.invalid({
      [named]: `must be later: ${by}s are kept since ${iso(first)}; group by day instead`,
    })
  return { from, to }
}

/** Brings what this isolate has measured to the Meter, so that the last seconds are counted. */
const settle = (ctx: Context) => tenantLimiter(ctx.env, ctx.tenant.id).settleUsage(ctx.defer)

type MeterStub = Awaited<ReturnType<typeof meterOf>>

async function ask<T>(ctx: Context, question: (meter: MeterStub) => Promise<T>): Promise<T> {
  try {
    return await withinLimit(meterOf(ctx.env, ctx.tenant.id).then(question), PATIENCE_MS)
  } catch (error) {
    throw problem('service_unavailable', 'Usage can’t be read at the moment', {
      headers: { 'Retry-After': '5' },
      cause: error,
    })
  }
}

function read(ctx: Context, by: GroupBy, { source, from, to }: Span): Promise<UsageGroup[]> {
  if (source === 'meter') return ask(ctx, (meter) => meter.usageGroups(by, from, to))
  return isTime(by) ? archivedTimes(ctx, source, from, to) : archivedParts(ctx, source, by, from, to)
}

function merged(groups: UsageGroup[]): UsageGroup[] {
  const found = new Map<number | string, UsageGroup>()
  for (const { group, stat } of groups) {
    const before = found.get(group)
    if (before) addStat(before.stat, stat)
    else found.set(group, { group, stat })
  }
  return [...found.values()]
}

/** The fields that say which group it is. */
function named(by: GroupBy, group: number | string): Partial<UsageRow> {
  const name = String(group)
  const space = name.indexOf(' ')
  switch (by) {
    case 'minute':
    case 'hour':
    case 'day':
      return { [by]: iso(Number(group)) }
    case 'status':
      return { status: Number(group) }
    case 'caller':
      return { api_key_id: keyOf(name), principal: principalOf(name) }
    case 'endpoint':
      return space < 0
        ? { endpoint: name }
        : { endpoint: name.slice(space + 1), method: name.slice(0, space) }
  }
}

/** The callers that are no API key, by what a row says of them. */
const NO_KEY = { [USERS]: 'user', [PUBLIC]: 'public', [OTHERS]: 'others' } as const

const nameOf = (caller: string) =>
  Object.hasOwn(NO_KEY, caller) ? NO_KEY[caller as keyof typeof NO_KEY] : null
const keyOf = (caller: string): string | null => (nameOf(caller) === null ? caller : null)
const principalOf = (caller: string) => nameOf(caller) ?? 'api_key'

function shown({ requests, errors, request_size_bytes, response_size_bytes, latency, answers }: Stat) {
  const sizes = { request_size_bytes, response_size_bytes }
  const counted = { requests, errors, latency_ms: percentiles(latency), ...sizes }
  if (!answers) return counted
  const { time_to_first_token, duration, ...tokens } = answers
  const times = {
    time_to_first_token_ms: percentiles(time_to_first_token),
    duration_ms: percentiles(duration),
  }
  return { ...counted, answers: { ...tokens, ...times } }
}

/** What an answer took, as it is shown. */
export const percentiles = (latency: Latencies) => ({
  p50: percentile(latency, 0.5),
  p95: percentile(latency, 0.95),
  p99: percentile(latency, 0.99),
})

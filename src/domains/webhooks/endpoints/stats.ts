import { type SQL, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { percentile } from '../../metering/usage/latency'
import { deliveries } from '../deliveries/table'
import { addCounts, type Counts, HOUR_MS, noCounts } from '../deliveries/tally'
import { senderOf } from '../deliveries/wake'
import { existing } from './service'
import type { EndpointStats, StatsOf } from './stats-schema'

/** How many steps of how many hours each period has. */
const STEPS = { day: [24, 1], week: [168, 1], month: [30, 24] } as const

/** Each row that is counted is read: so many, and it costs the same however much waits. */
const MOST_COUNTED = 100

/** What an endpoint's attempts came to in a period, and what waits for it now. Costs the same, however much it was sent. */
export async function statsOf(ctx: Context, id: string, { period }: StatsOf): Promise<EndpointStats> {
  await existing(ctx, id)
  const [count, hours] = STEPS[period]
  const current = Math.floor(ctx.now / HOUR_MS)
  const last = current - (current % hours)
  const first = last - (count - 1) * hours
  const [kept, waiting] = await Promise.all([tallied(ctx, id, first), waitingFor(ctx, id)])
  const steps = Array.from({ length: count }, noCounts)
  const all = noCounts()
  for (const { hour, counts } of kept) {
    addCounts(all, counts)
    const step = steps[Math.floor((hour - first) / hours)]
    if (step) addCounts(step, counts)
  }
  return {
    ...{ period, since: timeOf(first), ...shown(all), waiting, outcomes: all.outcomes },
    steps: steps.map((counts, i) => ({ since: timeOf(first + i * hours), ...shown(counts) })),
  }
}

/** How many attempts of an endpoint worked and failed in a time, by the hours that it touches, and what waits now. */
export async function attemptsBetween(ctx: Context, id: string, since: number, until: number) {
  const [from, to] = [Math.floor(since / HOUR_MS), Math.floor(until / HOUR_MS)]
  const [kept, waiting] = await Promise.all([tallied(ctx, id, from), waitingFor(ctx, id)])
  const all = noCounts()
  for (const { hour, counts } of kept) if (hour <= to) addCounts(all, counts)
  return { succeeded: all.succeeded, failed: all.attempts - all.succeeded, waiting }
}

const timeOf = (hour: number) => iso(hour * HOUR_MS)

const shown = ({ attempts, succeeded, delivered, failed, exhausted, latency }: Counts) => ({
  attempts,
  succeeded,
  success_rate: attempts === 0 ? null : Math.round((succeeded / attempts) * 10_000) / 10_000,
  deliveries: { delivered, failed, exhausted },
  latency_ms: {
    p50: percentile(latency, 0.5),
    p95: percentile(latency, 0.95),
    p99: percentile(latency, 0.99),
  },
})

async function tallied(ctx: Context, endpoint_id: string, first: number) {
  const sender = await senderOf(ctx.env, { tenant_id: ctx.tenant.id, endpoint_id })
  return sender.tallied(first).catch((cause: unknown) => {
    throw problem('service_unavailable', 'The statistics can’t be read just now', { cause })
  })
}

/** The states are spelled out, so that SQLite sees that the partial indexes serve. */
async function waitingFor(ctx: Context, endpointId: string): Promise<EndpointStats['waiting']> {
  const count = (status: SQL) => sql<number>`(select count(*) from (
    select 1 from ${deliveries} where ${deliveries.tenant_id} = ${ctx.tenant.id}
      and ${deliveries.endpoint_id} = ${endpointId} and ${deliveries.status} = ${status} limit ${MOST_COUNTED}))`
  const [row] = await ctx.db
    .select({
      pending: count(sql.raw(`'pending'`)).as('pending'),
      held: count(sql.raw(`'held'`)).as('held'),
    })
    .from(sql`(select 1)`)
  return { pending: row?.pending ?? 0, held: row?.held ?? 0 }
}

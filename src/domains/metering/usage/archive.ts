import { and, asc, eq, gte, lt, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { slices } from '../../../data/insert-rows'
import { iso } from '../../../lib/ids'
import { DAY_MS, floorTo, HOUR_MS, type UsageGroup } from './book'
import { addStat, emptyStat, PARTS, type Part, type Stat } from './stat'
import type { Totals } from './store'
import { usageLogs } from './table'

/** Hours are kept this long in D1, days for ever (limits.md). */
export const HOURS_ARCHIVED_MS = 90 * DAY_MS

export type ArchivedGrain = 'hour' | 'day'

/** A time as it is written to D1. */
export type Archived = { grain: ArchivedGrain; at: number; totals: Totals }

/** Writes what times came to, in place of what was written of them before: however often it is repeated, it counts once. */
export async function archive(ctx: Context, times: Archived[]): Promise<void> {
  const rows = times.flatMap(rowsOf).map((row) => JSON.stringify(row))
  for (const slice of slices(rows))
    await commit(ctx, { statements: [upsert(ctx, `[${slice.join(',')}]`)], result: undefined })
}

type Row = readonly [
  grain: ArchivedGrain,
  part: Part | 'total',
  started_at: string,
  name: string,
  requests: number,
  errors: number,
  request_size_bytes: number,
  response_size_bytes: number,
  latency: string,
  answers: string | null,
]

function rowsOf({ grain, at, totals }: Archived): Row[] {
  const row = (part: Part | 'total', name: string, stat: Stat): Row => {
    const { requests, errors, request_size_bytes, response_size_bytes, latency, answers } = stat
    const sizes = [request_size_bytes, response_size_bytes] as const
    const answered = answers ? JSON.stringify(answers) : null
    return [grain, part, iso(at), name, requests, errors, ...sizes, JSON.stringify(latency), answered]
  }
  const parts = PARTS.flatMap((part) =>
    Object.entries(totals.parts[part]).map(([name, stat]) => row(part, name, stat)),
  )
  return [row('total', '', totals.total), ...parts]
}

/** Not async: awaiting a Drizzle statement would run it outside the batch. */
function upsert(ctx: Context, rows: string) {
  const field = (place: number) => sql`json_extract(counted.value, ${sql.raw(`'$[${place}]'`)})`
  return ctx.db
    .insert(usageLogs)
    .select(
      sql`select ${ctx.tenant.id}, ${field(0)}, ${field(1)}, ${field(2)}, ${field(3)}, ${field(4)}, ${field(5)}, ${field(6)}, ${field(7)}, ${field(8)}, ${field(9)}
        from json_each(${rows}) as counted where true`,
    )
    .onConflictDoUpdate({
      target: [usageLogs.tenant_id, usageLogs.grain, usageLogs.part, usageLogs.started_at, usageLogs.name],
      set: {
        requests: sql`excluded.requests`,
        errors: sql`excluded.errors`,
        request_size_bytes: sql`excluded.request_size_bytes`,
        response_size_bytes: sql`excluded.response_size_bytes`,
        latency: sql`excluded.latency`,
        answers: sql`excluded.answers`,
      },
    })
}

/** The totals of each hour or day from `from` on and before `to`, in order. */
export async function archivedTimes(
  ctx: Context,
  grain: ArchivedGrain,
  from: number,
  to: number,
): Promise<UsageGroup[]> {
  const rows = await read(ctx, grain, 'total', from, to)
  return rows.map((row) => ({ group: Date.parse(row.started_at), stat: row }))
}

/** The requests of those hours or days by one of their parts. */
export async function archivedParts(
  ctx: Context,
  grain: ArchivedGrain,
  part: Part,
  from: number,
  to: number,
): Promise<UsageGroup[]> {
  const found = new Map<string, Stat>()
  for (const row of await read(ctx, grain, part, from, to)) {
    const stat = found.get(row.name) ?? emptyStat()
    addStat(stat, row)
    found.set(row.name, stat)
  }
  return [...found].map(([group, stat]) => ({ group, stat }))
}

function read(ctx: Context, grain: ArchivedGrain, part: Part | 'total', from: number, to: number) {
  return ctx.db
    .select()
    .from(usageLogs)
    .where(
      and(
        eq(usageLogs.tenant_id, ctx.tenant.id),
        eq(usageLogs.grain, grain),
        eq(usageLogs.part, part),
        gte(usageLogs.started_at, iso(from)),
        lt(usageLogs.started_at, iso(to)),
      ),
    )
    .orderBy(asc(usageLogs.started_at))
}

/** Drops the tenant's hours that were kept for as long as was promised. */
export async function dropOldHours(ctx: Context): Promise<void> {
  const statements = (['total', ...PARTS] as const).map((part) =>
    ctx.db
      .delete(usageLogs)
      .where(
        and(
          eq(usageLogs.tenant_id, ctx.tenant.id),
          eq(usageLogs.grain, 'hour'),
          eq(usageLogs.part, part),
          lt(usageLogs.started_at, iso(floorTo(HOUR_MS, ctx.now - HOURS_ARCHIVED_MS))),
        ),
      ),
  )
  await commit(ctx, { statements, result: undefined })
}

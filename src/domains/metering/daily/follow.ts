import { type SQL, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { directory } from '../../../data/database'
import { onSweep } from '../../../data/sweeping'
import { bareTenant, systemContext } from '../../../data/system'
import type { Bindings } from '../../../env'
import { dailyCounts, followers } from './table'

// What tenants have on a day is counted from the rows themselves, in the order of their commit and over all tenants at
// once: so a post writes no row for it, and what is counted is exact, whenever a crash comes. Each table that is counted
// is declared by who keeps it.

/** What is counted of a table's rows, each an SQL expression of its row `r`. */
export type Part = {
  metric: string
  /** Under which name; a row where it is null does not count. */
  name: SQL
  /** Only rows of which this holds. */
  where?: SQL
  /** All names together count as this metric too. */
  total?: string
}

/** A table whose rows are counted by day. */
export type Counted = {
  table: string
  /** The day that a row counts on, `2026-01-31`. */
  day: SQL
  parts: readonly Part[]
}

const all = new Map<string, Counted>()

/** Has a table's rows counted by day, each when it is committed. */
export function countedDaily(counted: Counted): void {
  all.set(counted.table, counted)
}

/** Rows that one batch looks at, and batches of one call; what is left is for the next. */
const ROWS = 5_000
const BATCHES = 10

/** How far a follower of that name has come. */
export const positionOf = (name: string): SQL<number> =>
  sql`coalesce((select f.seq from followers as f where f.name = ${name}), 0)`

/** Moves a follower on to `seq`; it belongs in the batch of what was made of the rows up to there. Not async. */
export const moveOn = (env: Bindings, name: string, seq: SQL<number>) =>
  directory(env)
    .insert(followers)
    .select(sql`select ${name}, ${seq}`)
    .onConflictDoUpdate({ target: followers.name, set: { seq: sql`excluded.seq` } })

/** The last row of what follows `ROWS` at a time: never before the position, where the last rows were deleted. */
export const nextEnd = (name: string, table: string, rows: number): SQL<number> => {
  const at = positionOf(name)
  return sql`max(${at}, min(${at} + ${rows}, coalesce((select max(seq) from ${sql.raw(table)}), 0)))`
}

/** What is to be written over all tenants, as work that nobody asked for. */
export const overAllTenants = (env: Bindings, worker: string): Context =>
  systemContext(env, bareTenant(''), worker, () => undefined)

/** Counts what was committed since the last time; answers with whether that is all. */
export async function countDaily(env: Bindings): Promise<boolean> {
  for (let batch = 0; batch < BATCHES; batch++) {
    const behind = await tablesBehind(env)
    if (behind.length === 0) return true
    for (const counted of behind) await countSome(env, counted)
  }
  return (await tablesBehind(env)).length === 0
}

/** Counts what there is; answers until when all that was committed is counted, which is now but for a backlog. */
export async function countedUntil(env: Bindings, now: number): Promise<number> {
  if (await countDaily(env)) return now
  const firsts = (await tablesBehind(env)).map(async ({ table }) => {
    const at = positionOf(followerOf(table))
    const row = await directory(env).get<{ id: string } | undefined>(
      sql`select id from ${sql.raw(table)} where seq > ${at} order by seq limit 1`,
    )
    return row ? timeOfId(row.id) : now
  })
  return Math.min(now, ...(await Promise.all(firsts)))
}

/** When a row was made, by the UUIDv7 at the end of its id. */
const timeOfId = (id: string) => Number.parseInt(id.slice(-36).replaceAll('-', '').slice(0, 12), 16)

/** The tables that have rows which are not counted. */
async function tablesBehind(env: Bindings): Promise<Counted[]> {
  const tables = [...all.values()]
  if (tables.length === 0) return []
  const columns = tables.map(
    ({ table }) =>
      sql`(select max(seq) from ${sql.raw(table)}) > ${positionOf(followerOf(table))} as ${sql.raw(table)}`,
  )
  const row = await directory(env).get<Record<string, number>>(sql`select ${sql.join(columns, sql`, `)}`)
  return tables.filter(({ table }) => row[table] === 1)
}

const followerOf = (table: string) => `daily.${table}`

/** One batch is one transaction: the position that it reads is the one that it moves, whoever else counts meanwhile. */
async function countSome(env: Bindings, { table, day, parts }: Counted): Promise<void> {
  const follower = followerOf(table)
  await commit(overAllTenants(env, 'daily'), {
    statements: [
      ...parts.map((part) => countPart(env, table, day, part)),
      moveOn(env, follower, nextEnd(follower, table, ROWS)),
    ],
    result: undefined,
  })
}

function countPart(env: Bindings, table: string, day: SQL, { metric, name, where, total }: Part) {
  const at = positionOf(followerOf(table))
  const totals = sql`union all select tenant_id, ${total ?? ''}, day, '', sum(n) from counted group by tenant_id, day`
  return directory(env)
    .insert(dailyCounts)
    .select(
      sql`with counted as materialized (
          select r.tenant_id as tenant_id, ${day} as day, ${name} as name, count(*) as n
          from ${sql.raw(table)} as r
          where r.seq > ${at} and r.seq <= ${at} + ${ROWS} and ${where ?? sql`true`} and ${name} is not null
          group by 1, 2, 3)
        select tenant_id, ${metric}, day, name, n from counted where true ${total === undefined ? sql`` : totals}`,
    )
    .onConflictDoUpdate({
      target: [dailyCounts.tenant_id, dailyCounts.metric, dailyCounts.day, dailyCounts.name],
      set: { n: sql`${dailyCounts.n} + excluded.n` },
    })
}

onSweep('daily_counts_behind', async (env) => ((await countDaily(env)) ? 0 : 1))

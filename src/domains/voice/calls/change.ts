import { and, eq, getTableColumns, type SQL, sql } from 'drizzle-orm'
import type { SQLiteColumn } from 'drizzle-orm/sqlite-core'
import type { Change, NewEvent } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { insertRows, slices } from '../../../data/insert-rows'
import { iso } from '../../../lib/ids'
import { bookedEach, lastTransaction } from '../../billing/ledger'
import { eventOf } from '../../events/catalogue'
import { type Consequence, OVERTAKEN } from '../../webhooks/incoming/heard'
import { sayCalls } from './channel'
import { atEnds } from './ends'
import type { CallReport, Turn } from './port'
import { referenceOf } from './price'
import { type CallRow, calls, callTurns } from './table'
import { dueNext, hasEnded, transition } from './transition'

/** What becomes of a call: what is said of it, and what else is to be set. */
export type CallChange = {
  call: CallRow
  report?: CallReport
  set?: Partial<CallRow>
  /** Credits that are held besides. */
  reserve?: number
  /** Whether its provider was just asked how it stands: then it is not due before that may have changed. */
  looked?: true
  statements?: Change<unknown>['statements']
}

type Entry = Parameters<typeof bookedEach>[1][number]
type Decided = {
  before: CallRow
  row: CallRow
  turns: Turn[]
  started: boolean
  ended: boolean
  reserve: number
}

/**
 * What is to be written where a provider says something of a call: its transition with its events, its turns, its
 * transactions and what follows from its end. Null where it is nothing new. The batch is refused with `OVERTAKEN` where
 * the call has changed since it was read.
 */
export async function applied(ctx: Context, call: CallRow, report: CallReport): Promise<Consequence | null> {
  const { rows, ...change } = await appliedEach(ctx, [{ call, report }])
  return rows.length === 0 ? null : change
}

/** The same for what becomes of many calls, in one batch; `rows` are those that change, as they will stand. */
export async function appliedEach(
  ctx: Context,
  changes: readonly CallChange[],
): Promise<Required<Omit<Consequence, 'audit' | 'unique' | 'tell'>> & { rows: CallRow[] }> {
  const decided = await paid(
    ctx,
    changes.flatMap((change) => decide(ctx, change) ?? []),
  )
  const ended = decided.flatMap(({ ended, row }) => (ended ? row : []))
  const follows = await atEnds(ctx, ended)
  const rows = decided.map(({ row }) => row)
  return {
    rows,
    statements: [
      ...changed(ctx, rows),
      ...insertRows(ctx, callTurns, decided.flatMap(turnRows), { known: 'kept' }),
      ...bookedEach(ctx, decided.flatMap(entriesOf)),
      ...changes.flatMap(({ statements }) => statements ?? []),
      ...follows.flatMap(({ statements }) => statements ?? []),
    ],
    events: [...decided.flatMap(eventsOf), ...follows.flatMap(({ events }) => events ?? [])],
    after: () =>
      Promise.all([
        sayCalls(
          ctx,
          decided.map(({ row, turns }) => ({ row, turns })),
        ),
        ...follows.map(({ after }) => after?.()),
      ]),
  }
}

function decide(ctx: Context, change: CallChange): Decided | null {
  const { call, report = {}, set = {}, reserve = 0, looked = false } = change
  const next = transition(call, report, ctx.now)
  if (!next && Object.keys(set).length === 0 && !looked) return null
  const row = { ...call, ...next?.set, ...set, version: call.version + 1, updated_at: iso(ctx.now) }
  row.reserved += reserve
  if (next?.ended && row.hang_up) row.next_at = iso(ctx.now)
  if (looked && !hasEnded(row))
    Object.assign(row, { failures: 0, next_at: iso(dueNext(row, ctx.now, report)) })
  return {
    ...{ before: call, row, reserve, turns: next?.turns ?? [] },
    ...{ started: next?.started ?? false, ended: next?.ended ?? false },
  }
}

/** What a call cost beyond what was held for it is charged as far as there is credit; the rest is not. */
async function paid(ctx: Context, decided: Decided[]): Promise<Decided[]> {
  const over = ({ ended, row }: Decided) => (ended ? Math.max(0, (row.cost ?? 0) - row.reserved) : 0)
  if (decided.every((one) => over(one) === 0)) return decided.map(released)
  let left = (await lastTransaction(ctx))?.balance_after ?? 0
  return decided.map((one) => {
    const more = Math.min(over(one), left)
    left -= more
    const cost = one.ended ? Math.min(one.row.cost ?? 0, one.row.reserved + more) : one.row.cost
    return released({ ...one, row: { ...one.row, cost } })
  })
}

const released = (one: Decided): Decided => (one.ended ? { ...one, row: { ...one.row, reserved: 0 } } : one)

/** What was held is given back before what the call cost is taken of it. */
function entriesOf({ before, row, ended, reserve }: Decided): Entry[] {
  if (reserve > 0)
    return [{ kind: 'reserve', amount: -reserve, reference: referenceOf(row.id, row.extensions) }]
  if (!ended) return []
  const reference = referenceOf(row.id)
  const all: Entry[] = [
    { kind: 'release', amount: before.reserved, reference },
    { kind: 'spend', amount: -(row.cost ?? 0), reference },
  ]
  return all.filter(({ amount }) => amount !== 0)
}

const turnRows = ({ row, turns }: Decided) =>
  turns.map((turn) => ({ tenant_id: row.tenant_id, call_id: row.id, ...turn }))

type Ended = 'completed' | 'failed' | 'no_answer'

function eventsOf({ row, started, ended }: Decided): NewEvent[] {
  const { id: call_id, agent_id, campaign_id, contact_id, to, from, status, started_at, metadata } = row
  const about = { call_id, agent_id, campaign_id, contact_id, to, from, metadata }
  const { ended_at, duration_seconds, cost, ended_reason } = row
  return [
    ...(started && started_at !== null ? [eventOf('call.started', { ...about, started_at })] : []),
    ...(ended && ended_at !== null
      ? [
          eventOf('call.ended', {
            ...{ ...about, status: status as Ended, started_at, ended_at },
            ...{ duration_seconds: duration_seconds ?? 0, cost: cost ?? 0, ended_reason: ended_reason ?? '' },
          }),
        ]
      : []),
  ]
}

/** What of a call never changes, and what who listens sets by itself. */
const FIXED = new Set(['tenant_id', 'id', 'agent_id', 'campaign_id', 'contact_id', 'to', 'from', 'metadata'])
for (const name of ['provider', 'credits_per_minute', 'max_duration_seconds', 'watched'] as const)
  FIXED.add(name)
for (const name of ['created_by', 'created_at'] as const) FIXED.add(name)

/**
 * The statements that write rows as they will stand, provided that none has changed since it was read. Each slice is one
 * statement, whatever the number of rows.
 */
function changed(ctx: Context, rows: readonly CallRow[]): Change<unknown>['statements'] {
  const columns = Object.entries(getTableColumns(calls) as Record<string, SQLiteColumn>)
  const changing = columns.filter(([name]) => !FIXED.has(name))
  const set = Object.fromEntries(
    changing.map(([name]): [string, SQL] => [name, sql`json_extract(j.value, ${sql.raw(`'$.${name}'`)})`]),
  )
  const printed = rows.map((row) => {
    const values = changing.map(([name]) => [name, row[name as keyof CallRow]])
    return JSON.stringify(Object.fromEntries(values))
  })
  let at = 0
  return slices(printed).flatMap((slice) => {
    const ids = rows.slice(at, at + slice.length).map(({ id }) => id)
    at += slice.length
    return [
      ctx.db
        .update(calls)
        .set(set)
        .from(sql`json_each(${`{${ids.map((id, i) => `"${id}":${slice[i]}`).join(',')}}`}) as j`)
        .where(
          and(
            eq(calls.tenant_id, ctx.tenant.id),
            // Said besides, or all of the tenant's calls are gone through.
            sql`${calls.id} in (select value from json_each(${JSON.stringify(ids)}))`,
            sql`j.key = ${calls.id}`,
            eq(calls.version, sql`json_extract(j.value, '$.version') - 1`),
          ),
        ),
      { holds: sql`changes() = ${slice.length}`, otherwise: OVERTAKEN },
    ]
  })
}

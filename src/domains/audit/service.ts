import { and, asc, desc, eq, getTableColumns, gt, gte, lt, type SQL, sql } from 'drizzle-orm'
import { actingUser, type Context } from '../../data/context'
import type { Page } from '../../data/page'
import { decodeCursor, encodeCursor } from '../../lib/cursor'
import { iso } from '../../lib/ids'
import { problem } from '../../lib/problem'
import { scopesNow } from '../identity/recheck'
import type { AuditFilters, ListAudit } from './schema'
import { type AuditRow, auditLog, isNumber } from './table'

/** Numbers are given up to here: what is beyond was put there by hand. */
const MOST = Number.MAX_SAFE_INTEGER
/** Rows of an export that are read at once. */
const SLICE = 500
/** An export goes on for as long as its reader reads; so often it is asked whether he still may. */
const ASK_AGAIN_MS = 5_000
/** By so much the database's clock may have gone back meanwhile. */
const SKEW_MS = 60_000

/** The columns as the database has them: what somebody wrote there by hand must not keep the rest from being read. */
const STORED = {
  ...getTableColumns(auditLog),
  before: sql<unknown>`${auditLog.before}`,
  after: sql<unknown>`${auditLog.after}`,
}

/** A row as it is shown; what is no JSON is shown as the text that it is. */
function shown(row: Record<keyof AuditRow, unknown>): AuditRow {
  const plain = Object.entries(row).map(([name, value]) => [
    name,
    typeof value === 'object' && value !== null ? JSON.stringify(value) : value,
  ])
  return { ...Object.fromEntries(plain), before: objectOf(row.before), after: objectOf(row.after) }
}

function objectOf(stored: unknown): Record<string, unknown> | null {
  if (stored === null) return null
  try {
    const value: unknown = JSON.parse(`${stored}`)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value }
  } catch {
    // falls through to the text
  }
  return { unreadable: `${stored}` }
}

/** The tenant's log, newest first. */
export async function listAudit(ctx: Context, input: ListAudit): Promise<Page<AuditRow>> {
  const { limit, cursor, ...filters } = input
  const list = `audit:${ctx.tenant.id}:${JSON.stringify(Object.entries(filters).sort())}`
  const { low, high } = await between(ctx, filters)
  const before = cursor === undefined ? high : Math.min(high, placeIn(list, cursor))
  const rows = await ctx.db
    .select(STORED)
    .from(auditLog)
    .where(and(...chosen(ctx, filters), gte(auditLog.seq, low), lt(auditLog.seq, before)))
    .orderBy(desc(auditLog.seq))
    .limit(limit + 1)
  const items = rows.slice(0, limit).map(shown)
  const next = rows.length > limit ? items.at(-1)?.seq : undefined
  return { items, next_cursor: next === undefined ? null : encodeCursor(list, { key: next, id: '' }) }
}

/** Before which number a page begins; 422 where the cursor is none of this list. */
function placeIn(list: string, cursor: string): number {
  const place = Number(decodeCursor(list, cursor).key)
  if (Number.isFinite(place)) return place
  throw problem.invalid({ cursor: 'must be the next_cursor of this list, with the same filters' })
}

/**
 * The same, oldest first and slice by slice, as far as the log went when it was asked for. Ends with an error where the
 * caller may not read it any more.
 */
export async function* exportAudit(ctx: Context, filters: AuditFilters): AsyncGenerator<AuditRow[]> {
  const { low, high } = await between(ctx, filters)
  let askedAt = ctx.now
  for (let after = low - 1; ; ) {
    if (Date.now() - askedAt > ASK_AGAIN_MS) {
      await demandStill(ctx)
      askedAt = Date.now()
    }
    const rows = await ctx.db
      .select(STORED)
      .from(auditLog)
      .where(and(...chosen(ctx, filters), gt(auditLog.seq, after), lt(auditLog.seq, high)))
      .orderBy(asc(auditLog.seq))
      .limit(SLICE)
    if (rows.length > 0) yield rows.map(shown)
    const last = rows.at(-1)
    if (!last || rows.length < SLICE) return
    after = last.seq
  }
}

/** 401 where the credential does not count any more, or not for the log. */
async function demandStill(ctx: Context): Promise<void> {
  const { principal, impersonator } = ctx
  if (principal.kind !== 'user' && principal.kind !== 'api_key') return
  const { kind, id, role } = principal
  const session_id = principal.kind === 'user' ? principal.session_id : null
  const one = { key: 'caller', kind, id, role, user_id: actingUser(ctx), session_id }
  const credential = impersonator ? { ...one, impersonator } : one
  const scopes = (await scopesNow(ctx.env, ctx.tenant.id, [credential], Date.now())).get('caller')
  if (!scopes?.includes('audit:read'))
    throw problem.unauthorized('token_revoked', 'The credential does not count any more')
}

function chosen(ctx: Context, filters: AuditFilters): (SQL | undefined)[] {
  const { actor, action, resource, resource_id, request_id, created_after, created_before } = filters
  return [
    eq(auditLog.tenant_id, ctx.tenant.id),
    // The planner would take the range of numbers for the shortest way, whoever they are of.
    actor === undefined ? undefined : sql`likelihood(${eq(auditLog.actor_id, actor)}, 0.001)`,
    action === undefined ? undefined : sql`likelihood(${eq(auditLog.action, action)}, 0.01)`,
    resource_id === undefined ? undefined : sql`likelihood(${eq(auditLog.resource_id, resource_id)}, 0.0001)`,
    resource === undefined ? undefined : sql`likelihood(${eq(auditLog.resource, resource)}, 0.05)`,
    request_id === undefined ? undefined : sql`likelihood(${eq(auditLog.request_id, request_id)}, 0.00001)`,
    created_after === undefined ? undefined : gte(auditLog.created_at, created_after),
    created_before === undefined ? undefined : lt(auditLog.created_at, created_before),
  ]
}

/** The numbers among which the rows of a time are: from `low` on, before `high`. */
async function between(ctx: Context, filters: AuditFilters): Promise<{ low: number; high: number }> {
  const { created_after, created_before } = filters
  const mine = sql`${auditLog.tenant_id} = ${ctx.tenant.id}`
  const end = sql`(select coalesce(max(${auditLog.seq}), 0) + 1 from ${auditLog} where ${mine} and ${isNumber()})`
  const low = created_after && firstSince(ctx, Date.parse(created_after) - SKEW_MS)
  const high = created_before && firstSince(ctx, Date.parse(created_before) + SKEW_MS)
  const [found] = await ctx.db.all<{ low: number; high: number }>(
    sql`select ${low ? sql`coalesce(${low}, 1)` : sql`1`} as low,
      ${high ? sql`coalesce(${high}, ${end})` : end} as high`,
  )
  return found ?? { low: 1, high: 1 }
}

/**
 * The number of the first row of a time or later, by halving: numbers have no gaps, and times grow with them. Null where a
 * row is missing on the way.
 */
function firstSince(ctx: Context, ms: number): SQL {
  const [tenantId, time] = [ctx.tenant.id, iso(ms)]
  return sql`(
    with recursive probe(low, high) as (
      select 1, coalesce((select max(seq) from audit_log where tenant_id = ${tenantId} and seq < ${MOST}), 0) + 1
      union all
      select iif(created_at < ${time}, seq + 1, low), iif(created_at < ${time}, high, seq)
      from probe join audit_log on tenant_id = ${tenantId} and seq = (low + high) / 2
      where low < high
    )
    select low from probe where low = high)`
}

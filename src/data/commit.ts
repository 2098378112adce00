import { and, eq, isNull, type SQL, sql } from 'drizzle-orm'
import type { BatchItem } from 'drizzle-orm/batch'
import { events } from '../domains/events/table'
import { idempotencyKeys } from '../domains/metering/idempotency/table'
import { Sealer } from '../lib/crypto'
import { fromStorage } from '../lib/from-storage'
import { iso, newId } from '../lib/ids'
import { packed } from '../lib/packed'
import { Problem, problem } from '../lib/problem'
import type { NewChange } from './changes'
import type { Context, IdempotencyClaim, StoredAnswer } from './context'
import { tenantDatabase } from './database'
import { insertRows } from './insert-rows'
import { nudge } from './nudge'
import { keepWatch } from './outbox'
import { type AuditEntry, auditStatements } from './record'
import { IdempotencyRace, refusalOf } from './refusal'
import { sealedIn } from './sealed'
import { type ChangeOfEach, changeStatement, changesStatement, type StateChange, tellAll } from './tell'

type Statement = BatchItem<'sqlite'>

/** A statement that must change a row; where it changes none, the whole batch fails with `otherwise`. */
export type Guarded = { statement: Statement; otherwise: Problem }

/** A condition that must hold when the batch runs; where it does not, the whole batch fails with `otherwise`. */
export type Check = { holds: SQL; otherwise: Problem }

/** An event to announce; `data` is printed here, once, and those bytes are what every receiver gets. */
export type NewEvent = {
  type: string
  data: unknown
  /** The JSON text of its data where that is printed already; `data` is not looked at. */
  printed?: string
  channels?: string[]
  subject?: string
  id?: string
  occurred_at?: string
  /** Of an event born in an object: the object's name and its own number, under which the event comes here once. */
  origin?: string
  /** The application whose event it is; the tenant's own without. */
  application_id?: string
  /** How its data differs from what its type says of it, where that is no reason to refuse it. */
  schema_error?: string
  /** Words to find it by. */
  tags?: string[]
}

export type Change<T> = {
  statements: (Statement | Guarded | Check)[]
  /** What the verb will return; an idempotent request stores the answer made of it in the same batch. */
  result: T
  audit?: AuditEntry | AuditEntry[]
  events?: NewEvent[]
  /**
   * What every isolate must know within ten seconds, this one at once: who was revoked, how a tenant stands. One that
   * stands for each row of something (`from`) is read before the statements run.
   */
  tell?: (NewChange | ChangeOfEach)[]
  /** Which refusal a violated UNIQUE constraint means, by its first column as SQLite names it (`tenants.slug`). */
  unique?: Record<string, Problem>
  /** The result holds a secret: the stored answer is encrypted. */
  secret?: boolean
  /** It is small, and others like it come at the same moment: they may share its batch (group-commit.ts). */
  shared?: boolean
  /** Selects at the end of the batch, which see what it wrote; `seen` is given the rows of each. */
  reads?: { statements: Statement[]; seen: (rows: unknown[]) => void }
}

/** Payloads above this go to R2; a D1 row ends at 2 MB and is billed by the row. */
const INLINE_PAYLOAD = 16 * 1024
/** More events than an object carries here at once are rows of one statement: D1 counts those of a batch, too. */
const MOST_APART = 100
/** The largest payload of an event (webhooks.md). */
export const MAX_PAYLOAD = 256 * 1024

/**
 * The one door for writes: the statements, the audit rows, the events, what is to be told and the finished idempotency
 * key are one D1 batch, so either all of them stand or none. Answers with `change.result`.
 */
export async function commit<T>(ctx: Context, change: Change<T>): Promise<T> {
  const batch: Statement[] = []
  const refusals: Problem[] = []
  const demand = (holds: SQL, otherwise: Problem) => {
    // json_extract fails on a path that is none, and its message carries the path: that names the guard, and rolls back.
    const path = sql.raw(`'guard:${refusals.length}'`)
    // A select, not `all(sql)`: Drizzle can't put a raw statement with parameters into a D1 batch.
    const check = sql`json_extract('{}', case when ${holds} then '$' else ${path} end)`
    batch.push(ctx.db.select({ check }).from(sql`(select 1)`))
    refusals.push(otherwise)
  }
  // First of all, so that the loser of a race between equal requests learns that it lost, and not that what the winner
  // made exists already.
  if (ctx.idempotency?.render) {
    const answer = ctx.idempotency.render(change.result)
    const plain = packed(answer.body)
    if (plain === null)
      throw problem(
        'body_too_large',
        'The answer would be too large to be kept for the key: send less at once, or without one',
      )
    const body = change.secret ? await sealAnswer(ctx, ctx.idempotency, plain) : plain
    batch.push(finishKey(ctx, ctx.idempotency, { ...answer, body }))
    if (ctx.idempotency.claimed) demand(sql`changes() > 0`, new IdempotencyRace())
  }
  const tellsAt = batch.length
  for (const one of change.tell ?? [])
    batch.push('from' in one ? changesStatement(ctx, one) : changeStatement(ctx, one))
  const tellsEnd = batch.length
  for (const item of change.statements) {
    if ('holds' in item) demand(item.holds, item.otherwise)
    else if ('otherwise' in item) {
      batch.push(item.statement)
      demand(sql`changes() > 0`, item.otherwise)
    } else batch.push(item)
  }
  const recordsAt = batch.length
  for (const entry of [change.audit ?? []].flat()) batch.push(...auditStatements(ctx, entry))
  const isWork = batch.length > recordsAt || tellsEnd > tellsAt
  const rows = await Promise.all((change.events ?? []).map((event) => eventRow(ctx, event)))
  if (rows.length > MOST_APART)
    batch.push(...insertRows(ctx, events, rows, rows.some(isCarried) ? { known: 'kept' } : {}))
  else
    for (const row of rows) {
      const insert = ctx.db.insert(events).values(row)
      batch.push(isCarried(row) ? insert.onConflictDoNothing() : insert)
    }
  const readsAt = batch.length
  batch.push(...(change.reads?.statements ?? []))
  const [first, ...rest] = batch
  if (!first) return change.result
  if (rows.length > 0 || isWork) await keepWatch(ctx.env, ctx.now)
  const db = (change.shared && ctx.session?.databaseWithOthers(ctx.tenant.id, ctx.defer)) || ctx.db
  const outcomes: unknown[] = await db.batch([first, ...rest]).catch((error: unknown) => {
    const refusal = refusalOf(error, refusals, change.unique ?? {})
    if (refusal instanceof Problem) dropPayloads(ctx, rows)
    throw refusal
  })
  if (ctx.idempotency?.render) ctx.idempotency.finished = true
  change.reads?.seen(outcomes.slice(readsAt))
  if (tellsEnd > tellsAt) await tellAll(ctx, outcomes.slice(tellsAt, tellsEnd).flat() as StateChange[])
  if (rows.length > 0)
    ctx.defer(
      nudge(ctx.env, {
        tenant_id: ctx.tenant.id,
        event_ids: rows.map(({ id }) => id),
        types: [...new Set(rows.map(({ type }) => type))],
      }),
    )
  return change.result
}

type NewRow = typeof events.$inferInsert & { id: string; origin: string | null; data_key: string | null }

/** One that an object carries here may have come before. */
const isCarried = ({ origin }: NewRow): boolean => origin !== null

/** What was put away for events that are known not to have come. One with an origin may have come earlier. */
function dropPayloads(ctx: Context, rows: readonly NewRow[]): void {
  const keys = rows.flatMap(({ origin, data_key }) => (origin === null && data_key !== null ? data_key : []))
  if (keys.length > 0) ctx.defer(ctx.env.FILES.delete(keys))
}

/** The row of a new event; its payload is in R2 already where it is large. */
export async function eventRow(ctx: Context, event: NewEvent): Promise<NewRow> {
  const id = event.id ?? `msg_${newId(ctx.now)}`
  const data = event.printed ?? JSON.stringify(event.data)
  const size = new TextEncoder().encode(data).byteLength
  if (size > MAX_PAYLOAD)
    throw problem('payload_too_large', 'The event’s payload is over its limit', {
      details: { limit_bytes: MAX_PAYLOAD, size_bytes: size },
    })
  let dataKey: string | null = null
  if (size > INLINE_PAYLOAD) {
    dataKey = `${ctx.tenant.id}/events/${id}`
    await fromStorage(ctx.env.FILES.put(dataKey, data))
  }
  return {
    tenant_id: ctx.tenant.id,
    id,
    type: event.type,
    subject: event.subject ?? null,
    channels: event.channels ?? [],
    data: dataKey ? null : data,
    data_key: dataKey,
    origin: event.origin ?? null,
    application_id: event.application_id ?? null,
    schema_error: event.schema_error ?? null,
    tags: event.tags && event.tags.length > 0 ? event.tags : null,
    trace_id: ctx.traceparent.slice(3, 35),
    timestamp: event.occurred_at ?? iso(ctx.now),
  }
}

/** Not async: awaiting a Drizzle statement would run it outside the batch. */
function finishKey(ctx: Context, claim: IdempotencyClaim, answer: StoredAnswer): Statement {
  const db = tenantDatabase(ctx.env, claim.tenant_id)
  const row = {
    tenant_id: claim.tenant_id,
    principal: claim.principal,
    key: claim.key,
    fingerprint: claim.fingerprint,
    claim: claim.claim,
    status: answer.status,
    headers: answer.headers,
    body: answer.body,
    awaited_until: claim.awaited === undefined ? null : iso(claim.awaited),
    created_at: iso(ctx.now),
  }
  if (!claim.claimed) return db.insert(idempotencyKeys).values(row)
  const mine = and(
    eq(idempotencyKeys.tenant_id, claim.tenant_id),
    eq(idempotencyKeys.principal, claim.principal),
    eq(idempotencyKeys.key, claim.key),
    eq(idempotencyKeys.claim, claim.claim),
    isNull(idempotencyKeys.status),
  )
  return db.update(idempotencyKeys).set(row).where(mine)
}

function sealAnswer(ctx: Context, claim: IdempotencyClaim, body: string): Promise<string> {
  return answerSealer(ctx).seal(body, `${claim.tenant_id}:${claim.principal}`)
}

sealedIn({
  ...{ purpose: 'idempotency', table: 'idempotency_keys', column: 'body' },
  key: ['tenant_id', 'principal', 'key'],
  bound: (tenantId = '', principal = '') => `${tenantId}:${principal}`,
})

/** Seals stored answers that hold a secret. */
export function answerSealer(ctx: Pick<Context, 'settings'>): Sealer {
  return new Sealer(ctx.settings, 'idempotency')
}

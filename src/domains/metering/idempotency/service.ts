import { and, eq, isNull, lt, type SQL, sql } from 'drizzle-orm'
import { answerSealer } from '../../../data/commit'
import type { IdempotencyClaim, RequestContext, StoredAnswer } from '../../../data/context'
import { type Database, databaseOf, directory, tenantDatabase } from '../../../data/database'
import type { Bindings } from '../../../env'
import { isSealed } from '../../../lib/crypto'
import { firstIdAt, iso } from '../../../lib/ids'
import { log } from '../../../lib/log'
import { packed, unpacked } from '../../../lib/packed'
import { problem } from '../../../lib/problem'
import { idempotencyKeys } from './table'

/** How long a key stands (http.md). */
const KEPT_MS = 24 * 3600_000
/** A claim that a crash left behind is free after this. */
export const CLAIM_MS = 60_000

type Row = typeof idempotencyKeys.$inferSelect

/** In the request's session where there is a tenant: a replay tells how far the database has come, as the answer did. */
const database = (request: RequestContext, claim: IdempotencyClaim): Database =>
  claim.tenant_id === 'public'
    ? tenantDatabase(request.env, claim.tenant_id)
    : databaseOf(request, claim.tenant_id)

const same = (claim: IdempotencyClaim) =>
  and(
    eq(idempotencyKeys.tenant_id, claim.tenant_id),
    eq(idempotencyKeys.principal, claim.principal),
    eq(idempotencyKeys.key, claim.key),
  )

/**
 * What the key stands for: the stored answer to replay, or null where the request is to be carried out. 422 where the
 * key was used for another request, 409 where the first one is still running.
 */
export async function answerOf(
  request: RequestContext,
  claim: IdempotencyClaim,
): Promise<StoredAnswer | null> {
  const row = await database(request, claim).select().from(idempotencyKeys).where(same(claim)).get()
  if (!row) return null
  const age = request.now - Date.parse(row.created_at)
  if (age > KEPT_MS) {
    await database(request, claim)
      .delete(idempotencyKeys)
      .where(and(same(claim), eq(idempotencyKeys.claim, row.claim)))
    return null
  }
  if (row.fingerprint !== claim.fingerprint)
    throw problem('idempotency_key_reused', 'The idempotency key stands for another request')
  // The one that waits asks itself where it was not told of its own commit, and waits no more.
  if (row.claim === claim.claim) await stopWaiting(request, claim)
  else if (row.awaited_until !== null && Date.parse(row.awaited_until) > request.now) throw inProgress()
  if (row.status !== null) return stored(request, claim, row)
  if (age < CLAIM_MS || !(await takeOver(request, claim, row))) throw inProgress()
  return null
}

/** Claims the key before something outside is called; 409 where another request has it. */
export async function claimKey(request: RequestContext, claim: IdempotencyClaim): Promise<void> {
  if (claim.claimed) return
  const inserted = await database(request, claim)
    .insert(idempotencyKeys)
    .values({ ...identity(claim), created_at: iso(request.now) })
    .onConflictDoNothing()
    .returning({ key: idempotencyKeys.key })
  if (inserted.length === 0) throw inProgress()
  claim.claimed = true
}

/**
 * Keeps an answer that no commit kept: a refusal that a repeat would get again, what was done without a change in D1, or
 * what came of a job that was waited for, in its place. False where another one stands. One that is too long for a row is
 * not kept, and its key is free again.
 */
export async function keepAnswer(
  request: RequestContext,
  claim: IdempotencyClaim,
  answer: StoredAnswer,
): Promise<boolean> {
  const { status, headers } = answer
  const plain = packed(answer.body)
  if (plain === null) {
    log.warn('idempotency_answer_too_large', { tenant_id: claim.tenant_id, status })
    if (claim.finished) await stopWaiting(request, claim)
    else if (claim.claimed) await releaseKey(request, claim)
    return true
  }
  const sealed = answer.secret && plain !== ''
  const body = sealed
    ? await answerSealer(request).seal(plain, `${claim.tenant_id}:${claim.principal}`)
    : plain
  const db = database(request, claim)
  const running = claim.finished ? undefined : isNull(idempotencyKeys.status)
  const kept =
    claim.claimed || claim.finished
      ? await db
          .update(idempotencyKeys)
          .set({ status, headers, body, awaited_until: null })
          .where(and(same(claim), eq(idempotencyKeys.claim, claim.claim), running))
          .returning({ key: idempotencyKeys.key })
      : await db
          .insert(idempotencyKeys)
          .values({ ...identity(claim), status, headers, body, created_at: iso(request.now) })
          .onConflictDoNothing()
          .returning({ key: idempotencyKeys.key })
  return kept.length > 0
}

/** Gives a claim back: the request failed in a way that a repeat may not. */
export async function releaseKey(request: RequestContext, claim: IdempotencyClaim): Promise<void> {
  await database(request, claim)
    .delete(idempotencyKeys)
    .where(and(same(claim), eq(idempotencyKeys.claim, claim.claim), isNull(idempotencyKeys.status)))
}

/** Nobody waits any more for what comes of the job that the key stands for: a repeat is answered with the job. */
export async function stopWaiting(request: RequestContext, claim: IdempotencyClaim): Promise<void> {
  if (claim.awaited === undefined) return
  await database(request, claim)
    .update(idempotencyKeys)
    .set({ awaited_until: null })
    .where(and(same(claim), eq(idempotencyKeys.claim, claim.claim)))
}

/** Says that the request which claimed the key is still at work, so that no other takes it for crashed. */
export async function renewKey(request: RequestContext, claim: IdempotencyClaim): Promise<void> {
  await database(request, claim)
    .update(idempotencyKeys)
    .set({ created_at: iso(Date.now()) })
    .where(and(same(claim), eq(idempotencyKeys.claim, claim.claim), isNull(idempotencyKeys.status)))
}

const identity = (claim: IdempotencyClaim) => ({
  tenant_id: claim.tenant_id,
  principal: claim.principal,
  key: claim.key,
  fingerprint: claim.fingerprint,
  claim: claim.claim,
})

const inProgress = () =>
  problem('idempotency_in_progress', 'The first request with this key is still running', {
    headers: { 'Retry-After': '1' },
  })

async function takeOver(request: RequestContext, claim: IdempotencyClaim, row: Row): Promise<boolean> {
  const taken = await database(request, claim)
    .update(idempotencyKeys)
    .set({ claim: claim.claim, created_at: iso(request.now) })
    .where(and(same(claim), eq(idempotencyKeys.claim, row.claim), isNull(idempotencyKeys.status)))
    .returning({ key: idempotencyKeys.key })
  claim.claimed = taken.length > 0
  return claim.claimed
}

async function stored(request: RequestContext, claim: IdempotencyClaim, row: Row): Promise<StoredAnswer> {
  // JSON begins with a brace.
  const sealed = isSealed(row.body ?? '')
  const body = sealed
    ? await answerSealer(request).open(row.body ?? '', `${claim.tenant_id}:${claim.principal}`)
    : (row.body ?? '')
  return { status: row.status ?? 200, headers: row.headers ?? {}, body: unpacked(body), secret: sealed }
}

/** Rows that one statement looks at. */
const SLICE = 5_000
/** Slices of one run: two million keys. */
const ROUNDS = 400

/**
 * Deletes the keys that no longer stand, whoever they belong to, going through all of them by the key: no index is
 * written for their time, and to read a row is paid a thousandth of writing one. Answers and bodies are not read. Where
 * there are more than one run looks at, each begins elsewhere, so that everybody's have their turn.
 */
export async function dropOldKeys(env: Bindings, now: number): Promise<void> {
  const db = directory(env)
  const gone = iso(now - KEPT_MS)
  const start = await somewhere(db, now)
  const left = await dropOld(db, gone, { from: start, until: undefined }, ROUNDS)
  if (start !== undefined) await dropOld(db, gone, { from: undefined, until: start }, left)
}

const place = sql`(${idempotencyKeys.tenant_id}, ${idempotencyKeys.principal}, ${idempotencyKeys.key})`

/** A tenant at random, before all of its keys. */
async function somewhere(db: Database, now: number): Promise<SQL | undefined> {
  const { tenant_id } = idempotencyKeys
  const first = await db.select({ tenant_id }).from(idempotencyKeys).orderBy(tenant_id).limit(1).get()
  if (!first) return undefined
  // Tenants' ids begin with the time that they were made.
  const oldest = Number.parseInt(first.tenant_id.replace('-', '').slice(0, 12), 16)
  const since = oldest + Math.random() * (now - oldest)
  return since > oldest ? sql`(${firstIdAt(Math.floor(since))}, '', '')` : undefined
}

/** Goes through so many slices of what lies between two places at most; how many of them are left. */
async function dropOld(
  db: Database,
  gone: string,
  { from, until }: { from: SQL | undefined; until: SQL | undefined },
  rounds: number,
): Promise<number> {
  const { tenant_id, principal, key, created_at } = idempotencyKeys
  let begin = from
  for (let left = rounds; left > 0; left--) {
    const last = await db
      .select({ tenant_id, principal, key })
      .from(idempotencyKeys)
      .where(and(begin && sql`${place} > ${begin}`, until && sql`${place} <= ${until}`))
      .orderBy(tenant_id, principal, key)
      .limit(1)
      .offset(SLICE - 1)
      .get()
    const end = last ? sql`(${last.tenant_id}, ${last.principal}, ${last.key})` : until
    await db
      .delete(idempotencyKeys)
      .where(and(begin && sql`${place} > ${begin}`, end && sql`${place} <= ${end}`, lt(created_at, gone)))
    if (!last) return left - 1
    begin = end
  }
  return 0
}

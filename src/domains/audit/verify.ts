import { and, asc, eq, gt } from 'drizzle-orm'
import type { Context } from '../../data/context'
import { tenantDatabase } from '../../data/database'
import { decodeCursor, encodeCursor } from '../../lib/cursor'
import { iso } from '../../lib/ids'
import { log } from '../../lib/log'
import { problem } from '../../lib/problem'
import { type Head, readHead } from './head'
import { sealKeys } from './keys'
import { canonical, type RawRow, rowsAfter } from './rows'
import type { Finding, Verification } from './schema'
import { MOST_ROWS, sealOf } from './seal'
import { auditSeals, auditUnsealed, type SealRow } from './table'

/** What one request looks at; the next goes on from there. */
const ROWS_AT_ONCE = 10_000
const SEALS_AT_ONCE = 500
/** Who altered a whole log need not be told of every part. */
const MOST_FINDINGS = 100
/** KV may not have, everywhere, what is younger than this. */
const SETTLED_MS = 2 * 60_000

/** So long a row waits for its seal at most where nobody stood still; it comes within a minute. */
const OVERDUE_MS = 10 * 60_000
/** And so long where it is marked as waiting still: a service that was down seals as soon as it is there again. */
const OVERDUE_MARKED_MS = 24 * 3600_000

/** Behind which seal a look begins. */
type Place = Pick<SealRow, 'number' | 'last_seq' | 'seal'>

/** One look through a part of the log: its place, what it saw, and what is not as it should be. */
type Look = {
  ctx: Context
  keys: Map<string, CryptoKey>
  place: Place
  rows: AsyncGenerator<RawRow>
  /** The row that was read last and belongs to what comes next. */
  next: RawRow | undefined
  /** Since when the oldest row that no seal covers waits. */
  waiting?: number
  counts: { rows: number; seals: number; unsealed: number }
  findings: Finding[]
}

/** Looks through the log and its seals, from the beginning or from where the look before ended. */
export async function verifyLog(caller: Context, cursor: string | undefined): Promise<Verification> {
  // Of the primary, whatever bookmark was sent: a replica may lack what the head speaks of.
  const ctx = { ...caller, db: tenantDatabase(caller.env, caller.tenant.id) }
  const list = `audit-verify:${ctx.tenant.id}`
  const place = cursor === undefined ? { number: 0, last_seq: 0, seal: '' } : placeAt(list, cursor)
  // Before the seals: the head can't be younger than they are.
  const head = await readHead(ctx.env, ctx.tenant.id)
  const seals = await sealsAfter(ctx, place.number, SEALS_AT_ONCE)
  const rows = rowsAfter(ctx, place.number === 0 ? null : place.last_seq)
  const keys = await sealKeys(ctx.env, ctx.settings)
  const counts = { rows: 0, seals: 0, unsealed: 0 }
  const look: Look = { ctx, keys, place, rows, next: undefined, counts, findings: [] }
  await step(look)
  for (const seal of seals) {
    if (counts.rows >= ROWS_AT_ONCE) break
    await checkSeal(look, seal)
  }
  const isPart = counts.seals < seals.length || seals.length === SEALS_AT_ONCE
  const more = isPart && look.place.number > place.number
  if (!more) {
    await checkTail(look)
    await checkHead(look, head, seals.findLast(isSound))
  }
  await rows.return(undefined)
  return told(look, head, more ? cursorAt(list, look.place) : null)
}

const placeAt = (list: string, cursor: string): Place => {
  const { key, id } = decodeCursor(list, cursor)
  const [through, seal = ''] = id.split(':')
  const [number, last_seq] = [Number(key), Number(through)]
  if (Number.isSafeInteger(number) && Number.isSafeInteger(last_seq) && number > 0)
    return { number, last_seq, seal }
  throw problem.invalid({ cursor: 'must be the next_cursor of this list' })
}
const cursorAt = (list: string, { number, last_seq, seal }: Place) =>
  encodeCursor(list, { key: number, id: `${last_seq}:${seal}` })

function sealsAfter({ db, tenant }: Context, number: number, limit: number): Promise<SealRow[]> {
  return db
    .select()
    .from(auditSeals)
    .where(and(eq(auditSeals.tenant_id, tenant.id), gt(auditSeals.number, number)))
    .orderBy(asc(auditSeals.number))
    .limit(limit)
    .all()
}

async function step(look: Look): Promise<void> {
  const { value } = await look.rows.next()
  look.next = value ?? undefined
}

function find(look: Look, code: Finding['code'], seal: number | null, first_seq: number, last_seq: number) {
  look.findings.push({ code, seal, first_seq, last_seq })
}

/** Whether a seal can be what the service wrote: by hand anything can be put anywhere. */
const isSound = ({ number, first_seq, last_seq }: SealRow): boolean =>
  [number, first_seq, last_seq].every(Number.isSafeInteger)

async function checkSeal(look: Look, seal: SealRow): Promise<void> {
  const { place, keys } = look
  look.counts.seals += 1
  if (!isSound(seal))
    return find(look, 'seal_altered', place.number + 1, place.last_seq + 1, place.last_seq + 1)
  const { number, first_seq, last_seq } = seal
  const follows = number === place.number + 1
  if (!follows) find(look, 'seal_missing', place.number + 1, place.last_seq + 1, first_seq - 1)
  // What only a seal that is gone covered.
  while (look.next && look.next.seq < first_seq && !follows) await pass(look)
  const texts = await take(look, first_seq, last_seq, number)
  const key = keys.get(seal.key_id)
  if (!key) find(look, 'key_unknown', number, first_seq, last_seq)
  else if (follows && (seal.previous !== place.seal || first_seq !== place.last_seq + 1))
    find(look, 'seal_altered', number, first_seq, last_seq)
  // Where a row is missing it is known already that nothing fits.
  else if (texts && (await sealOf(key, seal, texts)) !== seal.seal)
    find(look, 'altered', number, first_seq, last_seq)
  look.place = seal
}

async function pass(look: Look): Promise<void> {
  look.counts.rows += 1
  await step(look)
}

/** The texts of the rows up to a number; null where one is missing. What was never given a number is found, and left out. */
async function take(look: Look, first: number, through: number, seal: number | null) {
  const texts: string[] = []
  let expected = first
  let whole = true
  for (let row = look.next; row && isNumbered(row) && row.seq <= through; row = look.next) {
    if (!Number.isSafeInteger(row.seq) || row.seq < expected)
      find(look, 'row_unexpected', seal, row.seq, row.seq)
    else {
      if (row.seq > expected) find(look, 'row_missing', seal, expected, row.seq - 1)
      whole &&= row.seq === expected
      expected = row.seq + 1
      if (texts.length <= MOST_ROWS) texts.push(canonical(row))
    }
    if (seal === null) look.waiting ??= Date.parse(`${row.created_at}`)
    await pass(look)
    if (look.counts.rows >= 2 * ROWS_AT_ONCE) return texts
  }
  if (!Number.isFinite(through) || expected > through) return whole ? texts : null
  find(look, 'row_missing', seal, expected, through)
  return null
}

/** What is no number sorts behind all numbers. */
const isNumbered = ({ seq }: { seq: unknown }): boolean => typeof seq === 'number'

/** What no seal covers yet must be there without a gap; of what stood at its end, only the next seal can tell. */
async function checkTail(look: Look): Promise<void> {
  const { ctx, place, counts } = look
  const before = counts.rows
  await take(look, place.last_seq + 1, Number.POSITIVE_INFINITY, null)
  counts.unsealed = counts.rows - before
  const end = place.last_seq + counts.unsealed
  if (look.next && !isNumbered(look.next)) find(look, 'row_unexpected', null, end + 1, end + 1)
  if (await isOverdue(ctx, look.waiting ?? ctx.now)) find(look, 'seal_overdue', null, place.last_seq + 1, end)
}

/** The service marks what is to be sealed: whoever takes the mark away, or dates it ahead, keeps the seal away. */
async function isOverdue({ db, tenant, now }: Context, since: number): Promise<boolean> {
  if (!(since < now - OVERDUE_MS)) return false
  if (since < now - OVERDUE_MARKED_MS) return true
  const marks = await db.select().from(auditUnsealed).where(eq(auditUnsealed.tenant_id, tenant.id)).limit(1)
  return !marks.some((mark) => mark.since <= iso(now))
}

/** The head, which is kept elsewhere, must be one of the seals. */
async function checkHead(look: Look, head: Head | null, last: SealRow | undefined): Promise<void> {
  const { ctx, place } = look
  if (!head) {
    const settled = last && Date.parse(last.created_at) < ctx.now - SETTLED_MS
    if (settled) find(look, 'head_missing', last.number, last.first_seq, last.last_seq)
    return
  }
  if (head.number > place.number) {
    find(look, 'seal_missing', place.number + 1, place.last_seq + 1, head.last_seq)
    return
  }
  const [same] = await sealsAfter(ctx, head.number - 1, 1)
  if (same?.seal !== head.seal)
    find(look, 'seal_altered', head.number, same?.first_seq ?? head.last_seq, head.last_seq)
}

function told(
  { ctx, place, counts, findings }: Look,
  head: Head | null,
  next_cursor: string | null,
): Verification {
  const broken = findings.length > 0
  if (broken)
    log.error('audit_log_broken', {
      tenant_id: ctx.tenant.id,
      findings: findings.length,
      code: findings[0]?.code,
    })
  return {
    status: broken ? 'broken' : 'intact',
    ...counts,
    sealed_through: place.last_seq,
    head: head && {
      number: head.number,
      last_seq: head.last_seq,
      seal: head.seal,
      sealed_at: head.sealed_at,
    },
    findings: findings.slice(0, MOST_FINDINGS),
    next_cursor,
  }
}

import { and, asc, eq, gt, lt, sql } from 'drizzle-orm'
import type { RequestContext } from '../../../data/context'
import { directory } from '../../../data/database'
import type { Bindings } from '../../../env'
import { tagBy } from '../../../lib/crypto'
import { hex } from '../../../lib/encoding'
import { newId } from '../../../lib/ids'
import { type Problem, problem } from '../../../lib/problem'
import { attempts } from './table'

/** Windows of an hour (identity.md). */
const HOUR_MS = 3600_000
/** A login is over by then, or its isolate is. */
const PENDING_MS = 30_000

type Caller = Pick<RequestContext, 'env' | 'settings' | 'now'>

/** Something that may be done `most` times an hour. */
export type Allowance = { window: string; subject: string; most: number }

/** One time that was counted. */
export type Attempt = { bucket: string; id: string }

/** Counts one more time; null where it was one too many. `pending`: it may yet be given back. */
export async function count(caller: Caller, allowance: Allowance, pending = false): Promise<Attempt | null> {
  const bucket = await bucketOf(caller, allowance)
  const id = newId(caller.now)
  const recent = sql`select count(*) from ${attempts} where bucket = ${bucket} and at > ${caller.now - HOUR_MS}`
  const [counted] = await directory(caller.env)
    .insert(attempts)
    .select(
      sql`select ${bucket}, ${id}, ${caller.now}, ${Number(pending)} where (${recent}) < ${allowance.most}`,
    )
    .returning({ id: attempts.id })
  return counted ? { bucket, id } : null
}

/** The refusal of who was counted out: 429 `rate_limited`, with the time at which the window has room again. */
export async function refusalOf(caller: Caller, allowance: Allowance): Promise<Problem> {
  const { window, most } = allowance
  const rows = await directory(caller.env)
    .select({ at: attempts.at, pending: attempts.pending })
    .from(attempts)
    .where(and(eq(attempts.bucket, await bucketOf(caller, allowance)), gt(attempts.at, caller.now - HOUR_MS)))
    .orderBy(asc(attempts.at))
  // One that is under way may turn out to count for nothing.
  const open = rows.some(({ at, pending }) => pending === 1 && at > caller.now - PENDING_MS)
  const free = open ? caller.now + 1_000 : (rows[0]?.at ?? caller.now) + HOUR_MS
  const wait = Math.max(1, Math.ceil((free - caller.now) / 1_000))
  return problem('rate_limited', `The limit ${window} is reached: ${most} an hour`, {
    headers: { 'Retry-After': String(wait) },
    details: { window, limit: most, remaining: 0, retry_after: wait },
  })
}

/** Leaves an attempt counted for its hour. */
export async function keep(caller: Caller, attempt: Attempt): Promise<void> {
  await directory(caller.env).update(attempts).set({ pending: 0 }).where(same(attempt))
}

/** Takes an attempt back: it was none of those that are counted. */
export async function giveBack(caller: Caller, attempt: Attempt): Promise<void> {
  await directory(caller.env).delete(attempts).where(same(attempt))
}

const same = ({ bucket, id }: Attempt) => and(eq(attempts.bucket, bucket), eq(attempts.id, id))

/** Deletes what counts no more. */
export async function dropOldAttempts(env: Bindings, now: number): Promise<void> {
  await directory(env)
    .delete(attempts)
    .where(lt(attempts.at, now - HOUR_MS))
}

async function bucketOf({ settings }: Caller, { window, subject }: Allowance): Promise<string> {
  return hex((await tagBy(settings.MASTER_KEY, 'attempts', `${window}\n${subject}`)).slice(0, 16))
}

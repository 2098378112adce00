import { and, isNull, lte, sql } from 'drizzle-orm'
import { type Database, directory } from '../../../data/database'
import type { Bindings } from '../../../env'
import { iso } from '../../../lib/ids'
import { refreshTokens, sessions } from './table'

/** How long it is known from where a user has logged in. */
export const KNOWN_MS = 90 * 24 * 3600_000

/** Sessions of one statement, their refresh tokens of one, and statements of one run: what is left comes an hour later. */
const SLICE = 100
const TOKENS = 5_000
const ROUNDS = 500

/**
 * Writes down which sessions have ended for not being refreshed, and deletes those that ended ninety days ago with their
 * refresh tokens, whoever they belong to. So a user’s list reads what is open, however often they have logged in.
 */
export async function tendSessions(env: Bindings, now: number): Promise<void> {
  const db = directory(env)
  await endExpired(db, iso(now))
  await dropEnded(db, iso(now - KNOWN_MS))
}

async function endExpired(db: Database, now: string): Promise<void> {
  const expired = db
    .select({ rowid: sql`rowid` })
    .from(sessions)
    .where(and(isNull(sessions.ended_at), lte(sessions.expires_at, now)))
    .limit(SLICE)
  for (let round = 0; round < ROUNDS; round++) {
    const { meta } = await db
      .update(sessions)
      .set({ ended_at: sql`${sessions.expires_at}` })
      .where(sql`rowid in ${expired}`)
    if (meta.changes < SLICE) return
  }
}

async function dropEnded(db: Database, before: string): Promise<void> {
  // In the index’s order, so that both statements mean the same ones.
  const old = sql`from ${sessions} where ${sessions.ended_at} < ${before}
    order by ${sessions.ended_at}, ${sessions.expires_at}, rowid limit ${SLICE}`
  const theirs = sql`(select t.rowid from (select ${sessions.tenant_id}, ${sessions.id} ${old}) as s
    cross join ${refreshTokens} as t on t.tenant_id = s.tenant_id and t.session_id = s.id limit ${TOKENS})`
  for (let round = 0; round < ROUNDS; round++) {
    const tokens = await db.delete(refreshTokens).where(sql`rowid in ${theirs}`)
    if (tokens.meta.changes === TOKENS) continue
    const { meta } = await db.delete(sessions).where(sql`rowid in (select rowid ${old})`)
    if (meta.changes < SLICE) return
  }
}

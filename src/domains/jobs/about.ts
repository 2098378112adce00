import { and, desc, eq, inArray, sql } from 'drizzle-orm'
import type { Check } from '../../data/commit'
import type { Context } from '../../data/context'
import { iso } from '../../lib/ids'
import type { Problem } from '../../lib/problem'
import { sayJob } from './channel'
import { type JobRow, jobs } from './table'

// Jobs that are of one thing, such as the runs of a workflow.

const UNFINISHED = ['queued', 'running'] as const

const ofThing = (ctx: Context, about: string) => and(eq(jobs.tenant_id, ctx.tenant.id), eq(jobs.about, about))

/** That fewer than `most` jobs of a thing are under way; the batch fails with `otherwise`. */
export function roomAbout(ctx: Context, about: string, most: number, otherwise: Problem): Check {
  const unfinished = sql`select 1 from jobs where tenant_id = ${ctx.tenant.id} and about = ${about}
    and status in ('queued', 'running') limit 1 offset ${most - 1}`
  return { holds: sql`not exists (${unfinished})`, otherwise }
}

/** Cancels what is under way of a thing that is no more. Not async: it goes into the batch that removes that. */
export function cancelAbout(ctx: Context, about: string) {
  const now = iso(ctx.now)
  return ctx.db
    .update(jobs)
    .set({ status: 'cancelled', next_at: null, finished_at: now, updated_at: now, version: sql`version + 1` })
    .where(and(ofThing(ctx, about), inArray(jobs.status, UNFINISHED)))
}

/**
 * Has the next step of what is under way of a thing made at once, and the one that is being made taken back: it went by
 * what is no longer so. Not async: it goes into the batch that changes the thing, and `wakeJob` follows it.
 */
export function hurryAbout(ctx: Context, about: string) {
  const now = iso(ctx.now)
  return ctx.db
    .update(jobs)
    .set({ next_at: now, updated_at: now, version: sql`version + 1` })
    .where(and(ofThing(ctx, about), inArray(jobs.status, UNFINISHED)))
}

/** Publishes to a channel of one object each; who listens to more hears of the others when they come back. */
const MOST_SAID = 200

/** Says to who listens which jobs of a thing `cancelAbout` has cancelled just now. */
export async function sayCancelledAbout(ctx: Context, about: string): Promise<void> {
  const now = iso(ctx.now)
  const rows = await ctx.db
    .select()
    .from(jobs)
    .where(and(ofThing(ctx, about), eq(jobs.status, 'cancelled'), eq(jobs.finished_at, now)))
    .orderBy(desc(jobs.id))
    .limit(MOST_SAID)
  await Promise.all(rows.map((row) => sayJob(ctx, row)))
}

/** The checkpoint of a job; null where there is none of that id. */
export async function jobState(ctx: Context, id: string): Promise<unknown> {
  const rows = await ctx.db
    .select({ state: jobs.state })
    .from(jobs)
    .where(and(eq(jobs.tenant_id, ctx.tenant.id), eq(jobs.id, id)))
    .limit(1)
  return rows[0]?.state ?? null
}

/** A job of one thing with its checkpoint; null where that has none of that id. */
export async function jobAbout(ctx: Context, about: string, id: string): Promise<JobRow | null> {
  const rows = await ctx.db
    .select()
    .from(jobs)
    .where(and(ofThing(ctx, about), eq(jobs.id, id)))
    .limit(1)
  return rows[0] ?? null
}

/** Deletes the jobs that events had started: they carry what the events said. Not async: it goes into a batch. */
export function forgetCausedBy(ctx: Context, eventIds: readonly string[]) {
  const listed = sql`(select value from json_each(${JSON.stringify(eventIds)}))`
  return ctx.db.delete(jobs).where(and(eq(jobs.tenant_id, ctx.tenant.id), inArray(jobs.cause, listed)))
}

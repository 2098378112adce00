import { and, eq, sql } from 'drizzle-orm'
import { commit, type NewEvent } from '../../data/commit'
import type { Context } from '../../data/context'
import { iso } from '../../lib/ids'
import { describeError, log } from '../../lib/log'
import { Problem, problem } from '../../lib/problem'
import { eventOf } from '../events/catalogue'
import { isActive } from '../tenancy/tenants/active'
import { sayJob } from './channel'
import { kindOf, type Step } from './kinds'
import { type JobError, type JobRow, jobs } from './table'

/** The step of a job that fails so often in a row fails the job. */
const MOST_FAILURES = 8
/** The wait after the first failure; it doubles up to the longest. */
const FIRST_WAIT_MS = 1_000
const LONGEST_WAIT_MS = 60_000
/** The longest that a `Retry-After` is heeded. */
const LONGEST_ASKED_MS = 900_000

/** Another was faster: the job was cancelled, or its tenant is gone. */
const OVERTAKEN = problem('conflict', 'The job has changed meanwhile')

/**
 * Makes the step of a job that is due, and its checkpoint in the same batch. Answers with when the next is due, null where
 * there is none: the job has ended, or its tenant is suspended and the sweep takes it up once that goes on. Throws where
 * not even a failure could be written down: such a failure does not count, or an outage of the database would fail every
 * job.
 */
export async function makeStep(ctx: Context, id: string): Promise<number | null> {
  const row = await read(ctx, id)
  if (!row || row.next_at === null) return null
  const due = Date.parse(row.next_at)
  if (due > Date.now()) return due
  try {
    const kind = kindOf(row.kind)
    if (!kind) throw problem('conflict', `There is no job of the kind ${row.kind} any more`)
    const step = await kind.step(ctx, { id, input: row.input, state: row.state, failures: row.failures })
    const set = advanced(row, step, Date.now())
    const { statements = [], events = [], audit = [] } = step.change ?? {}
    await write(ctx, row, set, { statements, events, audit })
    if (step.after) ctx.defer(step.after())
    return set.next_at === null ? null : Date.parse(set.next_at)
  } catch (error) {
    return error === OVERTAKEN ? Date.now() : failed(ctx, row, error)
  }
}

async function read(ctx: Context, id: string): Promise<JobRow | undefined> {
  const rows = await ctx.db
    .select()
    .from(jobs)
    .where(and(eq(jobs.tenant_id, ctx.tenant.id), eq(jobs.id, id), isActive(ctx.tenant.id)))
    .limit(1)
  return rows[0]
}

/** What a step makes of the row of its job. */
export function advanced({ started_at }: JobRow, step: Step<unknown>, now: number) {
  const { state, result, done } = step
  return {
    ...{ state, result, error: null, failures: 0 },
    status: done ? ('completed' as const) : ('running' as const),
    progress: done ? 100 : Math.min(99, Math.max(0, Math.floor(step.progress))),
    next_at: done ? null : iso(now + (step.wait_ms ?? 0)),
    started_at: started_at ?? iso(now),
    finished_at: done ? iso(now) : null,
    updated_at: iso(now),
  }
}

/** The event of a job's end; none where it goes on, or was cancelled by somebody who knows. */
export function ended(row: JobRow): NewEvent[] {
  const { id: job_id, kind, result, error, created_at, finished_at } = row
  if (finished_at === null) return []
  const data = { job_id, kind, result, created_at, finished_at }
  if (row.status === 'completed') return [eventOf('job.completed', data)]
  return row.status === 'failed' && error ? [eventOf('job.failed', { ...data, error })] : []
}

type Changes = NonNullable<Step<unknown>['change']>

/** Provided that the row stands as it was read: who cancels meanwhile wins, and what the step did is taken back. */
async function write(
  ctx: Context,
  row: JobRow,
  set: Partial<JobRow>,
  { statements = [], events = [], audit = [] }: Partial<Changes> = {},
): Promise<void> {
  const mine = and(eq(jobs.tenant_id, ctx.tenant.id), eq(jobs.id, row.id), eq(jobs.version, row.version))
  const statement = ctx.db
    .update(jobs)
    .set({ ...set, version: sql`version + 1` })
    .where(mine)
  await commit(ctx, {
    statements: [{ statement, otherwise: OVERTAKEN }, ...statements],
    events: [...events, ...ended({ ...row, ...set })],
    audit,
    result: undefined,
  })
  ctx.defer(sayJob(ctx, { ...row, ...set }))
}

/** How long an outside service asked to be left alone. */
function askedFor(cause: unknown): number {
  const seconds = cause instanceof Problem ? Number(cause.headers['Retry-After']) : 0
  return Number.isFinite(seconds) ? Math.min(Math.max(0, seconds * 1_000), LONGEST_ASKED_MS) : 0
}

async function failed(ctx: Context, row: JobRow, cause: unknown): Promise<number | null> {
  const failures = row.failures + 1
  const final = (cause instanceof Problem && !cause.retryable) || failures >= MOST_FAILURES
  log.warn('job_step_failed', {
    ...{ tenant_id: ctx.tenant.id, job_id: row.id, kind: row.kind, failures, final },
    cause: describeError(cause),
  })
  const now = Date.now()
  const error: JobError =
    cause instanceof Problem
      ? { code: cause.code, message: cause.message }
      : { code: 'internal_error', message: 'A step failed; the operator finds the cause in the log' }
  const wait = Math.max(Math.min(FIRST_WAIT_MS * 2 ** (failures - 1), LONGEST_WAIT_MS), askedFor(cause))
  const set = final
    ? { status: 'failed' as const, next_at: null, finished_at: iso(now) }
    : { status: 'running' as const, next_at: iso(now + wait) }
  try {
    await write(ctx, row, { ...set, error, failures, updated_at: iso(now) })
  } catch (error) {
    if (error !== OVERTAKEN) throw error
    return now
  }
  return final ? null : now + wait
}

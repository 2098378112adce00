import { and, eq } from 'drizzle-orm'
import { type Change, commit, type NewEvent } from '../../data/commit'
import type { Context } from '../../data/context'
import type { AuditEntry } from '../../data/record'
import { find, revise } from '../../data/revise'
import { iso, newId } from '../../lib/ids'
import { problem } from '../../lib/problem'
import { sayJob } from './channel'
import { type Kind, kindOf, type Step } from './kinds'
import type { Job } from './schema'
import { advanced, ended } from './steps'
import { type JobRow, jobs } from './table'
import { wakeJob } from './wake'

type Seen = Job & { version: number }

/** A job that goes into a batch of the caller's. */
export type Started = {
  job: Seen
  statements: Change<unknown>['statements']
  events: NewEvent[]
  /** Done once that stands; a crash may leave it out. */
  after: () => Promise<unknown>
}

/**
 * A job of `kind`, with what its first step made of it: where that is all there is to do, the job is completed when the
 * batch stands. `of` says what it is of, and what caused it. Not async: the statements belong into that batch.
 */
export function jobStarted<Input extends object, State>(
  ctx: Context,
  kind: Kind<Input, State>,
  input: Input,
  first: Step<State>,
  of: Partial<Pick<JobRow, 'about' | 'cause'>> = {},
): Started {
  const id = newId(ctx.now)
  const now = iso(ctx.now)
  const { principal } = ctx
  const row: JobRow = {
    ...{ tenant_id: ctx.tenant.id, id, kind: kind.name, input: input as Record<string, unknown> },
    ...{ status: 'queued', progress: 0, state: null, result: null, error: null, failures: 0 },
    ...{ created_by: principal.kind === 'system' ? null : principal.id, created_at: now },
    ...{ next_at: now, started_at: null, finished_at: null, updated_at: now, version: 1 },
    ...{ about: null, cause: null, ...of },
  }
  const begun = {
    ...row,
    ...advanced(row, first, ctx.now),
    ...(first.done ? {} : { status: 'queued' as const }),
  }
  const { statements = [], events = [] } = first.change ?? {}
  return {
    job: view(begun),
    statements: [...statements, ctx.db.insert(jobs).values(begun)],
    events: [...events, ...ended(begun)],
    after: async () => {
      if (begun.next_at !== null) await wakeJob(ctx.env, { tenant_id: ctx.tenant.id, job_id: id })
      await first.after?.()
    },
  }
}

/** Starts such a job in a batch of its own. It is on record as `audit` says. */
export async function startJob<Input extends object, State>(
  ctx: Context,
  kind: Kind<Input, State>,
  input: Input,
  first: Step<State>,
  audit: (id: string) => AuditEntry | AuditEntry[],
  of: Partial<Pick<JobRow, 'about' | 'cause'>> = {},
): Promise<Seen> {
  const { job, statements, events, after } = jobStarted(ctx, kind, input, first, of)
  await commit(ctx, { statements, events, audit: audit(job.id), result: job })
  ctx.defer(after())
  return job
}

/** What a job was asked for, where that must not outlive it. Not async: it goes into the batch of the last step. */
export function replaceInput(ctx: Context, id: string, input: Record<string, unknown>) {
  const mine = and(eq(jobs.tenant_id, ctx.tenant.id), eq(jobs.id, id))
  return ctx.db.update(jobs).set({ input }).where(mine)
}

export async function getJob(ctx: Context, id: string): Promise<Seen> {
  const row = await find(ctx, jobs, id)
  if (!row) throw problem.notFound('job', id)
  return view(row)
}

/** Ends a job where it stands: what its steps did remains, the one under way does not. 409 where it has ended already. */
export function cancelJob(ctx: Context, id: string): Promise<Seen> {
  return change(ctx, id, 'job.cancel', async ({ status, ...row }) => {
    if (status !== 'queued' && status !== 'running') throw hasEnded({ ...row, status })
    const rest = await kindOf(row.kind)?.cancelled(ctx, row.input)
    return { set: { status: 'cancelled', next_at: null, finished_at: iso(ctx.now) }, ...rest }
  })
}

/** Has a failed or cancelled job go on from its last checkpoint. 409 where it is under way, or completed. */
export function retryJob(ctx: Context, id: string): Promise<Seen> {
  return change(ctx, id, 'job.retry', async ({ status, ...row }) => {
    if (status === 'completed') throw hasEnded({ ...row, status })
    if (status === 'queued' || status === 'running')
      throw problem('conflict', `The job is ${status}; it can be retried once it has failed or was cancelled`)
    const statements = await kindOf(row.kind)?.goesOn(ctx, row.input)
    const set = { error: null, failures: 0, next_at: iso(ctx.now), finished_at: null }
    return { set: { status: 'queued', ...set }, ...(statements && { statements }) }
  })
}

const hasEnded = ({ status }: Pick<JobRow, 'status'>) =>
  problem('conflict', `The job is ${status} already`, { details: { status } })

type Also = Partial<Pick<Change<unknown>, 'statements' | 'events'>>

async function change(
  ctx: Context,
  id: string,
  action: string,
  decide: (row: JobRow) => Promise<{ set: Partial<JobRow> } & Also>,
): Promise<Seen> {
  const row = await revise(
    ctx,
    jobs,
    'job',
    id,
    async (before) => {
      mayEnd(ctx, before)
      const { set, ...rest } = await decide(before)
      const audit = { action, resource: 'job', resource_id: id }
      return {
        set,
        ...rest,
        audit: { ...audit, before: shown(before), after: shown({ ...before, ...set }) },
      }
    },
    view,
  )
  ctx.defer(wakeJob(ctx.env, { tenant_id: ctx.tenant.id, job_id: id }))
  ctx.defer(sayJob(ctx, row))
  return view(row)
}

/** Asked before a stored answer is given again: 403 where the caller may not end such a job any more. */
export async function stillEnds(ctx: Context, { id = '' }: Record<string, string>): Promise<void> {
  const row = await find(ctx, jobs, id)
  if (row) mayEnd(ctx, row)
}

/** Who may not start such a job may neither stop one nor have it go on. */
function mayEnd(ctx: Context, { kind }: JobRow): void {
  const scope = kindOf(kind)?.scope
  if (scope === undefined || ctx.principal.scopes.has(scope)) return
  throw problem('insufficient_scope', `A job of the kind ${kind} needs the scope ${scope}`, {
    details: { required: [scope], missing: scope },
  })
}

const shown = ({ kind, status, progress }: JobRow) => ({ kind, status, progress })

const view = ({ state: _, failures: _failures, next_at: _next, ...row }: JobRow): Seen => row

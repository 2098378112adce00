import { and, asc, desc, eq, isNull, lt, lte } from 'drizzle-orm'
import type { RequestContext } from '../../../data/context'
import { directory } from '../../../data/database'
import { type Page, pageOf } from '../../../data/page'
import { bareTenant, systemContext } from '../../../data/system'
import type { Bindings } from '../../../env'
import { iso } from '../../../lib/ids'
import { describeError, log } from '../../../lib/log'
import { problem } from '../../../lib/problem'
import type { Deletion } from './schema'
import { begin, end, OVERTAKEN, stepsOf } from './steps'
import { type DeletionRow, deletions } from './table'

/** Tenants that one run of the cron carries on, and for how long: the next goes on where it ended. */
const AT_ONCE = 5
const RUN_MS = 20_000
/** Slices of a run: an invocation has a thousand calls, and a slice makes twenty at most. */
const SLICES = 30

/** Where the last step of a pass leads. */
const END = 'end'

const shown = ({ id, started_at, finished_at, ...row }: DeletionRow): Deletion => ({
  tenant_id: id,
  status: finished_at !== null ? 'done' : started_at !== null ? 'running' : 'scheduled',
  requested_by: row.requested_by,
  cancelled_at: row.cancelled_at,
  delete_after: row.delete_after,
  started_at,
  finished_at,
  removed: row.removed,
})

/** Every deletion of a tenant, the youngest tenants' first. */
export function listDeletions(
  { env }: Pick<RequestContext, 'env'>,
  input: { limit: number; cursor?: string | undefined },
): Promise<Page<Deletion>> {
  return pageOf('deletions', input, async (after, limit) => {
    const rows = await directory(env)
      .select()
      .from(deletions)
      .where(after ? lt(deletions.id, after.id) : undefined)
      .orderBy(desc(deletions.id))
      .limit(limit)
    return rows.map((row) => ({ ...shown(row), id: row.id }))
  })
}

/** How the deletion of a cancelled tenant stands, and what it removed. 404. */
export async function getDeletion({ env }: Pick<RequestContext, 'env'>, id: string): Promise<Deletion> {
  const row = await read(env, id)
  if (!row) throw problem.notFound('deletion', id)
  return shown(row)
}

const read = (env: Bindings, id: string): Promise<DeletionRow | undefined> =>
  directory(env).select().from(deletions).where(eq(deletions.id, id)).get()

/** Carries on the deletions that are due. One that fails is tried again after the others. */
export async function tendDeletions(
  env: Bindings,
  execution: Pick<ExecutionContext, 'waitUntil'>,
  now: number,
): Promise<void> {
  const due = await directory(env)
    .select({ id: deletions.id })
    .from(deletions)
    .where(and(isNull(deletions.finished_at), lte(deletions.resume_at, iso(now))))
    .orderBy(asc(deletions.resume_at))
    .limit(AT_ONCE)
  const until = Date.now() + RUN_MS
  let slices = SLICES
  for (const { id } of due)
    try {
      slices = await carryOn(env, execution, id, { now, until, slices })
    } catch (error) {
      if (error !== OVERTAKEN) log.error('deletion_failed', { tenant_id: id, cause: describeError(error) })
      await lineUpAgain(env, id, now)
    }
}

/** Due before all others, one that fails every time would take their place in every run. */
const lineUpAgain = (env: Bindings, id: string, now: number): Promise<unknown> =>
  directory(env)
    .update(deletions)
    .set({ resume_at: iso(now) })
    .where(and(eq(deletions.id, id), lte(deletions.resume_at, iso(now))))
    .catch((error: unknown) => log.error('deletion_failed', { tenant_id: id, cause: describeError(error) }))

type Budget = { now: number; until: number; slices: number }

async function carryOn(
  env: Bindings,
  execution: Pick<ExecutionContext, 'waitUntil'>,
  id: string,
  { now, until, slices }: Budget,
): Promise<number> {
  for (let left = slices; ; left--) {
    if (left === 0 || Date.now() > until) return left
    const row = await read(env, id)
    if (!row || row.finished_at !== null || row.resume_at > iso(now)) return left
    const ctx = systemContext(env, bareTenant(id), 'deletion', (work) => execution.waitUntil(work))
    await slice({ ...ctx, now }, row)
  }
}

async function slice(ctx: ReturnType<typeof systemContext>, row: DeletionRow): Promise<void> {
  const steps = stepsOf()
  const first = steps[0]?.name ?? END
  if (row.started_at === null) await begin(ctx, row, first)
  else if (row.step === END) {
    if (await end(ctx, row, first)) log.info('tenant_deleted', { tenant_id: row.id })
  } else {
    const at = steps.findIndex(({ name }) => name === row.step)
    // A step that is no more, since a table was dropped meanwhile: the pass begins again, and finds little.
    if (at < 0) await begin(ctx, row, first)
    else await steps[at]?.run(ctx, row, steps[at + 1]?.name ?? END)
  }
}

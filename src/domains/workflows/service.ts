import { and, desc, eq, inArray, lt, type SQL, sql } from 'drizzle-orm'
import { commit } from '../../data/commit'
import { actingUser, type Context } from '../../data/context'
import { type Page, pageOf } from '../../data/page'
import { find, removal, revise } from '../../data/revise'
import { defined } from '../../lib/defined'
import { iso, newId } from '../../lib/ids'
import { problem } from '../../lib/problem'
import { cancelAbout, sayCancelledAbout } from '../jobs/about'
import { checkSteps } from './rights'
import type { CreateWorkflow, ListWorkflows, UpdateWorkflow, Workflow } from './schema'
import { type WorkflowRow, workflows, workflowTriggers } from './table'
import { forgetWhetherTriggered } from './triggered'
import { forgetEvents, triggerStatements } from './triggers'

const MOST_WORKFLOWS = 100

/** Makes a workflow. 403 where its steps do what the caller may not, 409 where the tenant has its most. */
export async function createWorkflow(ctx: Context, input: CreateWorkflow): Promise<Workflow> {
  await checkSteps(ctx, input.steps)
  const now = iso(ctx.now)
  const row: WorkflowRow = {
    ...{ tenant_id: ctx.tenant.id, id: newId(ctx.now), ...input },
    ...{ created_by: actingUser(ctx), version: 1, created_at: now, updated_at: now },
  }
  const full = sql`select 1 from workflows where tenant_id = ${ctx.tenant.id} limit 1 offset ${MOST_WORKFLOWS - 1}`
  const room = {
    holds: sql`not exists (${full})`,
    otherwise: problem('conflict', `A tenant has at most ${MOST_WORKFLOWS} workflows; delete one first`),
  }
  const triggers = triggerStatements(ctx, row)
  const made = await commit(ctx, {
    statements: [room, ctx.db.insert(workflows).values(row), ...triggers.statements],
    audit: { action: 'workflow.create', resource: 'workflow', resource_id: row.id, after: audited(row) },
    result: { ...row, next_run_at: triggers.next_run_at },
  })
  forgetWhetherTriggered(ctx)
  return made
}

/** The tenant's workflows, newest first. */
export async function listWorkflows(ctx: Context, input: ListWorkflows): Promise<Page<Workflow>> {
  const { is_active, q } = input
  const words = (q ?? '').split(/\s+/).filter(Boolean)
  const page = await pageOf(
    `workflows:${ctx.tenant.id}:${JSON.stringify([is_active, q])}`,
    input,
    (after, limit) =>
      ctx.db
        .select()
        .from(workflows)
        .where(
          and(
            eq(workflows.tenant_id, ctx.tenant.id),
            after ? lt(workflows.id, after.id) : undefined,
            is_active === undefined ? undefined : eq(workflows.is_active, is_active),
            ...words.map(mentions),
          ),
        )
        .orderBy(desc(workflows.id))
        .limit(limit),
  )
  return { ...page, items: await withNextRun(ctx, page.items) }
}

/** SQLite lowers ASCII only, so a word with other letters is also looked for as it is written. */
function mentions(word: string): SQL {
  const text = sql`${workflows.name} || ' ' || ${workflows.description}`
  return sql`(instr(lower(${text}), ${word.toLowerCase()}) > 0 or instr(${text}, ${word}) > 0)`
}

/** One workflow; 404. */
export async function getWorkflow(ctx: Context, id: string): Promise<Workflow> {
  const [seen] = await withNextRun(ctx, [await existingWorkflow(ctx, id)])
  return seen as Workflow
}

/** The row of a workflow; 404. */
export async function existingWorkflow(ctx: Context, id: string): Promise<WorkflowRow> {
  const row = await find(ctx, workflows, id)
  if (!row) throw problem.notFound('workflow', id)
  return row
}

/** Changes a workflow; runs that are under way go on with the steps they began with. 403, 404, 412. */
export async function updateWorkflow(ctx: Context, id: string, input: UpdateWorkflow): Promise<Workflow> {
  let next_run_at: string | null = null
  const row = await revise(
    ctx,
    workflows,
    'workflow',
    id,
    async (before) => {
      // Who switches it on again has it do what it does.
      if (input.steps || (input.is_active && !before.is_active))
        await checkSteps(ctx, input.steps ?? before.steps)
      const set = defined(input) as Partial<CreateWorkflow>
      const after = { ...before, ...set }
      const isStarted = input.triggers !== undefined || input.is_active !== undefined
      const triggers = triggerStatements(ctx, after)
      next_run_at = isStarted ? triggers.next_run_at : await nextRunOf(ctx, id)
      return {
        set,
        statements: [
          ...(isStarted ? triggers.statements : []),
          ...(after.is_active ? [] : [forgetEvents(ctx, id)]),
        ],
        audit: {
          ...{ action: 'workflow.update', resource: 'workflow', resource_id: id },
          ...{ before: changed(before, input), after: changed(after, input) },
        },
      }
    },
    (after) => ({ ...after, next_run_at }),
  )
  forgetWhetherTriggered(ctx)
  return { ...row, next_run_at }
}

/** Deletes a workflow and cancels its runs that are under way; what runs there were can be read as jobs. 404, 412. */
export async function deleteWorkflow(ctx: Context, id: string): Promise<undefined> {
  const row = await existingWorkflow(ctx, id)
  await commit(ctx, {
    statements: [
      removal(ctx, workflows, 'workflow', id),
      ...triggerStatements(ctx, { ...row, is_active: false }).statements,
      forgetEvents(ctx, id),
      cancelAbout(ctx, id),
    ],
    audit: { action: 'workflow.delete', resource: 'workflow', resource_id: id, before: audited(row) },
    result: undefined,
  })
  ctx.defer(sayCancelledAbout(ctx, id))
}

const nextRunOf = async (ctx: Context, id: string) => (await nextRuns(ctx, [id])).get(id) ?? null

async function withNextRun(ctx: Context, rows: readonly WorkflowRow[]): Promise<Workflow[]> {
  const next = await nextRuns(
    ctx,
    rows.map(({ id }) => id),
  )
  return rows.map((row) => ({ ...row, next_run_at: next.get(row.id) ?? null }))
}

/** When schedules start workflows next. */
async function nextRuns(ctx: Context, ids: readonly string[]): Promise<Map<string, string>> {
  const next = new Map<string, string>()
  if (ids.length === 0) return next
  const rows = await ctx.db
    .select({ id: workflowTriggers.workflow_id, at: workflowTriggers.next_at })
    .from(workflowTriggers)
    .where(
      and(
        eq(workflowTriggers.tenant_id, ctx.tenant.id),
        inArray(workflowTriggers.workflow_id, sql`(select value from json_each(${JSON.stringify(ids)}))`),
      ),
    )
  for (const { id, at } of rows) if (at !== null && at < (next.get(id) ?? '~')) next.set(id, at)
  return next
}

const audited = ({ name, description, is_active, triggers, steps, max_runs }: WorkflowRow) => ({
  ...{ name, description, is_active, triggers, steps, max_runs },
})

const changed = (row: WorkflowRow, input: UpdateWorkflow) =>
  Object.fromEntries(Object.entries(audited(row)).filter(([name]) => name in input))

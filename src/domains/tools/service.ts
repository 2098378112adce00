import { and, eq, inArray, sql } from 'drizzle-orm'
import { commit } from '../../data/commit'
import { actingUser, type Context } from '../../data/context'
import { newest } from '../../data/newest'
import type { Page } from '../../data/page'
import { find, removal, revise } from '../../data/revise'
import { defined } from '../../lib/defined'
import { iso, newId } from '../../lib/ids'
import { problem } from '../../lib/problem'
import { callTool } from './call'
import { tellingOf } from './changed'
import { admitCaller, checkTool, wrongArguments } from './check'
import type { CreateTool, ListTools, TestTool, ToolResult, UpdateTool } from './schema'
import { type ToolRow, tools } from './table'

export async function createTool(ctx: Context, input: CreateTool): Promise<ToolRow> {
  await checkTool(ctx, input)
  const now = iso(ctx.now)
  const row: ToolRow = {
    ...{ tenant_id: ctx.tenant.id, id: newId(ctx.now), ...input, created_by: actingUser(ctx) },
    ...{ version: 1, created_at: now, updated_at: now },
  }
  return commit(ctx, {
    statements: [ctx.db.insert(tools).values(row)],
    audit: { action: 'tool.create', resource: 'tool', resource_id: row.id, after: shown(row) },
    unique: { 'tools.name': taken(row.name) },
    result: row,
  })
}

const taken = (name: string) => problem('already_exists', `There is a tool called ${name}; take another name`)

/** The tenant’s tools, newest first. */
export function listTools(ctx: Context, input: ListTools): Promise<Page<ToolRow>> {
  return newest(ctx, tools, input, { name: input.name })
}

export async function getTool(ctx: Context, id: string): Promise<ToolRow> {
  const row = await find(ctx, tools, id)
  if (!row) throw problem.notFound('tool', id)
  return row
}

/** The tools of these ids, in this order, as far as there are such. */
export async function toolsOf(ctx: Context, ids: readonly string[]): Promise<ToolRow[]> {
  if (ids.length === 0) return []
  const rows = await ctx.db
    .select()
    .from(tools)
    .where(
      and(
        eq(tools.tenant_id, ctx.tenant.id),
        inArray(tools.id, sql`(select value from json_each(${JSON.stringify(ids)}))`),
      ),
    )
  return ids.flatMap((id) => rows.find((row) => row.id === id) ?? [])
}

/** Changes what is named of a tool; agents that have it go by it from their next answer on. 404, 409, 412. */
export async function updateTool(ctx: Context, id: string, input: UpdateTool): Promise<ToolRow> {
  const set = defined(input)
  // Named here, since the refusal is made before the row is read.
  const unique = input.name === undefined ? {} : { 'tools.name': taken(input.name) }
  const tell = await tellingOf(ctx, id)
  const row = await revise(ctx, tools, 'tool', id, async (before) => {
    const after = { ...before, ...set }
    await checkTool(ctx, after, before)
    return {
      set,
      unique,
      audit: {
        ...{ action: 'tool.update', resource: 'tool', resource_id: id },
        ...{ before: shown(before), after: shown(after) },
      },
    }
  })
  await tell()
  return row
}

/** Deletes a tool; the agents that had it go on without it. 404, 412. */
export async function deleteTool(ctx: Context, id: string): Promise<undefined> {
  const row = await getTool(ctx, id)
  const tell = await tellingOf(ctx, id)
  await commit(ctx, {
    statements: [removal(ctx, tools, 'tool', id)],
    audit: { action: 'tool.delete', resource: 'tool', resource_id: id, before: shown(row) },
    result: undefined,
  })
  await tell()
}

/** Calls a tool once, and answers with what came back. 404, 422 for arguments that its schema does not allow. */
export async function testTool(ctx: Context, id: string, { arguments: args }: TestTool): Promise<ToolResult> {
  const tool = await getTool(ctx, id)
  admitCaller(ctx, tool)
  const wrong = wrongArguments(tool, args)
  if (wrong) throw problem.invalid(wrong)
  return callTool(ctx, tool, args, { key: ctx.requestId })
}

/** Asked before a stored answer is given again: 403 where the caller may not have the tool called any more. */
export async function stillAdmitted(ctx: Context, { id = '' }: Record<string, string>): Promise<void> {
  const tool = await find(ctx, tools, id)
  if (tool) admitCaller(ctx, tool)
}

/** As the audit log keeps it. */
const shown = ({ name, description, url, method, headers, parameters }: ToolRow) => ({
  ...{ name, description, url, method, headers, parameters },
})

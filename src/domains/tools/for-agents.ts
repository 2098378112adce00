import type { Context } from '../../data/context'
import { find } from '../../data/revise'
import { type Calling, callTool } from './call'
import { wrongArguments } from './check'
import type { ToolResult } from './schema'
import { toolsOf } from './service'
import { type ToolRow, tools } from './table'

/** A tool as a model is told of it, and how it is called. */
export type AgentFunction = Pick<ToolRow, 'name' | 'description' | 'parameters'> & {
  /** Calls it with whatever a model gave; what is wrong with that is a result too, in words that a model can go by. */
  call: (args: unknown, calling: Calling) => Promise<ToolResult>
}

/** The tools of an agent, in its order. What they say may be kept for a while: the call itself goes by how they are then. */
export async function functionsOf(ctx: Context, ids: readonly string[]): Promise<AgentFunction[]> {
  const rows = await toolsOf(ctx, ids)
  return rows.map(({ id, name, description, parameters }) => ({
    ...{ name, description, parameters },
    call: (args, calling) => called(ctx, id, args, calling),
  }))
}

async function called(ctx: Context, id: string, args: unknown, calling: Calling): Promise<ToolResult> {
  const tool = await find(ctx, tools, id)
  if (!tool) return refused('there is no such tool any more')
  if (typeof args !== 'object' || args === null || Array.isArray(args))
    return refused('its arguments must be a JSON object')
  const wrong = wrongArguments(tool, args)
  if (wrong === null) return callTool(ctx, tool, args as Record<string, unknown>, calling)
  const said = Object.entries(wrong).map(([path, message]) => `${path} ${message}`)
  return refused(`it was not called, since ${said.join('; ')}`)
}

const refused = (error: string): ToolResult => ({
  ...{ ok: false, status: null, output: null },
  ...{ error, duration_ms: 0 },
})

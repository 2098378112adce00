import { type SQL, sql } from 'drizzle-orm'
import type { Check } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { type FieldErrors, problem } from '../../../lib/problem'
import type { Scope } from '../../tenancy/scopes'
import { admitCaller } from '../../tools/check'
import { toolsOf } from '../../tools/service'
import type { AgentRow } from './table'

// What an agent names of the tenant's other resources. It is there when the agent is written; once it is deleted, triggers
// take it out of the agents.

/**
 * The fields, with their tables by name (voices are of the voice platform, which builds on this), and what who names one
 * must hold: an agent tells everybody who may ask it what it knows.
 */
const REFERENCES = [
  {
    field: 'voice_id',
    table: 'voices',
    scope: 'voices:read',
    must: 'must be the id of a voice; GET /api/v1/voices lists them',
  },
  {
    field: 'tools',
    table: 'tools',
    scope: 'tools:read',
    must: 'must be the id of a tool; GET /api/v1/tools lists them',
  },
  {
    field: 'knowledge_base_ids',
    table: 'knowledge_bases',
    scope: 'kb:read',
    must: 'must be the id of a knowledge base; GET /api/v1/kb lists them',
  },
] as const

type Naming = Pick<AgentRow, (typeof REFERENCES)[number]['field']>

/** The ids of a field that the agent did not have before. */
function added(before: Naming | null, after: Naming, field: keyof Naming): string[] {
  const [was, now] = [before, after].map((agent) => [agent?.[field] ?? []].flat())
  return (now ?? []).filter((id) => !was?.includes(id))
}

/** Those of the ids that the tenant has no row of. */
const missing = (ctx: Context, table: string, ids: readonly string[]): SQL => sql`select value as id
  from json_each(${JSON.stringify(ids)}) where not exists (
    select 1 from ${sql.identifier(table)} as t where t.tenant_id = ${ctx.tenant.id} and t.id = value)`

/** Each id that names nothing, by its place; 403 where the caller may not read such things. Without a new one D1 is not asked. */
export async function refusedReferences(ctx: Context, before: Naming, after: Naming): Promise<FieldErrors> {
  const errors: FieldErrors = {}
  for (const { field, table, scope, must } of REFERENCES) {
    const ids = added(before, after, field)
    if (ids.length === 0) continue
    if (!ctx.principal.scopes.has(scope)) throw lacking(field, scope)
    if (field === 'tools') await admitTools(ctx, ids)
    const gone = await ctx.db.select({ id: sql<string>`id` }).from(sql`(${missing(ctx, table, ids)})`)
    for (const { id } of gone) {
      const named = after[field]
      errors[Array.isArray(named) ? `${field}.${named.indexOf(id)}` : field] = must
    }
  }
  return errors
}

/** A tool’s secrets are sent for every agent that has it. */
async function admitTools(ctx: Context, ids: readonly string[]): Promise<void> {
  if (ctx.impersonator === null && ctx.principal.scopes.has('secrets:use')) return
  for (const tool of await toolsOf(ctx, ids)) admitCaller(ctx, tool)
}

const lacking = (field: string, missing: Scope) =>
  problem('insufficient_scope', `To set ${field} of an agent needs the scope ${missing}`, {
    details: { required: [missing], missing },
  })

/** That what an agent newly names is still there when the agent is written. */
export function referencesStand(ctx: Context, before: Naming | null, after: Naming): Check[] {
  return REFERENCES.flatMap(({ field, table, must }) => {
    const ids = added(before, after, field)
    if (ids.length === 0) return []
    return {
      holds: sql`not exists (${missing(ctx, table, ids)})`,
      otherwise: problem.invalid({ [field]: `${must} (one was deleted meanwhile)` }),
    }
  })
}

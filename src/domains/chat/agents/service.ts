import { and, desc, eq, lt, type SQL, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import { actingUser, type Context } from '../../../data/context'
import { type Page, pageOf } from '../../../data/page'
import { find, removal, revise } from '../../../data/revise'
import { iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { functionsOf } from '../../tools/for-agents'
import { makeSecret } from '../../webhooks/endpoints/secret'
import { tellChatsOf } from '../chats/agent-changed'
import { dropPicture } from './avatar'
import { referencesStand } from './references'
import type { CreateAgent, ListAgents, UpdateAgent } from './schema'
import { openSecrets } from './secrets'
import { kindMeant, settleAgent } from './settle'
import { isKept } from './sync/keeper'
import { syncDue, syncSoon } from './sync/service'
import { type AgentRow, agents } from './table'
import type { AnsweringAgent } from './upstreams/upstream'

/** Makes an agent; only this answer shows the signing secret of a webhook agent. */
export async function createAgent(ctx: Context, input: CreateAgent): Promise<AgentRow> {
  const id = newId(ctx.now)
  const signing_secret = input.signing_secret ?? (kindMeant(input) === 'webhook' ? makeSecret() : undefined)
  const now = iso(ctx.now)
  const row: AgentRow = {
    ...(await settleAgent(ctx, id, null, { ...input, signing_secret })),
    tenant_id: ctx.tenant.id,
    id,
    created_by: actingUser(ctx),
    version: 1,
    created_at: now,
    updated_at: now,
  }
  const made = await commit(ctx, {
    statements: [
      ...referencesStand(ctx, null, row),
      ctx.db.insert(agents).values(row),
      ...(isKept(row) ? [syncDue(ctx, id, null)] : []),
    ],
    result: { ...row, signing_secret: signing_secret ?? null },
    audit: { action: 'agent.create', resource: 'agent', resource_id: id, after: audited(row) },
    secret: true,
  })
  if (isKept(row)) syncSoon(ctx, id)
  return made
}

/** The tenant's agents, newest first; inactive ones where they are asked for. */
export function listAgents(ctx: Context, input: ListAgents): Promise<Page<AgentRow>> {
  const { limit: _limit, cursor: _cursor, ...filters } = input
  const words = (filters.q ?? '').split(/\s+/).filter(Boolean)
  return pageOf(`agents:${ctx.tenant.id}:${JSON.stringify(filters)}`, input, (after, limit) =>
    ctx.db
      .select()
      .from(agents)
      .where(
        and(
          eq(agents.tenant_id, ctx.tenant.id),
          after ? lt(agents.id, after.id) : undefined,
          filters.include_inactive ? undefined : eq(agents.is_active, true),
          filters.kind ? eq(agents.kind, filters.kind) : undefined,
          ...words.map(mentions),
        ),
      )
      .orderBy(desc(agents.id))
      .limit(limit),
  )
}

/** SQLite lowers ASCII only, so a word with other letters is also looked for as it is written. */
function mentions(word: string): SQL {
  const text = sql`${agents.name} || ' ' || coalesce(${agents.description}, '')`
  return sql`(instr(lower(${text}), ${word.toLowerCase()}) > 0 or instr(${text}, ${word}) > 0)`
}

/** One agent; 404. */
export async function getAgent(ctx: Context, id: string): Promise<AgentRow> {
  const row = await find(ctx, agents, id)
  if (!row) throw problem.notFound('agent', id)
  return row
}

/** Merges the fields that were sent into an agent. 404, 412, or 422 where the whole would not be right. */
export async function updateAgent(ctx: Context, id: string, input: UpdateAgent): Promise<AgentRow> {
  let gone: string | null = null
  const row = await revise(ctx, agents, 'agent', id, async (before) => {
    const set = await settleAgent(ctx, id, before, input)
    gone = before.avatar === set.avatar ? null : before.avatar
    const changed = (name: string) => before[name as keyof typeof set] !== set[name as keyof typeof set]
    const only = (from: AgentRow) =>
      Object.fromEntries(Object.entries(audited(from)).filter(([name]) => changed(name)))
    const after = { ...before, ...set }
    return {
      set,
      statements: [
        ...referencesStand(ctx, before, after),
        ...(isKept(after) ? [syncDue(ctx, id, null)] : []),
      ],
      audit: {
        action: 'agent.update',
        resource: 'agent',
        resource_id: id,
        before: only(before),
        after: only(after),
      },
    }
  })
  if (isKept(row)) syncSoon(ctx, id)
  await tellChatsOf(ctx, id)
  if (gone !== null) ctx.defer(dropPicture(ctx, id, gone))
  return row
}

/** Deletes an agent with its secrets and picture; its chats stay, and can be read. 404, 412. */
export async function deleteAgent(ctx: Context, id: string): Promise<undefined> {
  const row = await getAgent(ctx, id)
  await commit(ctx, {
    statements: [removal(ctx, agents, 'agent', id), ...(isKept(row) ? [syncDue(ctx, id, row)] : [])],
    result: undefined,
    audit: { action: 'agent.delete', resource: 'agent', resource_id: id, before: audited(row) },
  })
  if (isKept(row)) syncSoon(ctx, id)
  await tellChatsOf(ctx, id)
  if (row.avatar !== null) ctx.defer(dropPicture(ctx, id, row.avatar))
}

/** An agent as a chat asks it, its secrets in clear; null where the tenant has none of that id (any more). */
export async function getAnsweringAgent(
  ctx: Context,
  id: string,
): Promise<(AnsweringAgent & { is_active: boolean; name: string; version: number }) | null> {
  const row = await find(ctx, agents, id)
  if (!row) return null
  const calls = row.kind === 'openai' || row.kind === 'workers_ai'
  const [secrets, functions] = await Promise.all([
    openSecrets(ctx, row),
    calls ? functionsOf(ctx, row.tools) : [],
  ])
  return { ...row, ...secrets, functions }
}

/** Refuses an agent that can't be written to: 409 `agent_inactive`, `agent_on_calls_only`. */
export function mustAnswer(agent: Pick<AgentRow, 'kind' | 'is_active'>): void {
  if (agent.kind === 'ultravox')
    throw problem('agent_on_calls_only', 'The agent speaks on calls, and is not written to')
  if (!agent.is_active) throw problem('agent_inactive', 'The agent is inactive')
}

/** A row for the audit log: of its secrets only whether they are set. */
function audited(row: AgentRow): Record<string, unknown> {
  const { tenant_id, id, version, created_at, updated_at, created_by, ...fields } = row
  const isSet = (sealed: string | null) => (sealed === null ? null : 'set')
  return {
    ...fields,
    webhook_token: isSet(row.webhook_token),
    signing_secret: isSet(row.signing_secret),
    api_key: isSet(row.api_key),
  }
}

import { and, asc, eq, gt, isNotNull, lte, sql } from 'drizzle-orm'
import { commit } from '../../../../data/commit'
import type { Context } from '../../../../data/context'
import { directory } from '../../../../data/database'
import { erasedWithTenant } from '../../../../data/erasure'
import { onClock, onSweep } from '../../../../data/sweeping'
import { bareTenant, systemContext } from '../../../../data/system'
import { iso } from '../../../../lib/ids'
import { describeError, log } from '../../../../lib/log'
import { Problem } from '../../../../lib/problem'
import { agents } from '../table'
import { keeperOfAgents } from './keeper'
import { syncAgent } from './service'
import { agentSyncs } from './table'

/** Agents whose provider one sweep tells, all at once: a provider that is slow holds up nobody else's sweep for long. */
const MOST_AT_ONCE = 6

onSweep('agents_not_synced', async (env, ctx, now) => {
  const due = await directory(env)
    .select({ tenant_id: agentSyncs.tenant_id, agent_id: agentSyncs.agent_id })
    .from(agentSyncs)
    .where(lte(agentSyncs.due_at, iso(now)))
    .orderBy(asc(agentSyncs.due_at))
    .limit(MOST_AT_ONCE)
  const all = due.map(({ tenant_id, agent_id }) =>
    syncAgent(
      systemContext(env, bareTenant(tenant_id), 'agent-sync', (work) => ctx.waitUntil(work)),
      agent_id,
    ).catch((error: unknown) =>
      log.error('agent_sync_failed', { tenant_id, agent_id, cause: describeError(error) }),
    ),
  )
  await Promise.all(all)
  return due.length
})

onClock(async (env) => {
  const [first] = await directory(env)
    .select({ at: agentSyncs.due_at })
    .from(agentSyncs)
    .orderBy(asc(agentSyncs.due_at))
    .limit(1)
  return first ? Date.parse(first.at) : null
})

/** The tenant's agents that are at their provider, and those that are to be deleted there. */
async function keptThere(ctx: Context, after: string, limit: number): Promise<string[]> {
  const { db, tenant } = ctx
  const [there, going] = await Promise.all([
    db
      .select({ id: agents.id })
      .from(agents)
      .where(and(eq(agents.tenant_id, tenant.id), gt(agents.id, after), isNotNull(agents.provider_agent_id)))
      .orderBy(asc(agents.id))
      .limit(limit),
    db
      .select({ id: agentSyncs.agent_id })
      .from(agentSyncs)
      .where(and(eq(agentSyncs.tenant_id, tenant.id), gt(agentSyncs.agent_id, after)))
      .orderBy(asc(agentSyncs.agent_id))
      .limit(limit),
  ])
  const ids = new Set([...there, ...going].map(({ id }) => id))
  return [...ids].sort().slice(0, limit)
}

/** Nothing of it is told again; a provider that refuses keeps what it has, and the tenant goes all the same. */
async function removeThere(ctx: Context, id: string): Promise<void> {
  const one = and(eq(agents.tenant_id, ctx.tenant.id), eq(agents.id, id))
  const sync = and(eq(agentSyncs.tenant_id, ctx.tenant.id), eq(agentSyncs.agent_id, id))
  const [[agent], [due]] = await Promise.all([
    ctx.db.select({ there: agents.provider_agent_id }).from(agents).where(one).limit(1),
    ctx.db.select({ there: agentSyncs.removed }).from(agentSyncs).where(sync).limit(1),
  ])
  const provider_agent_id = agent?.there ?? due?.there ?? null
  await keeperOfAgents()
    ?.remove(ctx, { id, provider_agent_id: provider_agent_id === '' ? null : provider_agent_id })
    .catch((error: unknown) => {
      if (!(error instanceof Problem) || error.retryable) throw error
      log.warn('agent_left_at_provider', { tenant_id: ctx.tenant.id, agent_id: id, cause: error.message })
    })
  await commit(ctx, {
    statements: [
      ctx.db.update(agents).set({ provider_agent_id: null, version: sql`version + 1` }).where(one),
      ctx.db.delete(agentSyncs).where(sync),
    ],
    result: undefined,
  })
}

// While the rows still say which there are, and with what account.
erasedWithTenant({
  name: 'agents_at_provider',
  keys: keptThere,
  erase: (env, tenantId, id) =>
    removeThere(
      systemContext(env, bareTenant(tenantId), 'agent-sync', () => {}),
      id,
    ),
})

import type { Context } from '../../../data/context'
import { find } from '../../../data/revise'
import type { Provider } from '../../../lib/provider-fetch'
import { agentsKeptBy } from '../../chat/agents/sync/keeper'
import type { AgentRow } from '../../chat/agents/table'
import { neededProvider, providerOf } from '../../providers/choose'
import { operatorsProvider } from '../../providers/kinds'
import { toolsOf } from '../../tools/service'
import type { Asking } from '../answer'
import { voices } from '../voices/table'
import { agentNamed, createAgent, deleteAgent, updateAgent } from './client'
import { agentBody } from './template'

/** An attempt to tell Ultravox of an agent ends by then. */
const PATIENCE_MS = 25_000

/** Ultravox has a copy of each agent of the kind `ultravox`, by which its calls are made. */
agentsKeptBy({ save, remove })

async function save(ctx: Context, agent: AgentRow): Promise<string> {
  const account = await neededProvider(ctx, 'ultravox')
  const at: Asking = { ctx, account, until: Date.now() + PATIENCE_MS }
  const body = await bodyOf(ctx, agent, account)
  const known = agent.provider_agent_id
  if (known !== null && (await updateAgent(at, known, body))) return known
  // Not known there: never made, made by an attempt whose answer was lost, or in an account that was the tenant’s before.
  const lost = await agentNamed(at, agent.id)
  if (lost !== null && (await updateAgent(at, lost, body))) return lost
  return createAgent(at, body)
}

async function bodyOf(ctx: Context, agent: AgentRow, { own, options: { model } }: Provider) {
  const [voice, tools] = await Promise.all([
    agent.voice_id === null ? null : find(ctx, voices, agent.voice_id),
    toolsOf(ctx, agent.tools),
  ])
  return agentBody(agent, {
    ...{ voice, tools, publicUrl: ctx.settings.PUBLIC_URL, own },
    ...(model === undefined ? {} : { model }),
  })
}

async function remove(ctx: Context, agent: Pick<AgentRow, 'id' | 'provider_agent_id'>): Promise<void> {
  // Without any account there is nobody to tell.
  const now = await providerOf(ctx, 'ultravox')
  const known = agent.provider_agent_id
  if (now) await removeFrom(ctx, now, async (at) => known ?? (await agentNamed(at, agent.id)))
  // Before the tenant had an account of its own the operator’s had its agents, under ids of its own.
  const before = now?.own ? operatorsProvider(ctx.settings, 'ultravox') : null
  if (before) await removeFrom(ctx, before, (at) => agentNamed(at, agent.id))
}

async function removeFrom(
  ctx: Context,
  account: Provider,
  idOf: (at: Asking) => Promise<string | null>,
): Promise<void> {
  const at: Asking = { ctx, account, until: Date.now() + PATIENCE_MS }
  const id = await idOf(at)
  if (id !== null) await deleteAgent(at, id)
}

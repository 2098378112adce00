import type { Context } from '../../../data/context'
import { find } from '../../../data/revise'
import { isUuid } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { getAnsweringAgent, listAgents, mustAnswer } from '../agents/service'
import { type AgentRow, agents } from '../agents/table'
import type { AnsweringAgent } from '../agents/upstreams/upstream'
import type { Model, ModelList } from './schema'

/** Agents that are listed; OpenAI’s list has no pages. */
const MOST_MODELS = 1000

const modelOf = ({ id, name, created_at }: Pick<AgentRow, 'id' | 'name' | 'created_at'>): Model => ({
  id,
  object: 'model',
  created: Math.floor(Date.parse(created_at) / 1000),
  owned_by: 'causeway',
  name,
})

const isWritten = ({ kind }: Pick<AgentRow, 'kind'>): boolean => kind !== 'ultravox'

/** The agents that answer, as OpenAI’s models, newest first. */
export async function listModels(ctx: Context): Promise<ModelList> {
  const data: Model[] = []
  for (let cursor: string | undefined; data.length < MOST_MODELS; ) {
    const page = await listAgents(ctx, { limit: 100, include_inactive: false, ...(cursor && { cursor }) })
    data.push(...page.items.filter(isWritten).map(modelOf))
    if (page.next_cursor === null) break
    cursor = page.next_cursor
  }
  return { object: 'list', data }
}

/** One agent that answers, as OpenAI’s model. 404. */
export async function getModel(ctx: Context, id: string): Promise<Model> {
  const agent = isUuid(id) ? await find(ctx, agents, id.toLowerCase()) : null
  if (!agent?.is_active || !isWritten(agent)) throw problem.notFound('model', id)
  return modelOf(agent)
}

/** The agent that a model names, with its secrets; 404, and 409 where it is inactive. */
export async function agentOf(ctx: Context, model: string): Promise<AnsweringAgent> {
  const agent = isUuid(model) ? await getAnsweringAgent(ctx, model.toLowerCase()) : null
  if (!agent) throw problem.notFound('model', model)
  mustAnswer(agent)
  return agent
}

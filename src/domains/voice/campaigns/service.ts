import { and, desc, eq, type SQL, sql } from 'drizzle-orm'
import { type Check, commit } from '../../../data/commit'
import { actingUser, type Context } from '../../../data/context'
import { type Page, pageAmong, pageOf } from '../../../data/page'
import { find, revise } from '../../../data/revise'
import { madeBetween } from '../../../data/span'
import { defined } from '../../../lib/defined'
import { iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { callProviderOf } from '../calls/port'
import type { CreateCampaign, ListCampaigns, UpdateCampaign } from './schema'
import { type CampaignRow, campaigns } from './table'

/** A campaign as its tenant sees it; the version tells its counts apart, too. */
export type CampaignView = ReturnType<typeof viewOf>

export const countsOf = ({ contacts, pending, calling, completed, no_answer, failed }: CampaignRow) => ({
  ...{ total: contacts, pending, calling, completed, no_answer, failed },
})

export function viewOf(row: CampaignRow) {
  const { id, name, agent_id, from, status, paused_reason, schedule, job_id } = row
  const { started_at, completed_at, created_at, updated_at } = row
  return {
    ...{ id, name, agent_id, from, status, paused_reason, schedule, job_id, contacts: countsOf(row) },
    ...{ started_at, completed_at, created_at, updated_at, version: `${row.version}.${row.counted}` },
  }
}

export const hasEnded = ({ status }: CampaignRow): boolean => status === 'completed' || status === 'cancelled'

/** What events say of a campaign. */
export const eventData = (row: CampaignRow) => ({
  ...{ campaign_id: row.id, name: row.name, agent_id: row.agent_id, contacts: countsOf(row) },
  started_at: row.started_at,
})

/** 404. */
export async function existingCampaign(ctx: Context, id: string): Promise<CampaignRow> {
  const row = await find(ctx, campaigns, id)
  if (!row) throw problem.notFound('campaign', id)
  return row
}

export const getCampaign = async (ctx: Context, id: string): Promise<CampaignView> =>
  viewOf(await existingCampaign(ctx, id))

/** Makes a campaign that is yet to be scheduled. 422 where the agent or the number can't call. */
export async function createCampaign(ctx: Context, input: CreateCampaign): Promise<CampaignView> {
  const { name, agent_id, from = null } = input
  await mayCallFrom(ctx, from)
  const now = iso(ctx.now)
  const row: CampaignRow = {
    ...{ tenant_id: ctx.tenant.id, id: newId(ctx.now), name, agent_id, from, status: 'draft' },
    ...{ paused_reason: null, schedule: null, job_id: null, contacts: 0, pending: 0, calling: 0 },
    ...{ completed: 0, no_answer: 0, failed: 0, counted: 0, created_by: actingUser(ctx) },
    ...{ started_at: null, completed_at: null, version: 1, created_at: now, updated_at: now },
  }
  return commit(ctx, {
    statements: [agentAnswers(ctx, agent_id), ctx.db.insert(campaigns).values(row)],
    audit: { ...about('create', row.id), after: shown(row) },
    result: viewOf(row),
  })
}

/** What the log says of a change of a campaign. */
export const about = (verb: string, id: string) => ({
  ...{ action: `campaign.${verb}`, resource: 'campaign', resource_id: id },
})

const shown = ({ name, agent_id, from }: CampaignRow) => ({ name, agent_id, from })

/** That the agent is there, and active, when the batch runs. */
export const agentAnswers = (ctx: Context, agentId: string): Check => ({
  holds: sql`exists (select 1 from agents as a where a.tenant_id = ${ctx.tenant.id} and a.id = ${agentId} and a.is_active = 1)`,
  otherwise: problem.invalid({ agent_id: 'must be an active agent of yours; GET /api/v1/agents lists them' }),
})

async function mayCallFrom(ctx: Context, from: string | null): Promise<void> {
  if (from !== null) await (await callProviderOf(ctx)).callerNumber(ctx, from)
}

/** Changes what is named of a campaign; who calls, and from where, while it has not ended. 404, 409, 412, 422. */
export async function updateCampaign(ctx: Context, id: string, input: UpdateCampaign): Promise<CampaignView> {
  await mayCallFrom(ctx, input.from ?? null)
  const row = await revise(
    ctx,
    campaigns,
    'campaign',
    id,
    (before) => {
      const set = defined(input)
      if (hasEnded(before) && (set.agent_id !== undefined || set.from !== undefined))
        throw problem('conflict', `The campaign is ${before.status}, and calls nobody any more`, {
          details: { status: before.status },
        })
      const after = { ...before, ...set }
      return {
        set,
        statements: set.agent_id === undefined ? [] : [agentAnswers(ctx, set.agent_id)],
        audit: { ...about('update', id), before: shown(before), after: shown(after) },
      }
    },
    viewOf,
  )
  return viewOf(row)
}

/** The tenant's campaigns, newest first. */
export async function listCampaigns(ctx: Context, input: ListCampaigns): Promise<Page<CampaignView>> {
  const { status, agent_id, created_after, created_before } = input
  const list = `campaigns:${ctx.tenant.id}:${JSON.stringify([status, agent_id, created_after, created_before])}`
  const read = (by: SQL | undefined, from: string | null, limit: number) =>
    ctx.db
      .select()
      .from(campaigns)
      .where(and(eq(campaigns.tenant_id, ctx.tenant.id), by, madeBetween(campaigns.id, input, from)))
      .orderBy(desc(campaigns.id))
      .limit(limit)
  const byAgent = agent_id === undefined ? undefined : eq(campaigns.agent_id, agent_id)
  // An index leads to those of an agent, or of a status; of both, the agent's are looked through.
  const page =
    byAgent && status
      ? await pageAmong(
          list,
          input,
          (from, most) => read(byAgent, from, most),
          (row) => row.status === status,
        )
      : await pageOf(list, input, (after, limit) =>
          read(byAgent ?? (status && eq(campaigns.status, status)), after?.id ?? null, limit),
        )
  return { ...page, items: page.items.map(viewOf) }
}

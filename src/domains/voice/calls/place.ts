import { sql } from 'drizzle-orm'
import type { Change } from '../../../data/commit'
import { actingUser, type Context } from '../../../data/context'
import { insertRows } from '../../../data/insert-rows'
import { iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { bookedEach } from '../../billing/ledger'
import type { CallProvider } from './port'
import { firstHold, referenceOf } from './price'
import { type CallRow, calls } from './table'
import { wakeCalls } from './wake'

export type NewCall = {
  id?: string
  agent_id: string
  to: string
  from: string
  campaign_id?: string
  contact_id?: string
  metadata?: CallRow['metadata']
  max_duration_seconds?: number
}

type PlacedCalls = Required<Pick<Change<unknown>, 'statements' | 'events'>> & {
  rows: CallRow[]
  /** Done once that stands; a crash may leave it out, so it is no more than a nudge. */
  after: () => Promise<unknown>
}

/**
 * The statements that place calls, each with what is held of the tenant's credit for its first minute: they refuse the
 * whole batch with 409 `insufficient_credit` where there is too little for all, and with 422 `agent_id` where an agent is
 * gone or inactive. Not async: they belong into the batch of who has them placed.
 */
export function placedCalls(
  ctx: Context,
  { name }: Pick<CallProvider, 'name'>,
  asked: readonly NewCall[],
): PlacedCalls {
  const rows = asked.map((one) => newCall(ctx, name, one))
  const holds = rows
    .filter(({ reserved }) => reserved > 0)
    .map(({ id, reserved }) => ({ kind: 'reserve' as const, amount: -reserved, reference: referenceOf(id) }))
  const agents = [...new Set(asked.map(({ agent_id }) => agent_id))]
  return {
    rows,
    statements: [
      ...agents.map((id) => answers(ctx, id)),
      ...insertRows(ctx, calls, rows),
      ...bookedEach(ctx, holds),
    ],
    events: [],
    after: () => wakeCalls(ctx.env, ctx.tenant.id),
  }
}

/** What is held for a call to begin with; so many times goes the balance. */
export const holdOfEach = ({ settings }: Pick<Context, 'settings'>, maxSeconds?: number): number =>
  firstHold({
    credits_per_minute: settings.CALL_CREDITS_PER_MINUTE,
    max_duration_seconds: Math.min(maxSeconds ?? Number.POSITIVE_INFINITY, settings.CALL_MAX_MINUTES * 60),
  })

function newCall(ctx: Context, provider: string, asked: NewCall): CallRow {
  const { CALL_CREDITS_PER_MINUTE: credits_per_minute, CALL_MAX_MINUTES } = ctx.settings
  const now = iso(ctx.now)
  const { agent_id, to, from, campaign_id = null, contact_id = null, metadata = {} } = asked
  const max_duration_seconds = asked.max_duration_seconds ?? CALL_MAX_MINUTES * 60
  return {
    ...{ tenant_id: ctx.tenant.id, id: asked.id ?? newId(ctx.now), agent_id, campaign_id, contact_id },
    ...{ to, from, status: 'queued', provider, provider_call_id: null, carrier_call_id: null, own: null },
    ...{ asked_at: null, started_at: null, ended_at: null, duration_seconds: null, cost: null },
    ...{ credits_per_minute, reserved: firstHold({ credits_per_minute, max_duration_seconds }) },
    ...{ extensions: 0, max_duration_seconds, ended_reason: null, hang_up: false, turns: 0 },
    ...{ recording: null, recording_file_id: null, metadata, watched: false, next_at: now, failures: 0 },
    ...{ created_by: actingUser(ctx), version: 1, created_at: now, updated_at: now },
  }
}

const answers = (ctx: Context, agentId: string) => ({
  holds: sql`exists (select 1 from agents as a where a.tenant_id = ${ctx.tenant.id} and a.id = ${agentId} and a.is_active = 1)`,
  otherwise: problem.invalid({
    agent_id: 'must be an active agent of yours; GET /api/v1/agents lists them',
  }),
})

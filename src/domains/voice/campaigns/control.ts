import type { Change } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { type Revision, revise } from '../../../data/revise'
import { Problem, problem } from '../../../lib/problem'
import { eventOf } from '../../events/catalogue'
import { cancelAbout, hurryAbout, sayCancelledAbout } from '../../jobs/about'
import { getJob, jobStarted } from '../../jobs/service'
import { wakeJob } from '../../jobs/wake'
import { callerOf, Hindered } from './caller'
import { newState, running } from './run'
import type { ScheduleCampaign } from './schema'
import { about, agentAnswers, type CampaignView, countsOf, eventData, viewOf } from './service'
import { type CampaignRow, type CampaignStatus, campaigns, type Schedule } from './table'

// What people do to a campaign that runs, or is to.

/** From which states a campaign can be put into another one, and what to do in the others. */
const FROM: Record<string, { states: CampaignStatus[]; otherwise: Partial<Record<CampaignStatus, string>> }> =
  {
    schedule: {
      states: ['draft', 'scheduled', 'paused'],
      otherwise: { running: 'pause it first, and schedule it anew' },
    },
    pause: {
      states: ['scheduled', 'running'],
      otherwise: { draft: 'it is not scheduled yet', paused: 'resume it, or cancel it' },
    },
    resume: {
      states: ['paused'],
      otherwise: { draft: 'schedule it first', scheduled: 'it is not paused', running: 'it is not paused' },
    },
    cancel: { states: ['draft', 'scheduled', 'running', 'paused'], otherwise: {} },
  }

/** 409 where a campaign is in no state for what is asked. */
function allow(verb: keyof typeof FROM, { status }: CampaignRow): void {
  const { states = [], otherwise = {} } = FROM[verb] ?? {}
  if (states.includes(status)) return
  const next = otherwise[status] ?? 'make another campaign'
  throw problem('conflict', `A campaign that is ${status} can’t be ${PAST[verb]}: ${next}`, {
    details: { status, allowed: states },
  })
}

const PAST: Record<string, string> = {
  ...{ schedule: 'scheduled', pause: 'paused', resume: 'resumed', cancel: 'cancelled' },
}

const shown = ({ status, schedule }: CampaignRow) => ({ status, schedule })

/** Changes a campaign as `decide` says; its job hears of it when that stands. */
async function change(
  ctx: Context,
  id: string,
  verb: keyof typeof FROM,
  decide: (row: CampaignRow) => Promise<Revision<CampaignRow> & { after?: () => Promise<unknown> }>,
): Promise<CampaignView> {
  let after: (() => Promise<unknown>) | undefined
  const row = await revise(
    ctx,
    campaigns,
    'campaign',
    id,
    async (before) => {
      allow(verb, before)
      const { after: follows, ...revision } = await decide(before)
      after = follows
      const changed = { ...before, ...revision.set }
      return {
        ...revision,
        audit: { ...about(verb, id), before: shown(before), after: shown(changed) },
      }
    },
    viewOf,
  )
  if (after) ctx.defer(after())
  return viewOf(row)
}

/** Says when a campaign calls; from then on a job runs it. 404; 409 in a state that forbids it; 422 where nobody can call. */
export function scheduleCampaign(ctx: Context, id: string, input: ScheduleCampaign): Promise<CampaignView> {
  const schedule: Schedule = input
  if (schedule.end_at !== null && Date.parse(schedule.end_at) <= ctx.now)
    throw problem.invalid({ end_at: 'must lie in the future' })
  return change(ctx, id, 'schedule', async (row) => {
    if (row.contacts === 0 && Date.parse(schedule.start_at) <= ctx.now)
      throw problem('conflict', 'The campaign has no contacts yet: add some, or let it start later')
    await mayCall(ctx, row)
    const { job_id, ...going } = await goingOn(ctx, row)
    const set = { status: 'scheduled' as const, paused_reason: null, schedule, job_id }
    return { ...going, set, statements: [...going.statements, agentAnswers(ctx, row.agent_id)] }
  })
}

/** 422 where the agent or the number can't call, 409 where nobody places calls. */
async function mayCall(ctx: Context, row: CampaignRow): Promise<void> {
  try {
    await callerOf(ctx, row, null)
  } catch (error) {
    if (!(error instanceof Hindered)) throw error
    const { reason, message } = error.hindrance
    if (reason !== 'agent_unavailable' && error.cause instanceof Problem) throw error.cause
    throw problem.invalid({ agent_id: message ?? 'must be an active agent of yours' })
  }
}

/** The job goes on, at once; one that has ended, whatever ended it, has another in its place. */
async function goingOn(ctx: Context, row: CampaignRow) {
  const job = row.job_id === null ? null : await getJob(ctx, row.job_id).catch(() => null)
  if (job && (job.status === 'queued' || job.status === 'running'))
    return { ...hurrying(ctx, row), job_id: job.id, events: [] }
  const first = { state: newState(ctx.now), progress: 0, done: false }
  const result = { campaign_id: row.id, status: 'scheduled', contacts: countsOf(row) }
  const started = jobStarted(ctx, running, { campaign_id: row.id }, { ...first, result }, { about: row.id })
  const { statements, events, after } = started
  return { job_id: started.job.id, statements, events, after }
}

function hurrying(
  ctx: Context,
  { id, job_id }: CampaignRow,
): { statements: Change<unknown>['statements']; after: () => Promise<unknown> } {
  return {
    statements: [hurryAbout(ctx, id)],
    after: async () => {
      if (job_id !== null) await wakeJob(ctx.env, { tenant_id: ctx.tenant.id, job_id })
    },
  }
}

/** Places no more calls until it is resumed; those under way go on. 404, 409. */
export function pauseCampaign(ctx: Context, id: string): Promise<CampaignView> {
  return change(ctx, id, 'pause', async (row) => ({
    set: { status: 'paused', paused_reason: 'requested' },
    ...hurrying(ctx, row),
    events: [eventOf('campaign.paused', { ...eventData(row), reason: 'requested', message: null })],
  }))
}

/** Goes on where it was paused. 404; 409, where its end has come, too. */
export function resumeCampaign(ctx: Context, id: string): Promise<CampaignView> {
  return change(ctx, id, 'resume', async (row) => {
    const end_at = row.schedule?.end_at ?? null
    if (end_at !== null && Date.parse(end_at) <= ctx.now)
      throw problem('conflict', 'The campaign’s end_at has come: schedule it anew, or cancel it')
    await mayCall(ctx, row)
    const { job_id, ...going } = await goingOn(ctx, row)
    const status = row.started_at === null ? ('scheduled' as const) : ('running' as const)
    return { ...going, set: { status, paused_reason: null, job_id } }
  })
}

/** Ends a campaign for good; calls that are under way go on to their end. 404, 409. */
export function cancelCampaign(ctx: Context, id: string): Promise<CampaignView> {
  return change(ctx, id, 'cancel', async (row) => ({
    set: { status: 'cancelled', paused_reason: null },
    statements: [cancelAbout(ctx, id)],
    events: [eventOf('campaign.cancelled', eventData(row))],
    after: () => sayCancelledAbout(ctx, id),
  }))
}

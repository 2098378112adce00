import type { Context } from '../../../data/context'
import { problem } from '../../../lib/problem'
import type { Job } from '../../jobs/schema'
import { getJob } from '../../jobs/service'
import { recovery } from '../../webhooks/recovery/job'
import type { Replayable } from '../../webhooks/recovery/schema'
import { recoverEndpoint } from '../../webhooks/recovery/service'
import { SUCCESS } from '../attempts/schema'
import { showing } from '../showing'
import type { BulkReplayIn } from './schema'

/** What Svix calls what a recovery does: it sends again what was tried, or what never was. */
const RECOVER: Replayable[] = ['failed', 'exhausted', 'held']
const REPLAY: Replayable[] = ['missing']
const FAILED: Replayable[] = ['failed', 'exhausted']
/** All that the endpoint was ever sent. */
const SENT: Replayable[] = ['delivered', 'failed', 'exhausted', 'held']

/** A job as Svix's clients see it. */
export function taskOut({ id, status, kind, input, result, updated_at: updatedAt }: Job) {
  const ended = status === 'failed' || status === 'cancelled' ? 'failed' : 'running'
  return {
    id: `qtask_${id}`,
    status: status === 'completed' ? ('finished' as const) : (ended as 'failed' | 'running'),
    task: taskOf(kind, input),
    updatedAt,
    data: kind === recovery.name ? { messagesSent: Number(result?.resent ?? 0) } : (result ?? {}),
  }
}

/** Svix's name of what a job does. */
function taskOf(kind: string, input: Record<string, unknown>): string {
  const { status, of } = input as { status?: string[]; of?: string }
  if (kind === recovery.name && status?.includes('missing')) return 'endpoint.replay'
  if (kind === recovery.name)
    return RECOVER.join() === status?.join() ? 'endpoint.recover' : 'endpoint.bulk-replay'
  return of === 'usage' ? 'application.stats' : 'event-type.aggregate'
}

/** The kinds of jobs that Svix's clients know as tasks. */
const KINDS = [recovery.name, 'svix.statistics']

type Time = { since: string; until?: string | null | undefined }

async function start(
  ctx: Context,
  id: string,
  { since, until }: Time,
  status: Replayable[],
  only: Partial<Parameters<typeof recoverEndpoint>[2]> = {},
) {
  const asked = { since, until: until ?? undefined, status, dry_run: false, ...only }
  return taskOut(await recoverEndpoint(showing(ctx, taskOut), id, asked))
}

/** Sends an endpoint again what failed. */
export const recoverFailed = (ctx: Context, id: string, time: Time) => start(ctx, id, time, RECOVER)

/** Sends an endpoint what it would take and was never sent. */
export const replayMissing = (ctx: Context, id: string, time: Time) => start(ctx, id, time, REPLAY)

/** Sends an endpoint once more what it was sent, what arrived too. */
export const replayAll = (
  ctx: Context,
  id: string,
  { status, eventTypes, channel, tag, ...time }: BulkReplayIn,
) => {
  const states: Replayable[] = status == null ? SENT : status === SUCCESS ? ['delivered'] : FAILED
  const only = { event_types: eventTypes ?? undefined, ...(channel && { channel }), ...(tag && { tag }) }
  return start(ctx, id, time, states, only)
}

/** A task; 404 for other jobs. */
export async function getTask(ctx: Context, id: string) {
  const job = await getJob(ctx, id.slice('qtask_'.length).toLowerCase())
  if (!KINDS.includes(job.kind)) throw problem.notFound('task', id)
  return { ...taskOut(job), version: job.version }
}

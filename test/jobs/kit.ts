import { env } from 'cloudflare:workers'
import { directory } from '../../src/data/database'
import type { Job } from '../../src/domains/jobs/schema'
import { type JobRow, jobs } from '../../src/domains/jobs/table'
import type { Bindings } from '../../src/env'
import { iso, newId } from '../../src/lib/ids'
import { eventually } from '../webhooks/receiver'
import { callJson, type World } from '../world'

/** A job as a test needs it, whose next step is due in an hour. */
export async function insertJob(tenantId: string, more: Partial<JobRow> = {}): Promise<string> {
  const id = more.id ?? newId(Date.now())
  const now = iso(Date.now())
  const row = {
    ...{ tenant_id: tenantId, id, kind: 'webhooks.recover', status: 'queued' as const, input: {}, state: {} },
    ...{ next_at: iso(Date.now() + 3600_000), created_at: now, updated_at: now },
  }
  await directory(env as unknown as Bindings)
    .insert(jobs)
    .values({ ...row, ...more })
  return id
}

export async function readJob(world: World, id: string): Promise<Job> {
  return (await callJson<Job>('GET', `/api/v1/jobs/${id}`, { token: world.developer.token })).data
}

/** The job once it has ended, or is as `is` wants it. */
export function endedJob(
  world: World,
  id: string,
  is: (job: Job) => boolean = ({ finished_at }) => finished_at !== null,
): Promise<Job> {
  return eventually(async () => {
    const job = await readJob(world, id)
    return is(job) ? job : null
  }, 10_000)
}

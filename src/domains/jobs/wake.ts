import { objectOf } from '../../data/objects'
import type { Bindings } from '../../env'
import { log } from '../../lib/log'

type Named = { tenant_id: string; job_id: string }

/** Tells a job's object that a step is due, or that the job was cancelled; a failure is left to the sweep. */
export async function wakeJob(env: Bindings, { tenant_id, job_id }: Named): Promise<void> {
  try {
    const runner = await objectOf(env, env.JOBS, tenant_id, `${tenant_id}/${job_id}`)
    await runner.wake(tenant_id, job_id)
  } catch (error) {
    log.warn('job_not_woken', { tenant_id, job_id, cause: String(error) })
  }
}

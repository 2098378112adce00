import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import type { Job } from '../../jobs/schema'
import { startJob } from '../../jobs/service'
import { existing } from '../endpoints/service'
import { countFirst, type Input, recovery } from './job'
import { RECOVERABLE, REPLAYABLE, type Recover } from './schema'
import type { Only } from './window'

/**
 * Starts the job that sends an endpoint again what did not reach it. The count begins before the answer: a small one is
 * done by then, and a dry run with it. 422 where the time is empty.
 */
export async function recoverEndpoint(
  ctx: Context,
  id: string,
  { since, until = iso(ctx.now), status, event_types, dry_run, ...only }: Recover & Only,
): Promise<Job & { version: number }> {
  if (since >= until) throw problem.invalid({ since: 'must be before until, which is now if it is left out' })
  const endpoint = await existing(ctx, id)
  const wanted = [status ?? RECOVERABLE].flat()
  const input: Input = {
    ...{ endpoint_id: id, since, until, dry_run },
    status: REPLAYABLE.filter((one) => wanted.includes(one)),
    event_types: event_types ? [...new Set(event_types)] : null,
    ...only,
  }
  const first = await countFirst(ctx, endpoint, input)
  return startJob(ctx, recovery, input, first, (job_id) =>
    dry_run
      ? []
      : { action: 'endpoint.recover', resource: 'endpoint', resource_id: id, after: { job_id, ...input } },
  )
}

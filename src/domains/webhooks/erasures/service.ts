import type { Context } from '../../../data/context'
import { sha256 } from '../../../lib/crypto'
import { firstIdAt } from '../../../lib/ids'
import type { Job } from '../../jobs/schema'
import { startJob } from '../../jobs/service'
import { endDeliveries, endSlice, erasure, NOT_BEGUN, withoutName } from './job'

/**
 * Starts the job that erases what events say of a subject: their data, what attempts sent and were answered, and the
 * subject's name. When this is answered, nothing of the first of them goes out any more.
 */
export async function eraseSubject(ctx: Context, subject: string): Promise<Job & { version: number }> {
  const input = { subject, until: `msg_${firstIdAt(ctx.now + 1)}` }
  const first = await endDeliveries(ctx, input, NOT_BEGUN, '')
  const kept = first.done ? await withoutName(input) : input
  const after = { subject_sha256: await sha256(subject) }
  return startJob(ctx, erasure, kept as typeof input, first, (id) => ({
    ...{ action: 'event.erase', resource: 'job', resource_id: id, after },
  }))
}

/**
 * Erases what one event says: its data, and what attempts sent and were answered; what is pending or held is cancelled.
 * When this is answered the data is gone and nothing goes out any more; a job does the rest.
 */
export async function eraseEvent(ctx: Context, event_id: string): Promise<undefined> {
  const first = await endSlice(ctx, { ...NOT_BEGUN, total: 1 }, [event_id])
  await startJob(ctx, erasure, { subject: null, event_id }, first, () => ({
    ...{ action: 'event.erase', resource: 'event', resource_id: event_id },
  }))
}

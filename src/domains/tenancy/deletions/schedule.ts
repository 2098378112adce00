import { and, eq, isNotNull, isNull } from 'drizzle-orm'
import type { RequestContext } from '../../../data/context'
import { directory } from '../../../data/database'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { deletions } from './table'

/** A cancelled tenant's data are kept so long. */
export const KEPT_MS = 30 * 24 * 3600_000

type Now = Pick<RequestContext, 'env' | 'now'>

/**
 * The statement that has a tenant's data deleted thirty days from now; it goes with the cancellation. Without `requestedBy`
 * nobody takes it back, also where it was asked for before.
 */
export function scheduled({ env, now }: Now, tenantId: string, requestedBy: string | null) {
  const delete_after = iso(now + KEPT_MS)
  const insert = directory(env)
    .insert(deletions)
    .values({
      ...{ id: tenantId, requested_by: requestedBy, cancelled_at: iso(now) },
      ...{ delete_after, resume_at: delete_after, removed: {} },
    })
  return requestedBy === null
    ? insert.onConflictDoUpdate({ target: deletions.id, set: { requested_by: null } })
    : insert
}

/** The statement that calls a deletion off; it must change a row, or the deletion has begun (or nobody asked for it). */
export function calledOff({ env }: Now, tenantId: string) {
  const waiting = and(
    eq(deletions.id, tenantId),
    isNull(deletions.started_at),
    // A registration that was replaced is not to come back: its address is another's by now.
    isNotNull(deletions.requested_by),
  )
  return {
    statement: directory(env).delete(deletions).where(waiting),
    otherwise: problem('conflict', 'The tenant was cancelled, and can’t be taken up again'),
  }
}

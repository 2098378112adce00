import { and, eq, lt, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { newest } from '../../../data/newest'
import type { Page } from '../../../data/page'
import { iso, newId } from '../../../lib/ids'
import { describeError, log } from '../../../lib/log'
import type { Problem } from '../../../lib/problem'
import type { Refused } from './schema'
import { type RefusedRow, refusedWebhooks } from './table'

/** So many of a source are kept: the newest. */
const MOST_KEPT = 200

/** What is told of a request that was refused, besides why. */
export type Refusal = { size_bytes: number | null; content_type: string | null }

const mine = (ctx: Context, source: string) =>
  and(eq(refusedWebhooks.tenant_id, ctx.tenant.id), eq(refusedWebhooks.source, source))

/** Keeps a refusal in its source's log, without the body. It never fails: the sender is told why all the same. */
export async function keepRefusal(
  ctx: Context,
  source: string,
  { code, message }: Problem,
  { size_bytes, content_type }: Refusal,
): Promise<void> {
  const row: RefusedRow = {
    ...{ tenant_id: ctx.tenant.id, id: newId(ctx.now), source, code, message, size_bytes },
    content_type: content_type?.slice(0, 255) ?? null,
    ...{ user_agent: ctx.userAgent, address: ctx.address, request_id: ctx.requestId },
    received_at: iso(ctx.now),
  }
  const oldest = sql`(select id from refused_webhooks where tenant_id = ${ctx.tenant.id} and source = ${source}
    order by id desc limit 1 offset ${MOST_KEPT - 1})`
  const statements = [
    ctx.db.insert(refusedWebhooks).values(row),
    ctx.db.delete(refusedWebhooks).where(and(mine(ctx, source), lt(refusedWebhooks.id, oldest))),
  ]
  // A key stands for what is answered, and is not finished by this.
  await commit({ ...ctx, idempotency: null }, { statements, result: undefined }).catch((error: unknown) =>
    log.error('refusal_not_kept', { source, code, cause: describeError(error) }),
  )
}

/** A source's refused webhooks, newest first. */
export async function listRefusals(
  ctx: Context,
  source: string,
  input: { limit: number; cursor?: string | undefined },
): Promise<Page<Refused>> {
  return newest(ctx, refusedWebhooks, input, { source })
}

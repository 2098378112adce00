import { and, eq, isNull, lt, or } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { apiKeys } from './table'

/** Statements of one batch. */
const SLICE = 100

/** Notes when keys were used last (milliseconds since 1970); it never goes back, and changes no key's version. */
export async function keysUsed(ctx: Context, uses: { id: string; used_at: number }[]): Promise<void> {
  for (let i = 0; i < uses.length; i += SLICE) {
    const statements = uses.slice(i, i + SLICE).map(({ id, used_at }) =>
      ctx.db
        .update(apiKeys)
        .set({ last_used_at: iso(used_at) })
        .where(
          and(
            eq(apiKeys.tenant_id, ctx.tenant.id),
            eq(apiKeys.id, id),
            or(isNull(apiKeys.last_used_at), lt(apiKeys.last_used_at, iso(used_at))),
          ),
        ),
    )
    await commit(ctx, { statements, result: undefined })
  }
}

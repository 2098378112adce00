import { and, eq, inArray, isNotNull, lt, lte, sql } from 'drizzle-orm'
import { commit } from '../../data/commit'
import { directory } from '../../data/database'
import { bareTenant, systemContext } from '../../data/system'
import type { Bindings } from '../../env'
import { iso } from '../../lib/ids'
import { describeError, log } from '../../lib/log'
import { removeBytes } from './store'
import { droppedFiles, files } from './table'

/** So long after its URL has expired an upload that began in time may be completed. */
export const GRACE_MS = 15 * 60_000
/** Rows of one look; the next takes the next. */
const MOST = 200

type Found = { tenant_id: string; id: string; upload_id: string | null }

/**
 * Gives the storage back that uploads reserved which never came, and removes the objects of rows that are gone. Over all
 * tenants; answers how many it saw to. Doing it twice does no harm.
 */
export async function tendFiles(
  env: Bindings,
  ctx: Pick<ExecutionContext, 'waitUntil'>,
  now: number,
): Promise<number> {
  const before = iso(now - GRACE_MS)
  const db = directory(env)
  const expired: Found[] = await db
    .select({ tenant_id: files.tenant_id, id: files.id, upload_id: files.upload_id })
    .from(files)
    .where(and(isNotNull(files.expires_at), lt(files.expires_at, before)))
    .orderBy(files.expires_at)
    .limit(MOST)
  await eachTenant(env, ctx, expired, async (context, ids) => {
    const mine = and(
      eq(files.tenant_id, context.tenant.id),
      inArray(files.id, ids),
      isNotNull(files.expires_at),
    )
    await commit(context, { statements: [context.db.delete(files).where(mine)], result: undefined })
  })
  const dropped: Found[] = await db
    .select({ tenant_id: droppedFiles.tenant_id, id: droppedFiles.id, upload_id: droppedFiles.upload_id })
    .from(droppedFiles)
    .where(lte(droppedFiles.due_at, before))
    .orderBy(droppedFiles.due_at)
    .limit(MOST)
  await eachTenant(env, ctx, dropped, async (context, ids, some) => {
    for (const one of some) await removeBytes(env, context.settings, one)
    const mine = and(eq(droppedFiles.tenant_id, context.tenant.id), inArray(droppedFiles.id, ids))
    await commit(context, { statements: [context.db.delete(droppedFiles).where(mine)], result: undefined })
  })
  return expired.length + dropped.length
}

type Work = (
  context: ReturnType<typeof systemContext>,
  ids: ReturnType<typeof sql>,
  some: Found[],
) => Promise<void>

/** Does it for the rows of each tenant; one tenant’s failure is no other’s. */
async function eachTenant(
  env: Bindings,
  ctx: Pick<ExecutionContext, 'waitUntil'>,
  found: Found[],
  work: Work,
): Promise<void> {
  for (const [tenantId, some] of Map.groupBy(found, ({ tenant_id }) => tenant_id)) {
    const context = systemContext(env, bareTenant(tenantId), 'files', (late) => ctx.waitUntil(late))
    const ids = sql`(select value from json_each(${JSON.stringify(some.map(({ id }) => id))}))`
    await work(context, ids, some).catch((error: unknown) =>
      log.error('files_not_tended', { tenant_id: tenantId, cause: describeError(error) }),
    )
  }
}

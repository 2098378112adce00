import { and, eq } from 'drizzle-orm'
import { commit } from '../../data/commit'
import type { Context } from '../../data/context'
import { iso } from '../../lib/ids'
import { keyOf } from './store'
import { droppedFiles } from './table'

// Bytes that no row names (yet): gone after a day, whatever becomes of the work that they are for.

const KEPT_MS = 24 * 3600_000

/** Notes that an object will be there: it goes after a day, unless `staying` is committed with what names it. */
export async function noteComing(ctx: Context, id: string): Promise<void> {
  const row = { tenant_id: ctx.tenant.id, id, upload_id: null, due_at: iso(ctx.now + KEPT_MS) }
  // An idempotency key is finished by what the bytes are for.
  const own = { ...ctx, idempotency: null }
  await commit(own, { statements: [ctx.db.insert(droppedFiles).values(row)], result: undefined })
}

/** The statement by which an object that was noted stays. */
export const staying = (ctx: Context, id: string) =>
  ctx.db.delete(droppedFiles).where(and(eq(droppedFiles.tenant_id, ctx.tenant.id), eq(droppedFiles.id, id)))

/** Puts bytes away for a day under an id. */
export async function putAway(ctx: Context, id: string, bytes: string): Promise<void> {
  await noteComing(ctx, id)
  await ctx.env.FILES.put(keyOf({ tenant_id: ctx.tenant.id, id }), bytes)
}

/** What was put away; null once it is gone. */
export async function takeOut(ctx: Context, id: string): Promise<string | null> {
  const object = await ctx.env.FILES.get(keyOf({ tenant_id: ctx.tenant.id, id }))
  return object ? object.text() : null
}

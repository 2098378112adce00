import { and, eq, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { problem } from '../../../lib/problem'
import { withoutFiles } from '../../files/keeping'
import { conversations } from '../conversations/table'
import { linked, relinked, windowOf } from './linking'
import { registration, serviceEnabled } from './register'
import { rowOf, type Shown, shown } from './rows'
import type { Done, Said } from './schema'
import { type InteractionRow, interactions } from './table'

/**
 * Registers something said or done, with its event, in one batch. 409 `service_disabled` while the tenant's switch is off,
 * 413 where what is announced of it would be too large.
 */
export function createInteraction(ctx: Context, input: Said | Done): Promise<Shown> {
  return relinked(async () => {
    const { rows, begun } = await linked(ctx, [rowOf(ctx, input)], windowOf(ctx))
    const [row] = rows
    if (!row) throw new Error('a row is linked to one row')
    const { statements, events } = registration(ctx, rows)
    return commit(ctx, {
      statements: [serviceEnabled(ctx), ...begun, ...statements],
      shared: true,
      events,
      result: shown(ctx, row),
    })
  })
}

const own = (ctx: Context, id: string) =>
  and(eq(interactions.tenant_id, ctx.tenant.id), eq(interactions.id, id))

/** The row of one interaction; 404 where the tenant has none of that id. */
export async function findInteraction(ctx: Context, id: string): Promise<InteractionRow> {
  const row = await ctx.db.select().from(interactions).where(own(ctx, id)).get()
  if (!row) throw problem.notFound('interaction', id)
  return row
}

/** One interaction. It never changes, so its version is always the first. */
export async function getInteraction(ctx: Context, id: string): Promise<Shown & { version: string }> {
  return { ...shown(ctx, await findInteraction(ctx, id)), version: '1' }
}

/** Deletes an interaction, with its recording and its conversation where nothing else is of them. 404, 412. */
export async function deleteInteraction(ctx: Context, id: string): Promise<undefined> {
  if (ctx.ifMatch !== undefined && ctx.ifMatch !== 1)
    throw problem('precondition_failed', 'The interaction is not the one that was read')
  const row = await findInteraction(ctx, id)
  const statement = ctx.db.delete(interactions).where(own(ctx, id))
  return commit(ctx, {
    statements: [{ statement, otherwise: problem.notFound('interaction', id) }, ...lastOf(ctx, [row])],
    result: undefined,
  })
}

/** The statements that remove recordings and conversations of interactions that were deleted, where no other has them. */
export function lastOf(ctx: Context, rows: readonly InteractionRow[]) {
  const each = (of: (row: InteractionRow) => string | null) => [
    ...new Set(rows.flatMap((row) => of(row) ?? [])),
  ]
  const audio = each((row) => row.audio_file_id)
  const held = each((row) => row.conversation_id)
  const gone = withoutFiles(
    ctx,
    audio,
    // A column more than its index has: one that had all would be read whole.
    sql`not exists (select 1 from ${interactions} as i where i.tenant_id = ${ctx.tenant.id}
      and i.audio_file_id = files.id and i.created_at <> '')`,
  )
  const over = ctx.db.delete(conversations).where(
    and(
      eq(conversations.tenant_id, ctx.tenant.id),
      sql`${conversations.id} in (select value from json_each(${JSON.stringify(held)}))`,
      sql`not exists (select 1 from ${interactions} as i where i.tenant_id = ${ctx.tenant.id}
        and i.conversation_id = conversations.id and i.created_at <> '')`,
    ),
  )
  return [...(audio.length > 0 ? [gone] : []), ...(held.length > 0 ? [over] : [])]
}

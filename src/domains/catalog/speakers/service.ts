import { and, desc, eq, gte, lt, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { type Page, pageOf } from '../../../data/page'
import { find, removal, revise } from '../../../data/revise'
import { defined } from '../../../lib/defined'
import { iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import type { CreateSpeaker, ListFilters, UpdateSpeaker } from './schema'
import { type SpeakerRow, speakers } from './table'

/** Makes a speaker known before anything is said. 409 `already_exists` where one has the id. */
export async function createSpeaker(ctx: Context, input: CreateSpeaker): Promise<SpeakerRow> {
  const { id = newId(ctx.now), name = null, metadata = {} } = input
  const now = iso(ctx.now)
  const row = { tenant_id: ctx.tenant.id, id, name, metadata, version: 1, created_at: now, updated_at: now }
  return commit(ctx, {
    statements: [ctx.db.insert(speakers).values(row)],
    unique: {
      'speakers.tenant_id': problem('already_exists', `There is a speaker with the id ${id} already`),
    },
    result: row,
  })
}

/** The tenant's speakers, newest first. */
export function listSpeakers(ctx: Context, filters: ListFilters): Promise<Page<SpeakerRow>> {
  const { limit, cursor, created_after, created_before } = filters
  const list = `speakers:${ctx.tenant.id}:${JSON.stringify([created_after, created_before])}`
  const { created_at, id, tenant_id } = speakers
  return pageOf(
    list,
    { limit, cursor },
    (after, most) =>
      ctx.db
        .select()
        .from(speakers)
        .where(
          and(
            eq(tenant_id, ctx.tenant.id),
            created_after === undefined ? undefined : gte(created_at, created_after),
            // A page that goes on is within that (data/span.ts).
            created_before === undefined || after ? undefined : lt(created_at, created_before),
            after ? sql`(${created_at}, ${id}) < (${after.key}, ${after.id})` : undefined,
          ),
        )
        .orderBy(desc(created_at), desc(id))
        .limit(most),
    (row) => row.created_at,
  )
}

export async function getSpeaker(ctx: Context, id: string): Promise<SpeakerRow> {
  const row = await find(ctx, speakers, id)
  if (!row) throw problem.notFound('speaker', id)
  return row
}

/** Changes what is known of a speaker. 404, 412. */
export function updateSpeaker(ctx: Context, id: string, input: UpdateSpeaker): Promise<SpeakerRow> {
  return revise(ctx, speakers, 'speaker', id, () => ({ set: defined(input) }))
}

/** Forgets what is known of a speaker; what was said keeps the id, and says it anew where it is used again. 404, 412. */
export function deleteSpeaker(ctx: Context, id: string): Promise<undefined> {
  return commit(ctx, { statements: [removal(ctx, speakers, 'speaker', id)], result: undefined })
}

import { sql } from 'drizzle-orm'
import { sqliteTable, text } from 'drizzle-orm/sqlite-core'
import type { Change, Check } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { insertRows } from '../../../data/insert-rows'
import { problem } from '../../../lib/problem'
import { marked, wantedOf } from '../../../lib/words'
import { conversations } from '../conversations/table'
import { speakers } from '../speakers/table'
import { announced, type NewRow } from './rows'
import { INTERACTION_TEXTS, interactions } from './table'

/** The view of that name as a table, which Drizzle can insert into; not exported, or a migration would make one. */
const interactionTexts = sqliteTable(INTERACTION_TEXTS, {
  ...{ tenant_id: text().notNull(), id: text().notNull(), words: text().notNull() },
})

/** Made once: to make an error takes its stack along, and hardly any request throws this one. */
const SWITCHED_OFF = problem('service_disabled', 'The tenant’s interaction service is switched off')

/** The switch as it stands when the batch runs, whatever this isolate remembers. */
export function serviceEnabled(ctx: Context): Check {
  const off = sql`select 1 from tenants where tenants.id = ${ctx.tenant.id} and json_extract(settings, '$.service_enabled') = 0`
  return { holds: sql`not exists (${off})`, otherwise: SWITCHED_OFF }
}

/**
 * What keeps interactions that are linked already, with their words, the speakers and conversations that are not known
 * yet, and their events: all of it goes into one batch.
 */
export function registration(
  ctx: Context,
  rows: readonly NewRow[],
): Required<Pick<Change<unknown>, 'statements' | 'events'>> {
  return {
    statements: [
      ...firstUses(ctx, rows),
      ...insertRows(ctx, interactions, rows),
      ...insertRows(ctx, interactionTexts, worded(ctx, rows)),
    ],
    events: rows.map((row) => announced(ctx, row)),
  }
}

/** Speakers and conversations on their first use; those that are known stay as they are. */
function firstUses(ctx: Context, rows: readonly NewRow[]) {
  const { id: tenant_id } = ctx.tenant
  // The first of a conversation in this batch says when it began.
  const first = (of: (row: NewRow) => string | null) => [
    ...new Map(rows.toReversed().flatMap((row) => (of(row) === null ? [] : [[of(row) as string, row]]))),
  ]
  const spoken = first((row) => row.speaker_id).map(([id, { created_at }]) => ({
    ...{ tenant_id, id, name: null, metadata: {}, version: 1, created_at, updated_at: created_at },
  }))
  const held = first((row) => row.conversation_id).map(([id, { created_at }]) => ({
    tenant_id,
    id,
    created_at,
  }))
  const known = { known: 'kept' } as const
  return [...insertRows(ctx, speakers, spoken, known), ...insertRows(ctx, conversations, held, known)]
}

/** The words by which what was said is found. */
function worded({ tenant }: Context, rows: readonly NewRow[]) {
  return rows.flatMap(({ id, text }) =>
    text !== null && wantedOf(text).length > 0 ? [{ tenant_id: tenant.id, id, words: marked(text) }] : [],
  )
}

import { and, desc, eq, gte, lt, sql } from 'drizzle-orm'
import { type Check, commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { type Page, pageOf } from '../../../data/page'
import { firstIdAt, iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import type { CreateInteraction, ListFilters } from './schema'
import { type InteractionRow, interactions } from './table'

/** Registers something said, with its event, in one batch. 409 `service_disabled` while the tenant's switch is off. */
export async function createInteraction(ctx: Context, input: CreateInteraction): Promise<InteractionRow> {
  const now = iso(ctx.now)
  const row: InteractionRow = {
    tenant_id: ctx.tenant.id,
    id: newId(ctx.now),
    type: 'speech',
    text: input.text,
    speaker_id: input.speaker_id ?? null,
    conversation_id:
      input.conversation_id ?? (await ongoingConversation(ctx, input.speaker_id)) ?? newId(ctx.now),
    user_id: null,
    item_id: null,
    value: null,
    audio_url: null,
    metadata: input.metadata ?? {},
    occurred_at: input.occurred_at ?? now,
    created_at: now,
  }
  return commit(ctx, {
    statements: [serviceEnabled(ctx), ctx.db.insert(interactions).values(row)],
    result: row,
    events: [{ type: 'interaction.created', data: created(row), occurred_at: row.occurred_at }],
  })
}

/** What `interaction.created` tells (webhooks.md); what is absent is null. */
function created(row: InteractionRow) {
  return {
    interaction_id: row.id,
    network_id: row.tenant_id,
    tenant_id: row.tenant_id,
    type: row.type,
    text: row.text,
    timestamp: row.occurred_at,
    speaker_id: row.speaker_id,
    conversation_id: row.conversation_id,
    user_id: row.user_id,
    item_id: row.item_id,
    value: row.value,
    audio_url: row.audio_url,
    metadata: row.metadata,
  }
}

/** Made once: to make an error takes its stack along, and hardly any request throws this one. */
const SWITCHED_OFF = problem('service_disabled', 'The tenant’s interaction service is switched off')

/** The switch as it stands when the batch runs, whatever this isolate remembers. */
function serviceEnabled(ctx: Context): Check {
  const off = sql`select 1 from tenants where tenants.id = ${ctx.tenant.id} and json_extract(settings, '$.service_enabled') = 0`
  return {
    holds: sql`not exists (${off})`,
    otherwise: SWITCHED_OFF,
  }
}

/** The conversation of the speaker's last interaction, if that was within the tenant's window. */
async function ongoingConversation(ctx: Context, speakerId: string | undefined): Promise<string | null> {
  if (speakerId === undefined) return null
  const window = Number(ctx.tenant.settings.conversation_window_minutes ?? 30) * 60_000
  const last = await ctx.db
    .select({ conversation_id: interactions.conversation_id })
    .from(interactions)
    .where(
      and(
        eq(interactions.tenant_id, ctx.tenant.id),
        eq(interactions.speaker_id, speakerId),
        gte(interactions.id, firstIdAt(ctx.now - window)),
      ),
    )
    .orderBy(desc(interactions.id))
    .limit(1)
  return last[0]?.conversation_id ?? null
}

/** The tenant's interactions, newest first. */
export function listInteractions(ctx: Context, filters: ListFilters): Promise<Page<InteractionRow>> {
  const { limit, cursor, ...by } = filters
  return pageOf(`interactions:${ctx.tenant.id}:${JSON.stringify(by)}`, { limit, cursor }, (after, rows) =>
    ctx.db
      .select()
      .from(interactions)
      .where(
        and(
          eq(interactions.tenant_id, ctx.tenant.id),
          by.speaker_id === undefined ? undefined : eq(interactions.speaker_id, by.speaker_id),
          by.conversation_id === undefined ? undefined : eq(interactions.conversation_id, by.conversation_id),
          // Ids carry the time they were made, so the key of the table answers for it too.
          by.created_after ? gte(interactions.id, firstIdAt(Date.parse(by.created_after))) : undefined,
          by.created_before ? lt(interactions.id, firstIdAt(Date.parse(by.created_before))) : undefined,
          after ? lt(interactions.id, after.id) : undefined,
        ),
      )
      .orderBy(desc(interactions.id))
      .limit(rows),
  )
}

/** One interaction. It never changes, so its version is its id. */
export async function getInteraction(
  ctx: Context,
  id: string,
): Promise<InteractionRow & { version: string }> {
  const row = await ctx.db.select().from(interactions).where(own(ctx, id)).get()
  if (!row) throw problem.notFound('interaction', id)
  return { ...row, version: '1' }
}

const own = (ctx: Context, id: string) =>
  and(eq(interactions.tenant_id, ctx.tenant.id), eq(interactions.id, id))

/** Deletes an interaction. */
export async function deleteInteraction(ctx: Context, id: string): Promise<undefined> {
  if (ctx.ifMatch !== undefined && ctx.ifMatch !== 1)
    throw problem('precondition_failed', 'The interaction is not the one that was read')
  const statement = ctx.db.delete(interactions).where(own(ctx, id))
  return commit(ctx, {
    statements: [{ statement, otherwise: problem.notFound('interaction', id) }],
    result: undefined,
  })
}

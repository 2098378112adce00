import type { NewEvent } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { iso, newId } from '../../../lib/ids'
import type { Done, Said } from './schema'
import { SPEECH } from './schema'
import type { InteractionRow } from './table'

/** An interaction that was not kept yet: its number comes with the commit. */
export type NewRow = Omit<InteractionRow, 'seq'>

/** An interaction as it is answered. */
export type Shown = Omit<NewRow, 'audio_file_id'> & { audio_url: string | null }

const NOTHING = {
  ...{ text: null, speaker_id: null, conversation_id: null, channel: null },
  ...{ user_id: null, item_id: null, value: null, audio_file_id: null },
}

/** The row of what was sent; what was said has no conversation yet where none was named. */
export function rowOf(ctx: Context, input: Said | Done): NewRow {
  const now = iso(ctx.now)
  const { metadata = {}, occurred_at = now } = input
  const row = {
    ...NOTHING,
    tenant_id: ctx.tenant.id,
    id: newId(ctx.now),
    metadata,
    occurred_at,
    created_at: now,
  }
  if ('item_id' in input) {
    const { type, user_id, item_id, value = null } = input
    return { ...row, type, user_id, item_id, value }
  }
  const { text = null, speaker_id = null, conversation_id = null, channel = null } = input
  return { ...row, type: SPEECH, text, speaker_id, conversation_id, channel }
}

export function shown(ctx: Context, row: NewRow): Shown {
  const { audio_file_id, ...rest } = row
  const audio_url =
    audio_file_id === null ? null : `${ctx.settings.PUBLIC_URL}/api/v1/interactions/${row.id}/audio`
  return { ...rest, audio_url }
}

/** An event of the same id: what is repeated makes neither twice. */
export const eventIdOf = (interactionId: string): string => `msg_${interactionId}`

/** What `interaction.created` tells; what is absent is null. It is about whoever said or did it. */
export function announced(ctx: Context, row: NewRow): NewEvent {
  const { id, tenant_id, occurred_at, created_at: _, channel: _channel, ...rest } = shown(ctx, row)
  const data = { interaction_id: id, network_id: tenant_id, tenant_id, timestamp: occurred_at, ...rest }
  const subject = row.speaker_id ?? row.user_id
  return {
    ...{ type: 'interaction.created', id: eventIdOf(id), data, occurred_at },
    ...(subject === null ? {} : { subject }),
  }
}

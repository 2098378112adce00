import { and, eq, sql } from 'drizzle-orm'
import type { Change } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { eventOf } from '../../events/catalogue'
import { eventData } from './service'
import { type CampaignRow, campaigns } from './table'

/** What ends a campaign where it stands; whom it calls goes on to the end of that call. */
export function cancelling(
  ctx: Context,
  row: CampaignRow,
): Required<Pick<Change<unknown>, 'statements' | 'events'>> {
  const statement = ctx.db
    .update(campaigns)
    .set({ status: 'cancelled', paused_reason: null, updated_at: iso(ctx.now), version: sql`version + 1` })
    .where(and(eq(campaigns.tenant_id, ctx.tenant.id), eq(campaigns.id, row.id)))
  return { statements: [statement], events: [eventOf('campaign.cancelled', eventData(row))] }
}

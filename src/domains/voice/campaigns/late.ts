import { and, eq } from 'drizzle-orm'
import { find } from '../../../data/revise'
import { whereLate } from '../calls/late'
import { openFor } from './hours'
import { campaignContacts, campaigns } from './table'

// Calling hours hold for when it rings: a call that could not be placed within them goes back to its campaign.

whereLate(async (ctx, { campaign_id, contact_id }) => {
  if (campaign_id === null || contact_id === null) return null
  const schedule = (await find(ctx, campaigns, campaign_id))?.schedule
  if (!schedule) return null
  const [contact] = await ctx.db
    .select({ timezone: campaignContacts.timezone })
    .from(campaignContacts)
    .where(
      and(
        eq(campaignContacts.tenant_id, ctx.tenant.id),
        eq(campaignContacts.campaign_id, campaign_id),
        eq(campaignContacts.id, contact_id),
      ),
    )
    .limit(1)
  const zone = contact?.timezone || schedule.timezone
  return openFor(schedule.calling_hours, zone, ctx.now) === null ? 'outside_hours' : null
})

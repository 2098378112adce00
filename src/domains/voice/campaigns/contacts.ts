import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { newest } from '../../../data/newest'
import type { Page } from '../../../data/page'
import { firstErrors } from '../../../lib/first-errors'
import { hurryAbout } from '../../jobs/about'
import { wakeJob } from '../../jobs/wake'
import type { Line } from './lines'
import { type Counts, changeOf, decided, LINES_OF_BATCH, planOf, RACES } from './merge'
import type { Imported, LineError, ListContacts } from './schema'
import { existingCampaign } from './service'
import { type CampaignRow, type ContactRow, campaignContacts } from './table'

export const NOTHING: Counts = { lines: 0, created: 0, merged: 0, failed: 0 }

export const summed = (one: Counts, other: Counts): Counts => ({
  lines: one.lines + other.lines,
  created: one.created + other.created,
  merged: one.merged + other.merged,
  failed: one.failed + other.failed,
})

/**
 * Adds contacts to a campaign, line by line: the good ones are kept, `LINES_OF_BATCH` in a batch; where a request is cut
 * off between two, repeating it finds the first ones there. 404; 409 where the campaign has ended.
 */
export async function addContacts(ctx: Context, id: string, lines: readonly Line[]): Promise<Imported> {
  const campaign = await existingCampaign(ctx, id)
  let counts = NOTHING
  const errors: LineError[] = []
  for (let at = 0; at < lines.length; at += LINES_OF_BATCH) {
    const last = at + LINES_OF_BATCH >= lines.length
    const some = await decided(async () => {
      const plan = await planOf(ctx, id, lines.slice(at, at + LINES_OF_BATCH))
      const { statements } = changeOf(ctx, id, plan)
      const sofar = summed(counts, plan.counts)
      const named = firstErrors([...errors, ...plan.errors])
      // Its idempotency key is finished with the last.
      await commit(last ? ctx : { ...ctx, idempotency: null }, {
        unique: RACES,
        statements: [...statements, ...(last ? hurried(ctx, campaign) : [])],
        audit: last ? [added(id, sofar)] : [],
        result: { ...sofar, errors: named },
      })
      return plan
    })
    counts = summed(counts, some.counts)
    errors.push(...some.errors)
  }
  ctx.defer(wake(ctx, campaign))
  return { ...counts, errors: firstErrors(errors) }
}

/** How an import is on record. */
export const added = (id: string, after: Counts) => ({
  ...{ action: 'campaign.add_contacts', resource: 'campaign', resource_id: id },
  after,
})

/** A campaign that waits hears of new contacts at once. */
const hurried = (ctx: Context, { id, job_id }: CampaignRow) => (job_id === null ? [] : [hurryAbout(ctx, id)])

/** Has a campaign's job look at once; a failure is left to the sweep. */
export async function wake(ctx: Context, { job_id }: CampaignRow): Promise<void> {
  if (job_id !== null) await wakeJob(ctx.env, { tenant_id: ctx.tenant.id, job_id })
}

export type ContactView = Omit<ContactRow, 'timezone'> & { timezone: string | null }

/** A campaign's contacts, the last that were added first. 404. */
export async function listContacts(
  ctx: Context,
  id: string,
  input: ListContacts,
): Promise<Page<ContactView>> {
  await existingCampaign(ctx, id)
  const { status, phone } = input
  const page = await newest(ctx, campaignContacts, input, { campaign_id: id, status, phone })
  const items = page.items.map((row) => ({ ...row, timezone: row.timezone || null }))
  return { ...page, items }
}

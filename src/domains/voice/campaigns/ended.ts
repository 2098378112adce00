import { and, eq, inArray, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { slices } from '../../../data/insert-rows'
import { iso } from '../../../lib/ids'
import { hurryAbout } from '../../jobs/about'
import { wakeJob } from '../../jobs/wake'
import { callEnds } from '../calls/ends'
import type { CallRow } from '../calls/table'
import { type CampaignRow, type ContactRow, campaignContacts, campaigns } from './table'

// What becomes of a contact is written in the batch that ends its call.

callEnds('campaign_contacts', async (ctx, ended) => {
  const ofCampaigns = ended.filter((call) => call.campaign_id !== null && call.contact_id !== null)
  if (ofCampaigns.length === 0) return { statements: [], events: [] }
  const byCampaign = Map.groupBy(ofCampaigns, ({ campaign_id }) => campaign_id ?? '')
  const rows = await ctx.db
    .select()
    .from(campaigns)
    .where(and(eq(campaigns.tenant_id, ctx.tenant.id), inArray(campaigns.id, listed([...byCampaign.keys()]))))
  const each = await Promise.all(rows.map((row) => settled(ctx, row, byCampaign.get(row.id) ?? [])))
  return {
    statements: each.flatMap(({ statements }) => statements),
    events: [],
    after: () => Promise.all(each.map(({ after }) => after())),
  }
})

const listed = (ids: readonly string[]) => sql`(select value from json_each(${JSON.stringify(ids)}))`

/** What a contact becomes, and from when on it may be called again. */
type Outcome = Pick<ContactRow, 'id' | 'status' | 'attempts' | 'next_at'> & Pick<CallRow, 'ended_reason'>

async function settled(ctx: Context, campaign: CampaignRow, ended: readonly CallRow[]) {
  const contacts = await contactsOf(ctx, campaign.id, ended)
  const outcomes = ended.flatMap((call) => {
    const contact = contacts.get(call.contact_id ?? '')
    return contact?.call_id === call.id && contact.status === 'calling'
      ? [outcomeOf(ctx, campaign, contact, call)]
      : []
  })
  if (outcomes.length === 0) return { statements: [], after: async () => undefined }
  const counts = countedBy(outcomes)
  // Nobody is left to be called: the campaign's end is not waited for.
  const last = campaign.pending + counts.pending === 0 && campaign.calling <= outcomes.length
  return {
    statements: [
      ...written(ctx, campaign.id, outcomes),
      counted(ctx, campaign.id, outcomes.length, counts),
      ...(last ? [hurryAbout(ctx, campaign.id)] : []),
    ],
    after: async () => {
      if (last && campaign.job_id !== null)
        await wakeJob(ctx.env, { tenant_id: ctx.tenant.id, job_id: campaign.job_id })
    },
  }
}

async function contactsOf(
  ctx: Context,
  campaignId: string,
  ended: readonly CallRow[],
): Promise<Map<string, ContactRow>> {
  const rows = await ctx.db
    .select()
    .from(campaignContacts)
    .where(
      and(
        eq(campaignContacts.tenant_id, ctx.tenant.id),
        eq(campaignContacts.campaign_id, campaignId),
        inArray(campaignContacts.id, listed(ended.map(({ contact_id }) => contact_id ?? ''))),
      ),
    )
  return new Map(rows.map((row) => [row.id, row]))
}

/** Ends by which nobody was called: such a call is no attempt. */
const NOT_CALLED = new Set<string | null>(['tenant_suspended', 'agent_gone', 'outside_hours'])

function outcomeOf(
  ctx: Context,
  { schedule }: CampaignRow,
  { id, attempts }: ContactRow,
  { status, started_at, ended_reason, ended_at }: CallRow,
): Outcome {
  const { retries = 0, retry_delay_minutes = 0 } = schedule ?? {}
  const end = ended_at === null ? ctx.now : Date.parse(ended_at)
  if (started_at === null && NOT_CALLED.has(ended_reason))
    return { id, ended_reason, status: 'pending', attempts: attempts - 1, next_at: iso(end) }
  if (status === 'no_answer' && attempts <= retries)
    return { id, ended_reason, status: 'pending', attempts, next_at: iso(end + retry_delay_minutes * 60_000) }
  const final = status === 'completed' || status === 'no_answer' ? status : 'failed'
  return { id, ended_reason, status: final, attempts, next_at: null }
}

type Counts = Record<Exclude<ContactRow['status'], 'calling'>, number>

function countedBy(outcomes: readonly Outcome[]): Counts {
  const counts: Counts = { pending: 0, completed: 0, no_answer: 0, failed: 0 }
  for (const { status } of outcomes) if (status !== 'calling') counts[status]++
  return counts
}

/** The end of a call is written once, so each of them is still being called. */
function written(ctx: Context, campaignId: string, outcomes: readonly Outcome[]) {
  const of = (name: keyof Outcome) => sql`json_extract(value, ${sql.raw(`'$.${name}'`)})`
  const set = {
    ...{ status: of('status'), attempts: of('attempts'), next_at: of('next_at') },
    ...{ ended_reason: of('ended_reason'), updated_at: iso(ctx.now) },
  }
  return slices(outcomes.map((one) => JSON.stringify(one))).map((slice) =>
    ctx.db
      .update(campaignContacts)
      .set(set)
      .from(sql`json_each(${`[${slice.join(',')}]`})`)
      .where(
        and(
          eq(campaignContacts.tenant_id, ctx.tenant.id),
          eq(campaignContacts.campaign_id, campaignId),
          eq(campaignContacts.id, sql`json_extract(value, '$.id')`),
        ),
      ),
  )
}

function counted(ctx: Context, campaignId: string, ended: number, more: Counts) {
  const set = {
    calling: sql`calling - ${ended}`,
    pending: sql`pending + ${more.pending}`,
    completed: sql`completed + ${more.completed}`,
    no_answer: sql`no_answer + ${more.no_answer}`,
    failed: sql`failed + ${more.failed}`,
    counted: sql`counted + 1`,
  }
  return ctx.db
    .update(campaigns)
    .set(set)
    .where(and(eq(campaigns.tenant_id, ctx.tenant.id), eq(campaigns.id, campaignId)))
}

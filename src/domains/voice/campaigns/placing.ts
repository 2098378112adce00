import { and, eq, inArray, sql } from 'drizzle-orm'
import type { Change } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { getBalance } from '../../billing/service'
import { holdOfEach, placedCalls } from '../calls/place'
import type { Caller } from './caller'
import type { DueContact } from './due'
import { type CampaignRow, campaignContacts, campaigns } from './table'

/** Whatever refuses the batch, another look finds out: the job tries again, and sees what is so by then. */
const AGAIN = problem('service_unavailable', 'What the calls need has changed meanwhile')

/** How many of so many calls there is credit for. */
export async function affordable(ctx: Context, count: number): Promise<number> {
  const hold = holdOfEach(ctx)
  return hold === 0 ? count : Math.min(count, Math.floor((await getBalance(ctx)).balance / hold))
}

/** The batch in which calls are placed: each with its contact, which is so marked, or not at all. */
export function placing(
  ctx: Context,
  campaign: CampaignRow,
  caller: Caller,
  contacts: readonly DueContact[],
) {
  const { agent_id, id } = campaign
  const placed = placedCalls(
    ctx,
    { name: caller.provider },
    contacts.map((contact) => ({
      ...{ agent_id, to: contact.phone, from: caller.from, campaign_id: id, contact_id: contact.id },
      metadata: {
        ...(contact.name === null ? {} : { name: contact.name }),
        ...JSON.parse(contact.metadata),
        attempt: contact.attempts + 1,
      },
    })),
  )
  const calls = Object.fromEntries(placed.rows.map((call) => [call.contact_id ?? '', call.id]))
  return {
    statements: [
      ...placed.statements.map((item) => ('otherwise' in item ? { ...item, otherwise: AGAIN } : item)),
      ...called(ctx, campaign, calls),
      begun(ctx, campaign, contacts.length),
    ],
    events: placed.events,
    after: placed.after,
  }
}

function called(
  ctx: Context,
  { id }: CampaignRow,
  calls: Record<string, string>,
): Change<unknown>['statements'] {
  const map = JSON.stringify(calls)
  const ids = Object.keys(calls)
  const statement = ctx.db
    .update(campaignContacts)
    .set({
      ...{ status: 'calling', attempts: sql`attempts + 1`, next_at: null, ended_reason: null },
      call_id: sql`json_extract(${map}, '$."' || id || '"')`,
      updated_at: iso(ctx.now),
    })
    .where(
      and(
        eq(campaignContacts.tenant_id, ctx.tenant.id),
        eq(campaignContacts.campaign_id, id),
        inArray(campaignContacts.id, sql`(select value from json_each(${JSON.stringify(ids)}))`),
        eq(campaignContacts.status, 'pending'),
      ),
    )
  return [statement, { holds: sql`changes() = ${ids.length}`, otherwise: AGAIN }]
}

function begun(ctx: Context, { id, status, started_at }: CampaignRow, count: number) {
  const first =
    status === 'running'
      ? {}
      : {
          ...{ status: 'running' as const, started_at: started_at ?? iso(ctx.now) },
          ...{ version: sql`version + 1`, updated_at: iso(ctx.now) },
        }
  return ctx.db
    .update(campaigns)
    .set({
      ...first,
      ...{ pending: sql`pending - ${count}`, calling: sql`calling + ${count}`, counted: sql`counted + 1` },
    })
    .where(and(eq(campaigns.tenant_id, ctx.tenant.id), eq(campaigns.id, id)))
}

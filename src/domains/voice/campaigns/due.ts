import { sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { openFor, opensIn } from './hours'
import type { ContactRow, Schedule } from './table'

/** A time zone in which contacts are to be called: since when or from when on, and how long its hours last; null: closed. */
export type Zone = { zone: string; next: number; open: number | null }

/** How far ahead it is looked for when hours open: then it is looked again. */
const AHEAD_MS = 3600_000

/**
 * The time zones of a campaign's contacts that are to be called, those first whose hours end first. An index leads from one
 * to the next, however many contacts there are in each.
 */
export async function zonesOf(ctx: Context, campaignId: string, schedule: Schedule): Promise<Zone[]> {
  const ofIt = sql`c.tenant_id = ${ctx.tenant.id} and c.campaign_id = ${campaignId} and c.next_at is not null`
  const first = sql`select min(c.timezone) from campaign_contacts as c where ${ofIt}`
  const earliest = sql`select min(c.next_at) from campaign_contacts as c where ${ofIt} and c.timezone = zones.zone`
  const rows = await ctx.db.all<{ zone: string; next_at: string }>(sql`
    with recursive zones(zone) as (
      select (${first})
      union all select (${first} and c.timezone > zones.zone) from zones where zones.zone is not null
    )
    select zones.zone as zone, (${earliest}) as next_at from zones where zones.zone is not null`)
  return rows
    .map(({ zone, next_at }) => {
      const open = openFor(schedule.calling_hours, zone || schedule.timezone, ctx.now)
      return { zone, next: Date.parse(next_at), open }
    })
    .toSorted(
      (one, other) => (one.open ?? Number.POSITIVE_INFINITY) - (other.open ?? Number.POSITIVE_INFINITY),
    )
}

/** A contact as a call needs it; its metadata as JSON. */
export type DueContact = Pick<ContactRow, 'id' | 'phone' | 'name' | 'attempts'> & { metadata: string }

/** The contacts to be called next, `most` of them: within their calling hours, those first whose hours end first. */
export async function dueContacts(
  ctx: Context,
  campaignId: string,
  zones: readonly Zone[],
  most: number,
): Promise<DueContact[]> {
  const open = zones.filter(({ open, next }) => open !== null && next <= ctx.now).map(({ zone }) => zone)
  if (open.length === 0) return []
  // Not sorted: the list leads to the zones in its order, the index in each to who waits the longest.
  return ctx.db.all<DueContact>(sql`
    select c.id as id, c.phone as phone, c.name as name, c.attempts as attempts, c.metadata as metadata from json_each(${JSON.stringify(open)}) as z cross join campaign_contacts as c
    where c.tenant_id = ${ctx.tenant.id} and c.campaign_id = ${campaignId} and c.timezone = z.value
      and c.next_at is not null and c.next_at <= ${iso(ctx.now)} limit ${most}`)
}

/** What a campaign waits for that has nobody to call, and how long at most; null where nobody is to be called. */
export function waitsFor(
  zones: readonly Zone[],
  { calling_hours, timezone }: Schedule,
  now: number,
): { for: string; ms: number } | null {
  const waits = zones.map(({ zone, next, open }) =>
    open === null
      ? { for: 'calling_hours', ms: opensIn(calling_hours, zone || timezone, now, AHEAD_MS) }
      : { for: 'retry', ms: Math.max(0, next - now) },
  )
  return waits.reduce<{ for: string; ms: number } | null>(
    (least, one) => (least === null || one.ms < least.ms ? one : least),
    null,
  )
}

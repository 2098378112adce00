import { and, eq, inArray, sql } from 'drizzle-orm'
import type { Change } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { insertRows, slices } from '../../../data/insert-rows'
import { iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { type Line, wrong } from './lines'
import { fitsMetadata, type LineError, METADATA_FITS } from './schema'
import { type ContactRow, campaignContacts, campaigns } from './table'

// There is one contact for a number. What of a batch is there already is asked first; then the batch writes what is new or
// otherwise, provided that nobody added the same numbers meanwhile. So the counts are known before it is written, and the
// answer of an idempotent request, or the checkpoint of a job, goes into it.

/** Lines of one batch. */
export const LINES_OF_BATCH = 500
/** Contacts of one campaign. */
const MOST_CONTACTS = 100_000

/** Another added the same numbers between the look and the batch. */
const RACE = problem('service_unavailable', 'The same contacts were added by another at that moment', {
  headers: { 'Retry-After': '1' },
})
/** What a violated UNIQUE constraint means, for the batch of a plan. */
export const RACES = { 'campaign_contacts.': RACE }
/** How often that is decided anew, and the longest wait before: twice as long after each time. */
const ATTEMPTS = 10
const FIRST_WAIT_MS = 10

/** What became of some lines. */
export type Counts = { lines: number; created: number; merged: number; failed: number }

type Plan = { counts: Counts; errors: LineError[]; created: ContactRow[]; changed: ContactRow[] }

/** Decides what some lines (at most `LINES_OF_BATCH`) make of a campaign's contacts, one after the other. */
export async function planOf(ctx: Context, campaignId: string, lines: readonly Line[]): Promise<Plan> {
  const known = await knownOf(ctx, campaignId, lines)
  const after = new Map(known)
  const errors: LineError[] = []
  let merged = 0
  for (const one of lines) {
    if ('error' in one) {
      errors.push(one.error)
      continue
    }
    const before = after.get(one.contact.phone)
    const row = before ? mergedOf(ctx, before, one) : newContact(ctx, campaignId, one)
    if ('error' in row) errors.push(row.error)
    else {
      if (before) merged++
      after.set(row.phone, row)
    }
  }
  const rows = [...after.values()]
  const created = rows.filter(({ phone }) => !known.has(phone))
  const changed = rows.filter((row) => known.has(row.phone) && known.get(row.phone) !== row)
  const counts = { lines: lines.length, created: created.length, merged, failed: errors.length }
  return { counts, errors, created, changed }
}

async function knownOf(
  ctx: Context,
  campaignId: string,
  lines: readonly Line[],
): Promise<Map<string, ContactRow>> {
  const phones = lines.flatMap((line) => ('contact' in line ? [line.contact.phone] : []))
  const rows = await ctx.db
    .select()
    .from(campaignContacts)
    .where(
      and(
        eq(campaignContacts.tenant_id, ctx.tenant.id),
        eq(campaignContacts.campaign_id, campaignId),
        inArray(campaignContacts.phone, sql`(select value from json_each(${JSON.stringify(phones)}))`),
      ),
    )
  return new Map(rows.map((row) => [row.phone, row]))
}

type Good = Extract<Line, { contact: unknown }>

function newContact(ctx: Context, campaign_id: string, { contact }: Good): ContactRow {
  const now = iso(ctx.now)
  const { phone, name, timezone, metadata } = contact
  return {
    ...{ tenant_id: ctx.tenant.id, campaign_id, id: newId(ctx.now), phone, metadata },
    ...{ name: name ?? null, timezone: timezone ?? '', status: 'pending', attempts: 0 },
    ...{ call_id: null, ended_reason: null, next_at: now, created_at: now, updated_at: now },
  }
}

/** What is said of a contact later counts, field by field, and what is not said again stays. */
function mergedOf(
  ctx: Context,
  before: ContactRow,
  { line, contact }: Good,
): ContactRow | { error: LineError } {
  const { name, timezone } = contact
  const metadata = { ...before.metadata, ...contact.metadata }
  if (!fitsMetadata(metadata))
    return wrong(line, contact, { metadata: `${METADATA_FITS}, with what is known of the contact already` })
  const row = { ...before, name: name ?? before.name, timezone: timezone ?? before.timezone, metadata }
  const said = (one: ContactRow) => JSON.stringify([one.name, one.timezone, one.metadata])
  return said(row) === said(before) ? before : { ...row, updated_at: iso(ctx.now) }
}

/** What a statement writes of a contact that is there; how its calls went stays. */
const REPLACED = {
  name: sql`excluded.name`,
  timezone: sql`excluded.timezone`,
  metadata: sql`excluded.metadata`,
  updated_at: sql`excluded.updated_at`,
}

/** The batch of a plan. 409 where the campaign has ended, or would have too many contacts; `RACE`. */
export function changeOf(
  ctx: Context,
  campaignId: string,
  { created, changed }: Plan,
): Pick<Change<never>, 'statements'> {
  const mine = sql`c.tenant_id = ${ctx.tenant.id} and c.id = ${campaignId}`
  return {
    statements: [
      {
        holds: sql`exists (select 1 from campaigns as c where ${mine} and c.status not in ('completed', 'cancelled'))`,
        otherwise: problem('conflict', 'The campaign has ended; make another one for these contacts'),
      },
      {
        holds: sql`exists (select 1 from campaigns as c where ${mine} and c.contacts + ${created.length} <= ${MOST_CONTACTS})`,
        otherwise: problem('conflict', `A campaign has at most ${MOST_CONTACTS} contacts; make another one`, {
          details: { limit: MOST_CONTACTS },
        }),
      },
      ...insertRows(ctx, campaignContacts, created),
      ...replacing(ctx, campaignId, changed),
      ...(created.length > 0 ? [counting(ctx, campaignId, created.length)] : []),
    ],
  }
}

function counting(ctx: Context, campaignId: string, more: number) {
  const set = {
    contacts: sql`contacts + ${more}`,
    pending: sql`pending + ${more}`,
    counted: sql`counted + 1`,
  }
  return ctx.db
    .update(campaigns)
    .set(set)
    .where(and(eq(campaigns.tenant_id, ctx.tenant.id), eq(campaigns.id, campaignId)))
}

function replacing(ctx: Context, campaignId: string, rows: readonly ContactRow[]) {
  const printed = rows.map(({ id, phone, name, timezone, metadata, created_at, updated_at }) =>
    JSON.stringify([id, phone, name, timezone, JSON.stringify(metadata), created_at, updated_at]),
  )
  const at = (place: number) => sql.raw(`value ->> ${place}`)
  return slices(printed).map((slice) => {
    const { tenant_id, campaign_id, phone } = campaignContacts
    // In the order of the columns.
    const values = sql`select ${ctx.tenant.id}, ${campaignId}, ${at(0)}, ${at(1)}, ${at(2)}, ${at(3)}, ${at(4)},
      'pending', 0, null, null, null, ${at(5)}, ${at(6)} from json_each(${`[${slice.join(',')}]`}) where true`
    return ctx.db
      .insert(campaignContacts)
      .select(values)
      .onConflictDoUpdate({ target: [tenant_id, campaign_id, phone], set: REPLACED })
  })
}

/** What `attempt` answers; tried again where others added the same contacts meanwhile. */
export async function decided<T>(attempt: () => Promise<T>): Promise<T> {
  for (let count = 1; ; count++) {
    try {
      return await attempt()
    } catch (error) {
      if (error !== RACE || count === ATTEMPTS) throw error
      await scheduler.wait(Math.random() * FIRST_WAIT_MS * 2 ** Math.min(count, 6))
    }
  }
}

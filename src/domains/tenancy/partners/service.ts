import { and, desc, eq, lt, sql } from 'drizzle-orm'
import { type Change, commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { directory } from '../../../data/database'
import { type Page, pageOf } from '../../../data/page'
import { defined } from '../../../lib/defined'
import { differs } from '../../../lib/differs'
import { iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { tokensEndOf } from '../../identity/outdated'
import { partnerChange } from './changes'
import { lookAtConnections, openTo } from './connections'
import type { CreatePartner, UpdatePartner } from './schema'
import { type PartnerRow, partners, partnerUsers } from './table'

// Partners belong to no tenant. What is done to one is on record in the platform's log; what it may in a tenant, and who
// acts for it, in the log of the tenant that this is about (rights.ts).

/** Makes a partner, without tenants or users. */
export async function createPartner(ctx: Context, { name }: CreatePartner): Promise<PartnerRow> {
  const now = iso(ctx.now)
  const id = newId(ctx.now)
  const row: PartnerRow = { id, name, status: 'active', version: 1, created_at: now, updated_at: now }
  return commit(ctx, {
    statements: [directory(ctx.env).insert(partners).values(row)],
    result: row,
    audit: { action: 'partner.create', resource: 'partner', resource_id: id, after: { name } },
  })
}

type Filter = { limit: number; cursor?: string | undefined; status?: PartnerRow['status'] | undefined }

/** Every partner, newest first. */
export function listPartners(ctx: Context, input: Filter): Promise<Page<PartnerRow>> {
  return pageOf(`partners:${input.status ?? ''}`, input, (after, limit) =>
    directory(ctx.env)
      .select()
      .from(partners)
      .where(
        and(
          input.status ? eq(partners.status, input.status) : undefined,
          after ? lt(partners.id, after.id) : undefined,
        ),
      )
      .orderBy(desc(partners.id))
      .limit(limit),
  )
}

/** One partner. */
export async function getPartner(ctx: Context, id: string): Promise<PartnerRow> {
  const row = await directory(ctx.env).select().from(partners).where(eq(partners.id, id)).get()
  if (!row) throw problem.notFound('partner', id)
  return row
}

/** Changes a partner; a suspended one's users act nowhere but at home, everywhere within ten seconds. */
export async function updatePartner(ctx: Context, id: string, input: UpdatePartner): Promise<PartnerRow> {
  const set = defined(input)
  const updated = await changingPartner(ctx, id, set, async (row, next, written) => {
    if (!differs(row, set)) return commit(ctx, { statements: [], result: row })
    return commit(ctx, {
      statements: [written],
      result: next,
      audit: {
        ...{ action: 'partner.update', resource: 'partner', resource_id: id, after: set },
        before: Object.fromEntries(Object.keys(set).map((key) => [key, row[key as keyof PartnerRow]])),
      },
      tell: input.status && input.status !== row.status ? await usersChange(ctx, id) : [],
    })
  })
  if (input.status === 'suspended') lookAtConnections(ctx, await openTo(ctx, id))
  return updated
}

/** Deletes a partner, and with it what it may in its tenants. */
export async function deletePartner(ctx: Context, id: string): Promise<undefined> {
  const open = await openTo(ctx, id)
  await changingPartner(ctx, id, {}, async (row, _next, written) => {
    const removal = directory(ctx.env)
      .delete(partners)
      .where(and(eq(partners.id, id), eq(partners.version, row.version + 1)))
    return commit(ctx, {
      // What it was read with must still be so, and so must who acts for it: each change counts the version up.
      statements: [written, removal],
      result: undefined,
      audit: { action: 'partner.delete', resource: 'partner', resource_id: id, before: { name: row.name } },
      tell: await usersChange(ctx, id),
    })
  })
  lookAtConnections(ctx, open)
}

/**
 * What its users may has changed: the tenants in which they log in are told, where they are looked at again, and their
 * access tokens of before end.
 */
export async function usersChange(ctx: Context, id: string) {
  const homes = await directory(ctx.env)
    .select({ tenant_id: partnerUsers.tenant_id })
    .from(partnerUsers)
    .where(eq(partnerUsers.partner_id, id))
  return [...new Set(homes.map(({ tenant_id }) => tenant_id))].flatMap((home) => [
    partnerChange(id, home),
    tokensEndOf({
      from: sql`${partnerUsers} where tenant_id = ${home} and partner_id = ${id}`,
      tenant_id: home,
    }),
  ])
}

type Written = Extract<Change<unknown>['statements'][number], { statement: unknown }>

const ATTEMPTS = 5

/**
 * Does what is decided of a partner as it was read, in a batch with `written`, which counts its version up and fails where
 * that has moved; then it is decided anew, unless If-Match named the version. 404 where there is no such partner.
 */
export async function changingPartner<T>(
  ctx: Context,
  id: string,
  set: Partial<PartnerRow>,
  act: (row: PartnerRow, next: PartnerRow, written: Written) => Promise<T>,
): Promise<T> {
  const stale = problem('precondition_failed', 'The partner has changed since it was read')
  for (let attempt = 1; ; attempt++) {
    const row = await getPartner(ctx, id)
    if (ctx.ifMatch !== undefined && ctx.ifMatch !== row.version) throw stale
    const next = { ...row, ...set, updated_at: iso(ctx.now), version: row.version + 1 }
    const statement = directory(ctx.env)
      .update(partners)
      .set({ ...set, updated_at: next.updated_at, version: sql`version + 1` })
      .where(and(eq(partners.id, id), eq(partners.version, row.version)))
    try {
      return await act(row, next, { statement, otherwise: stale })
    } catch (error) {
      if (error !== stale || ctx.ifMatch !== undefined || attempt === ATTEMPTS) throw error
    }
  }
}

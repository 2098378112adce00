import { and, asc, desc, eq, gt, isNotNull, lt, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { find, removal, revise } from '../../../data/revise'
import { iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { deliveries, UNDELIVERED } from '../deliveries/table'
import { stopEndpoint } from '../deliveries/wake'
import { endpoints } from '../endpoints/table'
import { type ApplicationRow, applications, type Metadata } from './table'

/** An application by its id, or by the tenant's own name for it. */
export type Ref = { id: string } | { uid: string }

export type ApplicationFields = { name: string; uid: string | null; metadata: Metadata }

/** What of a list is read: `limit` rows in one direction, from a row on. */
export type Span = { limit: number; ascending: boolean; from: string | null }

/** Makes an application; 409 where its uid is taken. */
export function createApplication(ctx: Context, input: ApplicationFields): Promise<ApplicationRow> {
  const at = iso(ctx.now)
  const row: ApplicationRow = {
    ...{ tenant_id: ctx.tenant.id, id: newId(ctx.now), ...input },
    ...{ version: 1, created_at: at, updated_at: at },
  }
  return commit(ctx, {
    statements: [ctx.db.insert(applications).values(row)],
    audit: {
      ...{ action: 'application.create', resource: 'application', resource_id: row.id },
      after: shown(row),
    },
    unique: uidTaken(row.uid),
    result: row,
  })
}

/** The tenant's application; null where it has none of that id or uid. */
export async function findApplication(ctx: Context, ref: Ref): Promise<ApplicationRow | null> {
  if ('id' in ref) return find(ctx, applications, ref.id)
  const rows = await ctx.db
    .select()
    .from(applications)
    .where(
      and(
        eq(applications.tenant_id, ctx.tenant.id),
        eq(applications.uid, ref.uid),
        isNotNull(applications.uid),
      ),
    )
    .limit(1)
  return rows[0] ?? null
}

/** The same; 404 where there is none. */
export async function getApplication(ctx: Context, ref: Ref): Promise<ApplicationRow> {
  const row = await findApplication(ctx, ref)
  if (!row) throw problem.notFound('application', 'id' in ref ? ref.id : ref.uid)
  return row
}

/** The tenant's applications by the time of their making. */
export function listApplications(ctx: Context, span: Span): Promise<ApplicationRow[]> {
  const { from, ascending } = span
  const beyond = from === null ? undefined : (ascending ? gt : lt)(applications.id, from)
  return ctx.db
    .select()
    .from(applications)
    .where(and(eq(applications.tenant_id, ctx.tenant.id), beyond))
    .orderBy((ascending ? asc : desc)(applications.id))
    .limit(span.limit)
}

export function updateApplication(
  ctx: Context,
  id: string,
  set: Partial<ApplicationFields>,
): Promise<ApplicationRow> {
  return revise(ctx, applications, 'application', id, (before) => {
    const after = { ...before, ...set }
    return {
      set,
      audit: {
        ...{ action: 'application.update', resource: 'application', resource_id: id },
        ...{ before: shown(before), after: shown(after) },
      },
      unique: uidTaken(after.uid),
    }
  })
}

/** Deletes an application with its endpoints, and cancels what is under way for them; its events can still be read. */
export async function deleteApplication(ctx: Context, id: string): Promise<undefined> {
  const mine = and(eq(endpoints.tenant_id, ctx.tenant.id), eq(endpoints.application_id, id))
  const its = sql`${deliveries.endpoint_id} in (select id from ${endpoints} where ${mine})`
  const cancelled = { status: 'cancelled', next_attempt_at: null, version: sql`version + 1` } as const
  const cancel = (open: ReturnType<typeof sql>) =>
    ctx.db
      .update(deliveries)
      .set(cancelled)
      .where(and(eq(deliveries.tenant_id, ctx.tenant.id), its, open))
  const ids = await ctx.db.select({ id: endpoints.id }).from(endpoints).where(mine)
  await commit(ctx, {
    statements: [
      removal(ctx, applications, 'application', id),
      cancel(sql`${deliveries.status} = 'pending'`),
      cancel(sql`${deliveries.status} = 'held' and ${deliveries.status} ${UNDELIVERED}`),
      ctx.db.delete(endpoints).where(mine),
    ],
    audit: { action: 'application.delete', resource: 'application', resource_id: id },
    result: undefined,
  })
  for (let at = 0; at < ids.length; at += STOPPED_AT_ONCE)
    await Promise.all(
      ids
        .slice(at, at + STOPPED_AT_ONCE)
        .map((one) => stopEndpoint(ctx.env, { tenant_id: ctx.tenant.id, endpoint_id: one.id })),
    )
}

/** Objects of endpoints that are told together. */
const STOPPED_AT_ONCE = 20

/** Holds where the application stands when a batch runs: what is made for it must not outlive it. */
export const stands = (ctx: Context, id: string) => ({
  holds: sql`exists (select 1 from ${applications} where ${and(
    eq(applications.tenant_id, ctx.tenant.id),
    eq(applications.id, id),
  )})`,
  otherwise: problem.notFound('application', id),
})

const uidTaken = (uid: string | null) => ({
  'applications.uid': problem('already_exists', `An application with the uid "${uid}" exists`),
})

/** As the audit log keeps it. */
const shown = ({ name, uid, metadata }: ApplicationRow) => ({ name, uid, metadata })

import { and, asc, desc, eq, gt, inArray, isNotNull, lt, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { problem } from '../../../lib/problem'
import type { Ref, Span } from '../applications/service'
import { type EndpointRow, endpoints } from './table'

/** The application's endpoint of that id or uid; null where it has none. */
export async function findEndpointOf(
  ctx: Context,
  applicationId: string,
  ref: Ref,
): Promise<EndpointRow | null> {
  const is =
    'id' in ref
      ? and(eq(endpoints.id, ref.id), sql`+${endpoints.application_id} = ${applicationId}`)
      : and(eq(endpoints.uid, ref.uid), isNotNull(endpoints.uid), eq(endpoints.application_id, applicationId))
  const rows = await ctx.db
    .select()
    .from(endpoints)
    .where(and(eq(endpoints.tenant_id, ctx.tenant.id), is))
    .limit(1)
  return rows[0] ?? null
}

/** The same; 404 where it has none. */
export async function endpointOf(ctx: Context, applicationId: string, ref: Ref): Promise<EndpointRow> {
  const row = await findEndpointOf(ctx, applicationId, ref)
  if (!row) throw problem.notFound('endpoint', 'id' in ref ? ref.id : ref.uid)
  return row
}

/** The application's endpoints by the time of their making. */
export function endpointsOf(ctx: Context, applicationId: string, span: Span): Promise<EndpointRow[]> {
  const { from, ascending, limit } = span
  return ctx.db
    .select()
    .from(endpoints)
    .where(
      and(
        eq(endpoints.tenant_id, ctx.tenant.id),
        eq(endpoints.application_id, applicationId),
        from === null ? undefined : (ascending ? gt : lt)(endpoints.id, from),
      ),
    )
    .orderBy((ascending ? asc : desc)(endpoints.id))
    .limit(limit)
}

/** Endpoints by their ids. */
export function endpointsByIds(ctx: Context, ids: readonly string[]): Promise<EndpointRow[]> {
  return ctx.db
    .select()
    .from(endpoints)
    .where(
      and(
        eq(endpoints.tenant_id, ctx.tenant.id),
        inArray(endpoints.id, sql`(select value from json_each(${JSON.stringify(ids)}))`),
      ),
    )
}

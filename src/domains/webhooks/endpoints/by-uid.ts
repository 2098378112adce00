import { and, eq, isNotNull, isNull } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { defined } from '../../../lib/defined'
import { Problem, problem } from '../../../lib/problem'
import { CreateEndpoint, type Endpoint, type PutEndpoint } from './schema'
import { createEndpoint, deleteEndpoint, updateEndpoint, view } from './service'
import { type EndpointRow, endpoints } from './table'

// Endpoints under the tenant's own names for them: what the predecessors called clients.

/**
 * Makes the endpoint of that uid, or changes the one there is: it keeps its secret, which is in the answer only where it
 * was made, and is enabled if its last receiver had had it disabled.
 */
export async function upsertEndpointByUid(
  ctx: Context,
  uid: string,
  input: PutEndpoint,
): Promise<Endpoint & { secret?: string }> {
  const row = await rowOf(ctx, uid)
  if (row) return changed(ctx, row, input)
  try {
    return await createEndpoint(ctx, CreateEndpoint.parse({ ...input, uid }))
  } catch (error) {
    // Another request registered it meanwhile.
    const other = error instanceof Problem && error.code === 'already_exists' && (await rowOf(ctx, uid))
    if (!other) throw error
    return changed(ctx, other, input)
  }
}

/** Many register the same at every start, so what says nothing new writes nothing. */
async function changed(ctx: Context, row: EndpointRow, input: PutEndpoint): Promise<Endpoint> {
  const again = row.status === 'disabled' ? { status: 'active' } : {}
  const wanted = Object.entries(defined({ ...again, ...input }))
  const shown: Record<string, unknown> = view(row)
  const isNew = wanted.some(([name, value]) => JSON.stringify(shown[name]) !== JSON.stringify(value))
  return isNew ? updateEndpoint(ctx, row.id, Object.fromEntries(wanted)) : view(row)
}

/** The endpoint of that uid; 404 where there is none. */
export async function getEndpointByUid(ctx: Context, uid: string): Promise<Endpoint> {
  const row = await rowOf(ctx, uid)
  if (!row) throw problem.notFound('endpoint', uid)
  return view(row)
}

/** Deletes the endpoint of that uid, and answers with it as it was; 404 where there is none. */
export async function deleteEndpointByUid(ctx: Context, uid: string): Promise<Endpoint> {
  const row = await rowOf(ctx, uid)
  if (!row) throw problem.notFound('endpoint', uid)
  return deleteEndpoint(ctx, row.id, view(row))
}

async function rowOf(ctx: Context, uid: string): Promise<EndpointRow | undefined> {
  const rows = await ctx.db
    .select()
    .from(endpoints)
    .where(
      and(
        eq(endpoints.tenant_id, ctx.tenant.id),
        eq(endpoints.uid, uid),
        isNotNull(endpoints.uid),
        isNull(endpoints.application_id),
      ),
    )
    .limit(1)
  return rows[0]
}

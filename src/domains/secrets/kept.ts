import { and, eq, sql } from 'drizzle-orm'
import type { Change } from '../../data/commit'
import type { Context } from '../../data/context'
import { iso, newId } from '../../lib/ids'
import { problem } from '../../lib/problem'
import type { PutSecret } from './schema'
import { rowOf, sealed } from './service'
import { secrets } from './table'

// Secrets that something else of the tenant keeps, in the batch of its own change; they count toward no limit.

type Part = Pick<Change<unknown>, 'statements' | 'unique'>

const RACED = problem('conflict', 'The secret was set meanwhile')

/** What sets a secret, whether there is one of that name or not. */
export async function secretKept(ctx: Context, name: string, input: PutSecret): Promise<Part> {
  const row = await rowOf(ctx, name)
  const id = row?.id ?? newId(ctx.now)
  const set = { ...(await sealed(ctx, id, input)), updated_at: iso(ctx.now) }
  if (!row) {
    const created = { tenant_id: ctx.tenant.id, id, name, ...set, version: 1, created_at: iso(ctx.now) }
    return { statements: [ctx.db.insert(secrets).values(created)], unique: { 'secrets.name': RACED } }
  }
  const same = and(eq(secrets.tenant_id, ctx.tenant.id), eq(secrets.id, id), eq(secrets.version, row.version))
  const statement = ctx.db
    .update(secrets)
    .set({ ...set, version: sql`version + 1` })
    .where(same)
  return { statements: [{ statement, otherwise: RACED }] }
}

/** What deletes one; harmless where there is none. Not async: it goes into a batch. */
export const secretDropped = (ctx: Context, name: string) =>
  ctx.db.delete(secrets).where(and(eq(secrets.tenant_id, ctx.tenant.id), eq(secrets.name, name)))

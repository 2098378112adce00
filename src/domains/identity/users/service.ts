import { and, eq } from 'drizzle-orm'
import { actingUser, type Context } from '../../../data/context'
import { revise } from '../../../data/revise'
import { defined } from '../../../lib/defined'
import { problem } from '../../../lib/problem'
import type { UpdateMe } from './schema'
import { type UserRow, users } from './table'

type Me = UserRow & { principal: { kind: 'user' | 'api_key'; id: string; name: string; scopes: string[] } }

/** The user behind the credential, and the credential. */
export async function me(ctx: Context): Promise<Me> {
  const userId = actingUser(ctx)
  const row = userId === null ? undefined : await ctx.db.select().from(users).where(own(ctx, userId)).get()
  if (!row) throw problem('user_required', 'This credential stands for no user')
  return { ...row, principal: describe(ctx, row) }
}

/** Changes the caller's own profile. */
export async function updateMe(ctx: Context, input: UpdateMe): Promise<Me> {
  // A key has scopes, and none of them is its maker's own profile.
  if (ctx.principal.kind !== 'user') throw problem('user_required', 'A profile is changed by its user')
  const userId = ctx.principal.id
  const show = (row: UserRow): Me => ({ ...row, principal: describe(ctx, row) })
  const decide = () => ({
    set: defined(input),
    audit: {
      action: 'user.update',
      resource: 'user',
      resource_id: userId,
      after: { fields: Object.keys(input) },
    },
  })
  return show(await revise(ctx, users, 'user', userId, decide, show))
}

const own = (ctx: Context, id: string) => and(eq(users.tenant_id, ctx.tenant.id), eq(users.id, id))

function describe(ctx: Context, row: UserRow): Me['principal'] {
  const { principal } = ctx
  const scopes = [...principal.scopes]
  if (principal.kind === 'api_key') return { kind: 'api_key', id: principal.id, name: principal.name, scopes }
  return { kind: 'user', id: row.id, name: row.full_name ?? row.email, scopes }
}

import { and, eq, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { actingUser } from '../../../data/context'
import { onDeparture } from '../../../data/departures'
import { bareTenant, systemContext } from '../../../data/system'
import type { Bindings } from '../../../env'
import { randomBytes } from '../../../lib/crypto'
import { hex } from '../../../lib/encoding'
import { problem } from '../../../lib/problem'
import { isUser } from '../../identity/users/exists'
import { channelKind } from '../../realtime/channels'
import { inboxOf } from './list'
import { chatReads, inboxListeners } from './table'

// `inbox:{user_id}`: which chats changed, and what is unread in them. One’s own, or anybody’s with `chats:admin`.

const isOwn = (ctx: Context, userId: string) => ctx.impersonator === null && actingUser(ctx) === userId

/** Whether it is a user of the tenant. */
async function isThere(ctx: Context, userId: string): Promise<boolean> {
  const [row] = await ctx.db.all<{ there: number }>(sql`select ${isUser(ctx, userId)} as there`)
  return row?.there === 1
}

channelKind({
  name: 'inbox',
  scope: 'chats:read',
  scopeFor: (ctx, userId) => (isOwn(ctx, userId) ? 'chats:read' : 'chats:admin'),
  greet: async (ctx, userId) => {
    if (!isOwn(ctx, userId) && !(await isThere(ctx, userId)))
      throw problem.notFound('channel', `inbox:${userId}`)
    const { chats } = await inboxOf(ctx, userId)
    return { type: 'inbox', data: { chats, removed: [] } }
  },
  wake: (env, tenantId, userId) => listens(env, tenantId, userId),
})

/** Notes that somebody listens to a user’s inbox from now on. */
async function listens(env: Bindings, tenantId: string, userId: string): Promise<void> {
  const ctx = systemContext(env, bareTenant(tenantId), 'inbox', (work) => void work)
  const row = { tenant_id: tenantId, user_id: userId, since: hex(randomBytes(8)) }
  const target = [inboxListeners.tenant_id, inboxListeners.user_id]
  const statement = ctx.db
    .insert(inboxListeners)
    .values(row)
    .onConflictDoUpdate({ target, set: { since: row.since } })
  await commit(ctx, { statements: [statement], result: undefined })
}

onDeparture((ctx, departed) => {
  if (departed.kind !== 'user') return {}
  const { id } = departed
  const tenant = ctx.tenant.id
  return {
    statements: [
      ctx.db.delete(chatReads).where(and(eq(chatReads.tenant_id, tenant), eq(chatReads.user_id, id))),
      ctx.db
        .delete(inboxListeners)
        .where(and(eq(inboxListeners.tenant_id, tenant), eq(inboxListeners.user_id, id))),
    ],
  }
})

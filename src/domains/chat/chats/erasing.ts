import { and, asc, eq, gt } from 'drizzle-orm'
import { erasedWithTenant } from '../../../data/erasure'
import { tell } from '../room/client'
import { chats } from './table'

// A chat that is deleted takes its object's storage along, so those that are listed are all that there are.

erasedWithTenant({
  name: 'chat_objects',
  keys: async (ctx, after, limit) => {
    const rows = await ctx.db
      .select({ id: chats.id })
      .from(chats)
      .where(and(eq(chats.tenant_id, ctx.tenant.id), gt(chats.id, after)))
      .orderBy(asc(chats.id))
      .limit(limit)
    return rows.map(({ id }) => id)
  },
  erase: (env, tenant_id, chat_id) => tell(env, { tenant_id, chat_id }, 'erase'),
})

import { and, eq, gt } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { log } from '../../../lib/log'
import { tell } from '../room/client'
import { chats } from './table'

/** A chat that asked its agent within this time may go by what it knew of it then, with a margin for the index. */
const KNOWN_MS = 70_000
/** Chats told before the answer; a busier agent’s others go by what they know for the rest of their minute. */
const MOST_TOLD = 200

/**
 * Makes the chats that asked this agent lately look at it again, so that a change holds with the next message. Never
 * fails: whom it does not reach looks again within a minute anyway.
 */
export async function tellChatsOf(ctx: Context, agentId: string): Promise<void> {
  try {
    const lately = await ctx.db
      .select({ id: chats.id })
      .from(chats)
      .where(
        and(
          eq(chats.tenant_id, ctx.tenant.id),
          eq(chats.agent_id, agentId),
          gt(chats.last_activity_at, iso(ctx.now - KNOWN_MS)),
        ),
      )
      .limit(MOST_TOLD)
    await Promise.all(
      lately.map(({ id }) => tell(ctx.env, { tenant_id: ctx.tenant.id, chat_id: id }, 'forget')),
    )
  } catch (error) {
    log.warn('chats_not_told', { agent_id: agentId, cause: String(error) })
  }
}

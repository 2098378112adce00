import { and, eq, inArray, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { onDeparture } from '../../../data/departures'
import { withinLimit } from '../../../data/metrics'
import { meterOf } from '../../../data/objects'
import { log } from '../../../lib/log'
import { parseObjectName } from '../../realtime/channels'
import { scopesOf } from '../../tenancy/scopes'
import { chats } from '../chats/table'
import { tell } from '../room/client'
import { chatShares } from './table'

// Who lost a share is told nothing more: rights are looked up before anything is sent. What is here ends connections
// that nothing would be sent to for a while.

/** Objects asked at once. */
const AT_ONCE = 25
/** Objects asked because of one change: an invocation has a thousand calls. Beyond, a connection ends with what would come next. */
const MOST_ROOMS = 500
/** How long a removal waits for who is connected. */
const PATIENCE_MS = 2_000
/** Chats named in one query. */
const SLICE = 1_000

/** Has the chats’ objects look at the rights of their readers now. Never fails. */
export async function recheck(ctx: Context, chatIds: readonly string[]): Promise<void> {
  const tenant_id = ctx.tenant.id
  for (let at = 0; at < chatIds.length; at += AT_ONCE)
    await Promise.all(
      chatIds.slice(at, at + AT_ONCE).map(async (chat_id) => {
        try {
          await tell(ctx.env, { tenant_id, chat_id }, 'recheck')
        } catch (error) {
          log.warn('rights_not_rechecked', { chat_id, cause: String(error) })
        }
      }),
    )
}

/** The chats that have somebody connected: the tenant’s Meter knows which. None while it does not answer: never fails. */
async function watched(ctx: Context): Promise<string[]> {
  try {
    const meter = await meterOf(ctx.env, ctx.tenant.id)
    const holders = await withinLimit(Promise.resolve(meter.streamHolders()), PATIENCE_MS)
    return holders.flatMap((name) => (parseObjectName(name) ? [] : (name.split('/')[1] ?? '')))
  } catch (error) {
    // Whoever removes somebody must not be kept from it.
    log.warn('readers_not_known', { tenant_id: ctx.tenant.id, cause: String(error) })
    return []
  }
}

/** Those that a user may be connected to: their own, any that is shared, and all of them where the role may enter all. */
async function watchedBy(ctx: Context, userId: string, role: string): Promise<string[]> {
  const open = await watched(ctx)
  if (scopesOf(role).includes('chats:admin')) return open.slice(0, MOST_ROOMS)
  const found: string[] = []
  for (let at = 0; at < open.length && found.length < MOST_ROOMS; at += SLICE) {
    const some = JSON.stringify(open.slice(at, at + SLICE))
    const shares = and(eq(chatShares.tenant_id, ctx.tenant.id), eq(chatShares.chat_id, chats.id))
    const rows = await ctx.db
      // The version is in no index, so the chats are found by their ids: one that had all would be read whole.
      .select({ id: chats.id, version: chats.version })
      .from(chats)
      .where(
        and(
          eq(chats.tenant_id, ctx.tenant.id),
          inArray(chats.id, sql`(select value from json_each(${some}))`),
          sql`(${chats.user_id} = ${userId} or exists (select 1 from ${chatShares} where ${shares}))`,
        ),
      )
    found.push(...rows.map(({ id }) => id))
  }
  return found.slice(0, MOST_ROOMS)
}

/** Those that are shared with a team. */
async function watchedWith(ctx: Context, teamId: string): Promise<string[]> {
  const open = await watched(ctx)
  const found: string[] = []
  for (let at = 0; at < open.length && found.length < MOST_ROOMS; at += SLICE) {
    const some = JSON.stringify(open.slice(at, at + SLICE))
    const rows = await ctx.db
      .select({ chat_id: chatShares.chat_id })
      .from(chatShares)
      .where(
        and(
          eq(chatShares.tenant_id, ctx.tenant.id),
          eq(chatShares.subject, `team:${teamId}`),
          inArray(chatShares.chat_id, sql`(select value from json_each(${some}))`),
        ),
      )
    found.push(...rows.map(({ chat_id }) => chat_id))
  }
  return found.slice(0, MOST_ROOMS)
}

const sharedWith = (ctx: Context, subject: string) =>
  ctx.db
    .delete(chatShares)
    .where(and(eq(chatShares.tenant_id, ctx.tenant.id), eq(chatShares.subject, subject)))

onDeparture(async (ctx, departed) => {
  switch (departed.kind) {
    case 'rights':
      return { afterwards: async () => recheck(ctx, await watchedBy(ctx, departed.id, departed.role)) }
    case 'user': {
      const watched = await watchedBy(ctx, departed.id, departed.role)
      return {
        statements: [sharedWith(ctx, `user:${departed.id}`)],
        afterwards: () => recheck(ctx, watched),
      }
    }
    case 'member':
      return { afterwards: async () => recheck(ctx, await watchedWith(ctx, departed.team_id)) }
    case 'team': {
      // Afterwards nobody knows any more what was shared with it.
      const watched = await watchedWith(ctx, departed.id)
      return {
        statements: [sharedWith(ctx, `team:${departed.id}`)],
        afterwards: () => recheck(ctx, watched),
      }
    }
  }
})

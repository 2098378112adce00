import { and, eq, inArray, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { describeError, log } from '../../../lib/log'
import { publish } from '../../realtime/channels'
import { chats } from '../chats/table'
import { shown } from './list'
import type { InboxChat } from './schema'
import { chatReads, inboxListeners } from './table'

// `inbox:{user_id}` is told of every change of a chat that is the user’s, or shared with the user by name: by the chat’s
// object when D1 has the change, and by the verbs that change a chat’s row.

/** What the object of a chat knows of a user’s reading. */
type Read = { user_id: string; seq: number; read_count: number; at: number }

/** The statement that keeps how far users have read; nothing for a chat that is no more. Not async: see `commit`. */
export function keepReads(ctx: Context, chatId: string, reads: readonly Read[]) {
  const rows = JSON.stringify(reads.map((read) => ({ ...read, at: iso(read.at) })))
  return ctx.db
    .insert(chatReads)
    .select(
      sql`select c.tenant_id, c.id, r.value ->> 'user_id', r.value ->> 'seq', r.value ->> 'read_count', r.value ->> 'at'
        from ${chats} as c cross join json_each(${rows}) as r
        where c.tenant_id = ${ctx.tenant.id} and c.id = ${chatId}`,
    )
    .onConflictDoUpdate({
      target: [chatReads.tenant_id, chatReads.chat_id, chatReads.user_id],
      set: {
        seq: sql`excluded.seq`,
        read_count: sql`excluded.read_count`,
        read_at: sql`excluded.read_at`,
      },
      setWhere: sql`excluded.seq > ${chatReads.seq}`,
    })
}

/** Somebody who listens to an inbox, with the chat as it shows there. */
export type Heard = InboxChat & { listener: string; since: string }

/** The chat for everyone who listens and whose it is, or with whom it is shared by name. Not async: see `commit`. */
export function heardOf(ctx: Context, chatId: string) {
  const tenant = ctx.tenant.id
  const theirs = sql`(select user_id from chats where tenant_id = ${tenant} and id = ${chatId}
    union all select substr(subject, 6) from chat_shares where tenant_id = ${tenant} and chat_id = ${chatId}
      and subject glob 'user:*' and (expires_at is null or expires_at > ${iso(ctx.now)}))`
  return ctx.db
    .select({
      ...shown,
      listener: sql<string>`${inboxListeners.user_id}`.as('listener'),
      since: inboxListeners.since,
    })
    .from(inboxListeners)
    .innerJoin(chats, and(eq(chats.tenant_id, tenant), eq(chats.id, chatId)))
    .leftJoin(
      chatReads,
      and(
        eq(chatReads.tenant_id, tenant),
        eq(chatReads.chat_id, chats.id),
        eq(chatReads.user_id, inboxListeners.user_id),
      ),
    )
    .where(and(eq(inboxListeners.tenant_id, tenant), inArray(inboxListeners.user_id, theirs)))
}

/** Says to who listens how a chat stands; never fails. */
export async function sayInbox(ctx: Context, heard: readonly Heard[]): Promise<void> {
  await Promise.all(
    heard.map(({ listener, since, ...chat }) => say(ctx, listener, since, { chats: [chat], removed: [] })),
  )
}

async function say(ctx: Context, userId: string, since: string, data: object): Promise<void> {
  const said = [{ type: 'inbox', data }]
  try {
    if (await publish(ctx.env, ctx.tenant.id, `inbox:${userId}`, said)) return
    const row = and(eq(inboxListeners.tenant_id, ctx.tenant.id), eq(inboxListeners.user_id, userId))
    const gone = ctx.db.delete(inboxListeners).where(and(row, eq(inboxListeners.since, since)))
    await commit(ctx, { statements: [gone], result: undefined })
  } catch (error) {
    log.warn('inbox_not_told', {
      tenant_id: ctx.tenant.id,
      user_id: userId,
      cause: describeError(error),
    })
  }
}

/** Says how a chat’s row stands now to everyone’s inbox that it is in, after the answer; never fails. */
export function tellInboxes(ctx: Context, chatId: string): void {
  ctx.defer(
    (async () => {
      await sayInbox(ctx, await heardOf(ctx, chatId))
    })(),
  )
}

/** Says to users who listen that a chat is theirs no more, after the answer; never fails. */
export function removeFromInboxes(ctx: Context, chatId: string, userIds: readonly string[]): void {
  ctx.defer(
    (async () => {
      const users = sql`(select value from json_each(${JSON.stringify(userIds)}))`
      const listeners = await ctx.db
        .select()
        .from(inboxListeners)
        .where(and(eq(inboxListeners.tenant_id, ctx.tenant.id), inArray(inboxListeners.user_id, users)))
      await Promise.all(
        listeners.map(({ user_id, since }) => say(ctx, user_id, since, { chats: [], removed: [chatId] })),
      )
    })(),
  )
}

/** The statement that forgets who has read a chat that is deleted. */
export const withoutReads = (ctx: Context, chatId: string) =>
  ctx.db.delete(chatReads).where(and(eq(chatReads.tenant_id, ctx.tenant.id), eq(chatReads.chat_id, chatId)))

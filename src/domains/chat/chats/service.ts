import { and, desc, eq, lt, or, type SQL, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import { actingUser, type Context } from '../../../data/context'
import { type Page, pageOf } from '../../../data/page'
import { find, removal, revise } from '../../../data/revise'
import { defined } from '../../../lib/defined'
import { iso, newId } from '../../../lib/ids'
import { log } from '../../../lib/log'
import { problem } from '../../../lib/problem'
import { eventOf } from '../../events/catalogue'
import { getAnsweringAgent } from '../agents/service'
import type { ListedMessage } from '../messages/schema'
import { callerOf, mayEnter } from '../room/caller'
import { visit } from '../room/client'
import { resultOf } from '../room/refusal'
import { enter, type Level, withoutShares } from '../shares/standing'
import type { CreateChat, ListFilters, UpdateChat } from './schema'
import { type ChatRow, chats } from './table'

/** Opens a chat of the caller’s with an agent. 422 where there is no such agent, 409 while it is inactive. */
export async function createChat(ctx: Context, input: CreateChat): Promise<ChatRow> {
  const user_id = actingUser(ctx)
  if (user_id === null)
    throw problem('user_required', 'A chat belongs to a user, and this key stands for none')
  const agent = await getAnsweringAgent(ctx, input.agent_id)
  if (!agent) throw problem.invalid({ agent_id: 'must be the id of an agent' })
  if (!agent.is_active) throw problem('agent_inactive', 'The agent is inactive')
  const now = iso(ctx.now)
  const row: ChatRow = {
    tenant_id: ctx.tenant.id,
    id: newId(ctx.now),
    user_id,
    api_key_id: ctx.principal.kind === 'api_key' ? ctx.principal.id : null,
    agent_id: input.agent_id,
    title: input.title ?? null,
    is_archived: false,
    is_pinned: false,
    tags: input.tags,
    metadata: input.metadata,
    message_count: 0,
    last_message_at: null,
    last_activity_at: now,
    last_seq: 0,
    version: 1,
    created_at: now,
    updated_at: now,
  }
  const created = { chat_id: row.id, agent_id: row.agent_id, user_id, title: row.title, created_at: now }
  return commit(ctx, {
    statements: [ctx.db.insert(chats).values(row)],
    result: row,
    events: [{ ...eventOf('chat.created', created), subject: user_id, occurred_at: now }],
  })
}

/** A user’s chats, by their last message or, without one, their making, newest first. */
export async function listChats(
  ctx: Context,
  filters: ListFilters,
): Promise<Page<ChatRow & { messages?: ListedMessage[] }>> {
  const { limit, cursor, include, ...by } = filters
  const owner = by.user_id ?? actingUser(ctx)
  if (owner === null || !mayEnter(callerOf(ctx), owner))
    throw problem('insufficient_scope', 'Another user’s chats need the scope chats:admin', {
      details: { required: ['chats:admin'], missing: 'chats:admin' },
    })
  const list = `chats:${ctx.tenant.id}:${JSON.stringify([owner, by])}`
  const wanted = and(eq(chats.tenant_id, ctx.tenant.id), eq(chats.user_id, owner), ...conditions(by))
  const page = await pageOf(
    list,
    { limit, cursor },
    (after, most) =>
      ctx.db
        .select()
        .from(chats)
        .where(and(wanted, after ? olderThan(String(after.key), after.id) : undefined))
        .orderBy(desc(chats.last_activity_at), desc(chats.id))
        .limit(most),
    (row) => row.last_activity_at,
  )
  if (include === undefined) return page
  return { ...page, items: await Promise.all(page.items.map((row) => withLastExchange(ctx, row))) }
}

function conditions(
  by: Pick<ListFilters, 'include_archived' | 'agent_id' | 'tag' | 'q'>,
): (SQL | undefined)[] {
  const words = (by.q ?? '').split(/\s+/).filter((word) => word !== '')
  return [
    by.include_archived ? undefined : eq(chats.is_archived, false),
    by.agent_id === undefined ? undefined : eq(chats.agent_id, by.agent_id),
    by.tag === undefined
      ? undefined
      : sql`exists (select 1 from json_each(${chats.tags}) where value = ${by.tag})`,
    // Not LIKE: D1 ends its patterns at 50 bytes.
    ...words.map((word) => sql`instr(lower(${chats.title}), lower(${word})) > 0`),
  ]
}

const olderThan = (key: string, id: string) =>
  or(lt(chats.last_activity_at, key), and(eq(chats.last_activity_at, key), lt(chats.id, id)))

async function withLastExchange(
  ctx: Context,
  row: ChatRow,
): Promise<ChatRow & { messages: ListedMessage[] }> {
  if (row.message_count === 0) return { ...row, messages: [] }
  const { room, call } = await visit(ctx, row.id)
  return { ...row, messages: resultOf(await room.lastExchange(call)) }
}

/** One chat with its messages. 404 for who may not read it. The version counts changes of the row and of the log. */
export async function getChat(ctx: Context, id: string) {
  const row = await find(ctx, chats, id)
  if (!row) throw problem.notFound('chat', id)
  await entered(ctx, row)
  const { room, call } = await visit(ctx, id)
  const { title, messages, messages_complete, seq } = resultOf(await room.read(call))
  // The index may be a moment behind with a title that was made.
  return { ...row, title: row.title ?? title, messages, messages_complete, version: `${row.version}.${seq}` }
}

const entered = (ctx: Context, row: ChatRow, required?: Level) => enter(ctx, callerOf(ctx), row, required)

/** 404 or 403 where the caller may not change the chat (any more); one that was deleted is nobody's. */
export async function checkEntry(ctx: Context, id: string): Promise<void> {
  const row = await find(ctx, chats, id)
  if (row) await entered(ctx, row, 'editor')
}

/** Merges the fields that were sent into a chat; where it is in lists is its owner's to say. 404, 403, 412. */
export async function updateChat(ctx: Context, id: string, input: UpdateChat): Promise<ChatRow> {
  let renamed: string | null = null
  const { is_archived, is_pinned } = input
  const required = is_archived === undefined && is_pinned === undefined ? 'editor' : 'owner'
  const row = await revise(ctx, chats, 'chat', id, async (before) => {
    await entered(ctx, before, required)
    renamed = input.title !== undefined && input.title !== before.title ? input.title : null
    return { set: defined(input), ...audited(ctx, before, 'update', Object.keys(input)) }
  })
  if (renamed !== null) await tellTitle(ctx, id, renamed)
  return row
}

/** The row stands; a room that can’t be told now shows the title to its readers no sooner than they ask. */
async function tellTitle(ctx: Context, id: string, title: string): Promise<void> {
  const { room, call } = await visit(ctx, id)
  await Promise.resolve(room.retitle({ tenant_id: call.tenant_id, chat_id: call.chat_id }, title)).catch(
    (error: unknown) => log.warn('chat_not_told', { chat_id: id, cause: String(error) }),
  )
}

/** Deletes a chat with all that its object holds; a run that goes on is stopped. 404, 403, 412. */
export async function deleteChat(ctx: Context, id: string): Promise<undefined> {
  const row = await find(ctx, chats, id)
  if (!row) throw problem.notFound('chat', id)
  await entered(ctx, row, 'owner')
  const { room, call } = await visit(ctx, id)
  const ids = { tenant_id: call.tenant_id, chat_id: call.chat_id }
  // Told before, so that the object looks for itself should this isolate not come to tell it afterwards.
  resultOf(await room.expectRemoval(ids))
  await commit(ctx, {
    statements: [removal(ctx, chats, 'chat', id), withoutShares(ctx, id)],
    result: undefined,
    ...audited(ctx, row, 'delete'),
  })
  resultOf(await room.remove(ids))
}

/** What someone does to another’s chat is audited; what people do to their own is not. */
function audited(ctx: Context, row: ChatRow, verb: string, fields?: string[]) {
  if (row.user_id === actingUser(ctx)) return {}
  const entry = { action: `chat.${verb}`, resource: 'chat', resource_id: row.id }
  return { audit: { ...entry, ...(fields ? { after: { fields } } : {}) } }
}

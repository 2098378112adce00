import { commit } from '../../../data/commit'
import { actingUser, type Context } from '../../../data/context'
import { find, removal, revise } from '../../../data/revise'
import { defined } from '../../../lib/defined'
import { iso, newId } from '../../../lib/ids'
import { log } from '../../../lib/log'
import { problem } from '../../../lib/problem'
import { eventOf } from '../../events/catalogue'
import { getAnsweringAgent, mustAnswer } from '../agents/service'
import { withoutAttachments } from '../attachments/service'
import { removeFromInboxes, tellInboxes, withoutReads } from '../inbox/feed'
import type { ToldInput } from '../room/asked'
import { callerOf } from '../room/caller'
import { ask, tell } from '../room/client'
import { findByTitle } from '../search/feed'
import { enter, type Level, namedIn, withoutShares } from '../shares/standing'
import type { CreateChat, UpdateChat } from './schema'
import { type ChatRow, chats } from './table'

/** Opens a chat of the caller’s with an agent. 422 where there is no such agent, 409 while it is inactive. */
export async function createChat(ctx: Context, input: CreateChat): Promise<ChatRow> {
  const user_id = actingUser(ctx)
  if (user_id === null)
    throw problem('user_required', 'A chat belongs to a user, and this key stands for none')
  const agent = await getAnsweringAgent(ctx, input.agent_id)
  if (!agent) throw problem.invalid({ agent_id: 'must be the id of an agent' })
  mustAnswer(agent)
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
    forked_from: null,
    ratings_up: 0,
    ratings_down: 0,
    message_count: 0,
    last_message_at: null,
    last_activity_at: now,
    last_seq: 0,
    version: 1,
    created_at: now,
    updated_at: now,
  }
  const created = { chat_id: row.id, agent_id: row.agent_id, user_id, title: row.title, created_at: now }
  const made = await commit(ctx, {
    statements: [
      ctx.db.insert(chats).values(row),
      ...(row.title === null ? [] : [findByTitle(ctx, row.id, row.title)]),
    ],
    result: row,
    events: [{ ...eventOf('chat.created', created), subject: user_id, occurred_at: now }],
  })
  tellInboxes(ctx, row.id)
  return made
}

/** One chat with its messages. 404 for who may not read it. The version counts changes of the row and of the log. */
export async function getChat(ctx: Context, id: string) {
  const row = await find(ctx, chats, id)
  if (!row) throw problem.notFound('chat', id)
  await entered(ctx, row)
  const { title, messages, messages_complete, seq } = await ask(ctx, id, 'read')
  // The index may be a moment behind with a title that was made.
  return { ...row, title: row.title ?? title, messages, messages_complete, version: `${row.version}.${seq}` }
}

const entered = (ctx: Context, row: ChatRow, required?: Level) => enter(ctx, callerOf(ctx), row, required)

/** 404 or 403 where the caller may not do that much in the chat (any more); one that was deleted is nobody's. */
export async function checkEntry(ctx: Context, id: string, required: Level = 'editor'): Promise<void> {
  const row = await find(ctx, chats, id)
  if (row) await entered(ctx, row, required)
}

/** For routes below a chat: asked before a stored answer is given again. */
export const stillIn =
  (required: Level) =>
  (ctx: Context, { id = '' }: Record<string, string>): Promise<void> =>
    checkEntry(ctx, id, required)

/** Merges the fields that were sent into a chat; where it is in lists is its owner's to say. 404, 403, 412. */
export async function updateChat(ctx: Context, id: string, input: UpdateChat): Promise<ChatRow> {
  let renamed: string | null = null
  const { is_archived, is_pinned } = input
  const required = is_archived === undefined && is_pinned === undefined ? 'editor' : 'owner'
  const row = await revise(ctx, chats, 'chat', id, async (before) => {
    await entered(ctx, before, required)
    renamed = input.title !== undefined && input.title !== before.title ? input.title : null
    const statements = renamed === null ? [] : [findByTitle(ctx, id, renamed)]
    return { set: defined(input), statements, ...audited(ctx, before, 'update', Object.keys(input)) }
  })
  if (renamed !== null) await tellRoom(ctx, id, 'retitle', renamed)
  else if (is_archived !== undefined) await tellRoom(ctx, id, 'forget')
  tellInboxes(ctx, id)
  return row
}

/** The row stands; a room that can’t be told now knows of it within a minute, or when it is asked. */
async function tellRoom<K extends 'retitle' | 'forget' | 'remove'>(
  ctx: Context,
  id: string,
  word: K,
  ...input: ToldInput<K>
): Promise<void> {
  await tell(ctx.env, { tenant_id: ctx.tenant.id, chat_id: id }, word, ...input).catch((error: unknown) =>
    log.warn('chat_not_told', { chat_id: id, cause: String(error) }),
  )
}

/** Deletes a chat with all that its object holds; a run that goes on is stopped. 404, 403, 412. */
export async function deleteChat(ctx: Context, id: string): Promise<undefined> {
  const row = await find(ctx, chats, id)
  if (!row) throw problem.notFound('chat', id)
  await entered(ctx, row, 'owner')
  const ids = { tenant_id: ctx.tenant.id, chat_id: id }
  // Told before, so that the object looks for itself should this isolate not come to tell it afterwards.
  await tell(ctx.env, ids, 'expectRemoval')
  const people = [row.user_id, ...(await namedIn(ctx, id))]
  await commit(ctx, {
    statements: [
      removal(ctx, chats, 'chat', id),
      withoutShares(ctx, id),
      withoutReads(ctx, id),
      ...withoutAttachments(ctx, id),
    ],
    result: undefined,
    ...audited(ctx, row, 'delete'),
  })
  removeFromInboxes(ctx, id, people)
  await tellRoom(ctx, id, 'remove')
}

/** What someone does to another’s chat is audited; what people do to their own is not. */
function audited(ctx: Context, row: ChatRow, verb: string, fields?: string[]) {
  if (row.user_id === actingUser(ctx)) return {}
  const entry = { action: `chat.${verb}`, resource: 'chat', resource_id: row.id }
  return { audit: { ...entry, ...(fields ? { after: { fields } } : {}) } }
}

import { commit } from '../../../data/commit'
import { actingUser, type Context } from '../../../data/context'
import { find } from '../../../data/revise'
import { iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { getAnsweringAgent, mustAnswer } from '../agents/service'
import { tellInboxes } from '../inbox/feed'
import type { Message } from '../messages/schema'
import { callerOf } from '../room/caller'
import { ask } from '../room/client'
import { enter } from '../shares/standing'
import { takeIn } from '../transfer/taking-in'
import type { ForkChat } from './schema'
import { type ChatRow, chats } from './table'

/** Letters of a title. */
const LONGEST = 200
const MARK = ' (fork)'

/**
 * Opens a chat of the caller’s with a copy of what was said in another up to a message. 404, 422 where there is no such
 * message or agent, 409 while the agent is inactive or the message is written.
 */
export async function forkChat(ctx: Context, chatId: string, input: ForkChat): Promise<ChatRow> {
  const user_id = actingUser(ctx)
  if (user_id === null)
    throw problem('user_required', 'A chat belongs to a user, and this key stands for none')
  const source = await find(ctx, chats, chatId)
  if (!source) throw problem.notFound('chat', chatId)
  await enter(ctx, callerOf(ctx), source)
  const agent_id = await answering(ctx, source, input.agent_id)
  const { message_id } = input
  const messages = copied(await ask(ctx, chatId, 'branchTo', { message_id }), ctx.now)
  const id = newId(ctx.now)
  const kept = { tags: source.tags, metadata: source.metadata, is_archived: false, is_pinned: false }
  const title = input.title ?? (source.title === null ? null : titleOfFork(source.title))
  const created_at = iso(ctx.now)
  const chat = { ...kept, title, created_at, messages, leaf: messages.at(-1)?.id ?? null }
  const api_key_id = ctx.principal.kind === 'api_key' ? ctx.principal.id : null
  const forked_from = { chat_id: chatId, message_id }
  const { row, ...change } = await takeIn(ctx, { id, user_id, api_key_id, agent_id, chat, forked_from })
  const made = await commit(ctx, { ...change, result: row })
  tellInboxes(ctx, id)
  return made
}

/** The agent of the fork: the one that is asked for, or that of the chat. */
async function answering(ctx: Context, source: ChatRow, wanted?: string): Promise<string> {
  const agent = await getAnsweringAgent(ctx, wanted ?? source.agent_id)
  if (!agent && wanted !== undefined) throw problem.invalid({ agent_id: 'must be the id of an agent' })
  if (!agent?.is_active)
    throw problem('agent_inactive', agent ? 'The agent is inactive' : 'The chat’s agent was deleted', {
      details: { agent_id: wanted ?? source.agent_id, instead: 'Send agent_id to go on with another agent' },
    })
  mustAnswer(agent)
  return agent.id
}

/** The messages under ids of their own; a client’s names for them, and what was thought of them, stay where they were. */
function copied(messages: readonly Message[], now: number): Message[] {
  let parent_id: string | null = null
  return messages.map(({ feedback: _, ...message }) => {
    const { client_message_id: _name, ...metadata } = message.metadata
    const copy: Message = { ...message, id: newId(now), parent_id, run_id: null, metadata }
    parent_id = copy.id
    return copy
  })
}

function titleOfFork(title: string): string {
  const letters = [...(title.endsWith(MARK) ? title.slice(0, -MARK.length) : title)]
  return letters.slice(0, LONGEST - MARK.length).join('') + MARK
}

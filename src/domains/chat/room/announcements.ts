import type { NewEvent } from '../../../data/commit'
import { eventOf } from '../../events/catalogue'
import type { Feedback, Message } from '../messages/schema'
import type { RunRow } from './log/conversation'
import { cut, type Finish } from './log/protocol'

/** Text in an event that is announced; an event ends at 256 KB. */
const ANNOUNCED_BYTES = 128 * 1024

type Announcement = Omit<NewEvent, 'id' | 'origin'>

/** `chat.message.created`; `userId` is who wrote it, null for the agent. */
export function messageCreated(chatId: string, message: Message, userId: string | null): Announcement {
  const { id: message_id, run_id, content, timestamp } = message
  const role = message.role === 'user' ? ('user' as const) : ('assistant' as const)
  const data = { chat_id: chatId, message_id, run_id, user_id: userId, role, timestamp }
  const event = eventOf('chat.message.created', { ...data, content: cut(content, ANNOUNCED_BYTES)[0] })
  return { ...event, occurred_at: timestamp, ...(userId === null ? {} : { subject: userId }) }
}

/** `chat.message.rated`: what somebody thinks of an answer, or takes back. */
export function feedbackGiven(
  chatId: string,
  agentId: string,
  message: Message,
  feedback: Feedback,
): Announcement {
  const { id: message_id, run_id } = message
  const { timestamp, ...said } = feedback
  const event = eventOf('chat.message.rated', {
    ...{ chat_id: chatId, agent_id: agentId, message_id, run_id },
    ...{ ...said, timestamp },
  })
  return { ...event, occurred_at: timestamp, ...(said.user_id === null ? {} : { subject: said.user_id }) }
}

/** `chat.run.completed`, or `chat.run.failed` where there is an error. */
export function runEnded(
  chatId: string,
  agentId: string,
  run: RunRow,
  end: { finish: Finish | null; error: RunRow['error'] },
  at: string,
): Announcement {
  const ids = { chat_id: chatId, run_id: run.id, agent_id: agentId, message_id: run.answer_id }
  const { finish, error } = end
  const event = error
    ? eventOf('chat.run.failed', { ...ids, code: error.code, message: error.message })
    : eventOf('chat.run.completed', { ...ids, finish: finish ?? 'stop' })
  return { ...event, occurred_at: at }
}

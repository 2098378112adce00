import { iso, newId } from '../../../lib/ids'
import type { UpstreamMessage } from '../agents/upstreams/upstream'
import type { Message, SendMessage } from '../messages/schema'

/** The conversation that an agent is told, newest messages first: some 250,000 words. */
export const TOLD_CHARS = 1024 * 1024

/** A question as it was sent, and its answer before the first word. */
export function newExchange(
  runId: string,
  parentId: string | null,
  { content, client_message_id }: SendMessage,
  now: number,
): [question: Message, answer: Message] {
  const base = { run_id: runId, attachments: [], timestamp: iso(now) }
  const metadata = client_message_id === undefined ? {} : { client_message_id }
  const id = newId(now)
  return [
    { ...base, id, parent_id: parentId, role: 'user', content, status: 'complete', metadata },
    {
      ...base,
      id: newId(now),
      parent_id: id,
      role: 'assistant',
      content: '',
      status: 'streaming',
      metadata: {},
    },
  ]
}

/** What the agent is told: the conversation so far, as far back as there is room, and the question. */
export function briefing(so_far: Message[], question: string, timestamp: string): UpstreamMessage[] {
  const told: UpstreamMessage[] = [{ role: 'user', content: question, timestamp }]
  let room = TOLD_CHARS - question.length
  for (const message of so_far.toReversed()) {
    room -= message.content.length
    if (room < 0) break
    // An answer that failed before its first word says nothing.
    if (message.content !== '')
      told.unshift({ role: message.role, content: message.content, timestamp: message.timestamp })
  }
  return told
}

import { iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import type { UpstreamMessage } from '../agents/upstreams/upstream'
import type { Exchange, Message, SendMessage } from '../messages/schema'
import type { Caller } from './caller'
import { isLoss } from './rights'
import type { Room } from './room'

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

/** Both messages of a run, once it has ended, for who may still read them; 502 or 504 where the agent failed. */
export async function exchangeOf(room: Room, caller: Caller, runId: string): Promise<Exchange> {
  const { conversation, log } = room
  await room.runs.ended(runId)
  const verdict = await room.rights.settle(caller).catch((cause: unknown) => {
    throw problem('service_unavailable', 'Your right to the answer can’t be looked up; it is kept', {
      cause,
    })
  })
  if (isLoss(verdict))
    throw verdict.code === 4401
      ? problem.unauthorized('token_revoked', 'The credential ended while the answer was written')
      : problem.notFound('chat', room.ids.chat_id)
  const run = conversation.runById(runId)
  const ids = run ? [run.message_id, run.answer_id] : []
  const messages = ids.flatMap((id) => conversation.message(id, log) ?? [])
  if (!run || messages.length < 2) throw problem.notFound('run', runId)
  if (run.error) {
    const late = run.error.code === 'upstream_stalled'
    throw problem(late ? 'upstream_timeout' : 'upstream_failed', run.error.message, {
      details: { reason: run.error.code, run_id: run.id, message_id: run.answer_id },
    })
  }
  return { run_id: run.id, finish: run.finish ?? 'stop', messages, usage: run.usage }
}

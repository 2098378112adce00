import { iso, newId } from '../../../../lib/ids'
import { problem } from '../../../../lib/problem'
import { isLoss } from '../../../realtime/rights'
import type { UpstreamMessage } from '../../agents/upstreams/upstream'
import type { Attachment } from '../../attachments/schema'
import type { Exchange, Message } from '../../messages/schema'
import type { Caller } from '../caller'
import type { Room } from '../room'
import { namedIn, type Ordered, type Place } from './order'

/** The conversation that an agent is told, newest messages first: some 250,000 words. */
export const TOLD_CHARS = 1024 * 1024

/** A question: the one that is there, or the order’s own. */
export function questionOf(
  runId: string,
  place: Place,
  input: Ordered,
  files: ReadonlyMap<string, Attachment>,
  now: number,
): Message {
  if (place.question || input.kind === 'regenerate') return place.question as Message
  const { content, client_message_id } = input
  return {
    id: newId(now),
    parent_id: place.under,
    role: 'user',
    content,
    status: 'complete',
    run_id: runId,
    attachments: place.attachments ?? sentWith(input, files),
    metadata: client_message_id === undefined ? {} : { client_message_id },
    timestamp: iso(now),
  }
}

/** The files that a new message names; 422 naming those that are not the chat’s. */
function sentWith(input: Ordered, files: ReadonlyMap<string, Attachment>): Attachment[] {
  const ids = namedIn(input)
  const found = ids.flatMap((id) => files.get(id) ?? [])
  if (found.length === ids.length) return found
  const wrong = ids.flatMap((id, i) => (files.has(id) ? [] : [`attachments.${i}`]))
  throw problem.invalid(
    Object.fromEntries(wrong.map((path) => [path, 'must be the id of a file that is attached to this chat'])),
  )
}

/** The answer to a question before its first word. */
export const answerTo = (question: Message, runId: string, now: number): Message => ({
  id: newId(now),
  parent_id: question.id,
  role: 'assistant',
  content: '',
  status: 'streaming',
  run_id: runId,
  attachments: [],
  metadata: {},
  timestamp: iso(now),
})

/** What the agent is told: the conversation so far, as far back as there is room, and the question. */
export function briefing(
  so_far: Message[],
  question: Message,
  files: ReadonlyMap<string, Attachment>,
): UpstreamMessage[] {
  const telling = (message: Message): UpstreamMessage => {
    const { role, content, timestamp } = message
    // A file that the chat does not have (any more) is nobody’s to be shown, whatever its history says.
    const attachments = message.attachments.filter(({ id }) => id !== null && files.has(id))
    return { role, content, timestamp, ...(attachments.length > 0 ? { attachments } : {}) }
  }
  const told = [telling(question)]
  let room = TOLD_CHARS - question.content.length
  for (const message of so_far.toReversed()) {
    room -= message.content.length
    if (room < 0) break
    // An answer that failed before its first word says nothing.
    if (message.content !== '') told.unshift(telling(message))
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

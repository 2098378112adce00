import { iso } from '../../../../lib/ids'
import { messageCreated, runEnded } from '../announcements'
import type { RunRow } from '../log/conversation'
import type { RoomEvent } from '../log/protocol'
import { titleOf } from '../log/title'
import type { RunEnd } from './run'
import type { Parts } from './runs'

/** How long the log keeps an answer as it was cut into frames. */
export const DELTAS_KEPT_MS = 24 * 60 * 60 * 1000

/** Writes a run’s end: the title that is still missing, the last entry, and what is announced. */
export function conclude(parts: Parts, chat_id: string, row: RunRow, end: RunEnd): RoomEvent[] {
  const { conversation, log, outbox, store, alarms } = parts
  const now = Date.now()
  const events: RoomEvent[] = []
  if (store.get('title') === null) {
    const asked = conversation.firstQuestion(log)?.content ?? ''
    events.push(...log.append(now, 'title', { title: titleOf(asked) }))
  }
  const message_id = row.answer_id
  if (end.kind === 'done') {
    const { finish, usage } = end
    const sources = conversation.sourcesOf(message_id)
    const told = sources.length > 0 ? { sources } : {}
    const data = { message: 'Stream completed', message_id, run_id: row.id, finish, usage, ...told }
    events.push(...log.append(now, 'done', data))
  } else {
    const { message, code, retryable } = end
    events.push(...log.append(now, 'error', { message, code, retryable, message_id }))
  }
  const error =
    end.kind === 'error' ? { code: end.code, message: end.message, retryable: end.retryable } : null
  const finish = end.kind === 'done' ? end.finish : null
  conversation.ended(row.id, { finish, error, usage: end.usage }, log.head, now)
  store.set('last_message_at', iso(now))
  const answer = conversation.message(message_id, log)
  if (answer && answer.content !== '') outbox.add(now, messageCreated(chat_id, answer, null))
  outbox.add(now, runEnded(chat_id, store.get('agent_id') ?? '', row, { finish, error }, iso(now)))
  alarms.atLatest('compact', now + DELTAS_KEPT_MS)
  return events
}

/** The end of a run that was going on when the object was cut off. */
export const cutOff = (row: RunRow, now: number): RunEnd => ({
  kind: 'error',
  code: 'interrupted',
  message: 'The answer was cut off when the service restarted; its text so far is kept',
  retryable: true,
  usage: {
    prompt_tokens: null,
    completion_tokens: null,
    time_to_first_token_ms: null,
    duration_ms: now - row.started_at,
  },
})

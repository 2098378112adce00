import type { Bindings } from '../../../env'
import { settingsOf } from '../../../env'
import { iso, newId } from '../../../lib/ids'
import { log as logger } from '../../../lib/log'
import { problem } from '../../../lib/problem'
import type { AnsweringAgent, Upstream } from '../agents/upstreams/upstream'
import type { ChatRow } from '../chats/table'
import type { SendMessage, Stopped } from '../messages/schema'
import type { Alarms } from './alarms'
import { messageCreated, runEnded } from './announcements'
import type { Audience } from './audience'
import type { Caller } from './caller'
import type { Conversation, RunRow } from './conversation'
import { briefing, newExchange, TOLD_CHARS } from './exchange'
import type { ChatLog } from './log'
import type { Outbox } from './outbox'
import type { RoomEvent } from './protocol'
import { REFRESH_MS } from './rights'
import { Run, type RunEnd, type RunSink, type Timings } from './run'
import type { Store } from './store'
import { titleOf } from './title'

/** While a run goes on the object is woken this often, which keeps it in memory and finds it gone after a crash. */
export const KEEP_ALIVE_MS = 30_000
/** How long the log keeps an answer as it was cut into frames. */
export const DELTAS_KEPT_MS = 24 * 60 * 60 * 1000

export type Parts = {
  store: Store
  log: ChatLog
  conversation: Conversation
  audience: Audience
  outbox: Outbox
  alarms: Alarms
}

export type Sending = {
  caller: Caller
  traceparent: string
  input: SendMessage
  chat: ChatRow
  agent: AnsweringAgent
  upstream: Upstream
}

type Current = {
  run: Run
  row: RunRow
  ended: Promise<void>
  end: () => void
  refresh: ReturnType<typeof setInterval>
}

/** The chat’s runs: at most one goes on, and it goes on whoever listens. */
export class Runs {
  private current: Current | null = null

  constructor(
    private readonly parts: Parts,
    private readonly env: Bindings,
    private readonly ids: { tenant_id: string; chat_id: string },
    private readonly timings: Timings,
  ) {}

  get going(): RunRow | null {
    return this.current?.row ?? null
  }

  /** Resolves when the run has ended; at once for one that has. */
  async ended(runId: string): Promise<void> {
    if (this.current?.row.id === runId) await this.current.ended
  }

  /** The run that this message began when it was sent before; 422 where it said something else then. */
  earlier(caller: Caller, input: SendMessage): RunRow | null {
    if (input.client_message_id === undefined) return null
    const row = this.parts.conversation.runOf(senderOf(caller), input.client_message_id)
    if (!row) return null
    const sent = this.parts.conversation.message(row.message_id, this.parts.log)
    if (sent?.content !== input.content)
      throw problem('idempotency_key_reused', 'This client_message_id or key stands for another message')
    return row
  }

  /** Takes a message and begins its answer: both are in the log when this returns. 409 while another run goes on. */
  begin({ caller, traceparent, input, chat, agent, upstream }: Sending): RunRow {
    if (this.current)
      throw problem('run_in_progress', 'The chat is answering another message', {
        details: { run_id: this.current.row.id },
      })
    const now = Date.now()
    const { store, conversation, audience, log, outbox, alarms } = this.parts
    if (!store.exists) {
      log.begin()
      if (chat.title !== null) store.set('title', chat.title)
    }
    if (store.get('agent_id') === null) store.set('agent_id', chat.agent_id)
    const messages = briefing(conversation.branch(log, undefined, TOLD_CHARS), input.content, iso(now))
    const { created, row } = store.atomically(() => this.record(caller, input, now))
    const { promise: ended, resolve: end } = Promise.withResolvers<void>()
    const run = new Run(row.id, this.sink(row.id), this.timings)
    const refresh = setInterval(() => void audience.refresh().catch(() => {}), REFRESH_MS)
    this.current = { run, row, ended, end, refresh }
    alarms.set('run', now + KEEP_ALIVE_MS)
    audience.publish(created)
    const request = { ...this.ids, run_id: row.id, messages, traceparent, signal: run.signal }
    void run
      .pump(() => upstream(agent, request, settingsOf(this.env)))
      .catch((error: unknown) => logger.error('run_lost', { run_id: row.id, cause: String(error) }))
    outbox.soon()
    return row
  }

  private record(caller: Caller, input: SendMessage, now: number): { created: RoomEvent[]; row: RunRow } {
    const { conversation, log, outbox, store } = this.parts
    const runId = newId(now)
    const [question, answer] = newExchange(runId, conversation.leaf, input, now)
    const ids = { id: runId, message_id: question.id, answer_id: answer.id }
    conversation.begin(
      { ...ids, sent_by: senderOf(caller), client_message_id: input.client_message_id ?? null },
      now,
    )
    const created = log.append(now, 'message.created', question, answer)
    conversation.placed(runId, log.head)
    store.set('last_message_at', iso(now))
    outbox.add(now, messageCreated(this.ids.chat_id, question, caller.user_id))
    return { created, row: conversation.runById(runId) as RunRow }
  }

  private sink(runId: string): RunSink {
    const { log, audience, store } = this.parts
    return {
      status: (data) => audience.publish(store.atomically(() => log.append(Date.now(), 'status', data))),
      text: (content) => {
        const { event, full } = log.delta(content)
        audience.publish([event])
        return full
      },
      flush: () => log.flush(Date.now()),
      end: (end) => this.finish(runId, end),
    }
  }

  private finish(runId: string, end: RunEnd): void {
    const { current, parts } = this
    if (current?.row.id !== runId) return
    this.current = null
    clearInterval(current.refresh)
    try {
      const events = parts.store.atomically(() => this.conclude(current.row, end))
      parts.alarms.clear('run')
      parts.audience.publish(events)
    } finally {
      current.end()
    }
    void parts.outbox.deliver()
  }

  /** Writes a run’s end: the title that is still missing, the last entry, and what is announced. */
  private conclude(row: RunRow, end: RunEnd): RoomEvent[] {
    const { conversation, log, outbox, store, alarms } = this.parts
    const now = Date.now()
    const events: RoomEvent[] = []
    if (store.get('title') === null) {
      const asked = conversation.branch(log).find(({ role }) => role === 'user')?.content ?? ''
      events.push(...log.append(now, 'title', { title: titleOf(asked) }))
    }
    const message_id = row.answer_id
    if (end.kind === 'done') {
      const { finish, usage } = end
      const data = { message: 'Stream completed', message_id, run_id: row.id, finish, usage }
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
    const { chat_id } = this.ids
    if (answer && answer.content !== '') outbox.add(now, messageCreated(chat_id, answer, null))
    outbox.add(now, runEnded(chat_id, store.get('agent_id') ?? '', row, { finish, error }, iso(now)))
    alarms.atLatest('compact', now + DELTAS_KEPT_MS)
    return events
  }

  /** Stops the run that goes on, if it is the one that is meant; the text so far is kept before this returns. */
  stop(runId?: string): Stopped {
    const current = this.current
    if (!current || (runId !== undefined && current.row.id !== runId))
      return { stopped: false, run_id: runId ?? null, message_id: null }
    current.run.stop()
    return { stopped: true, run_id: current.row.id, message_id: current.row.answer_id }
  }

  /**
   * Ends the run that was going on when the object was cut off, with the text that was written. What was sent beyond
   * that is lost, so a new epoch begins.
   */
  interrupt(): boolean {
    const row = this.parts.conversation.unfinished()
    if (!row) return false
    const usage = {
      prompt_tokens: null,
      completion_tokens: null,
      time_to_first_token_ms: null,
      duration_ms: Date.now() - row.started_at,
    }
    const message = 'The answer was cut off when the service restarted; its text so far is kept'
    this.parts.store.atomically(() => {
      this.parts.log.beginEpoch()
      this.conclude(row, { kind: 'error', code: 'interrupted', message, retryable: true, usage })
    })
    this.parts.alarms.clear('run')
    return true
  }

  /** The alarm’s look at the run: goes on being woken while there is one. */
  keepAlive(): void {
    if (this.current) this.parts.alarms.set('run', Date.now() + KEEP_ALIVE_MS)
    else this.parts.alarms.clear('run')
  }

  /** Joins what is older than a day, and is woken for what will be. */
  compact(): void {
    const { conversation, log, alarms } = this.parts
    const next = conversation.compact(log, Date.now() - DELTAS_KEPT_MS)
    if (next === null) alarms.clear('compact')
    else alarms.set('compact', next + DELTAS_KEPT_MS)
  }
}

/** Whom a client’s own message id is unique to. */
const senderOf = (caller: Caller): string => caller.user_id ?? caller.key

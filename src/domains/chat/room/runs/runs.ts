import type { Bindings } from '../../../../env'
import { settingsOf } from '../../../../env'
import { iso, newId } from '../../../../lib/ids'
import { log as logger } from '../../../../lib/log'
import { problem } from '../../../../lib/problem'
import { REFRESH_MS } from '../../../realtime/rights'
import type { AnsweringAgent, Upstream } from '../../agents/upstreams/upstream'
import type { Attachment } from '../../attachments/schema'
import type { ChatRow } from '../../chats/table'
import type { Message, Stopped } from '../../messages/schema'
import type { Alarms } from '../alarms'
import { messageCreated } from '../announcements'
import type { Caller } from '../caller'
import type { Conversation, RunRow } from '../log/conversation'
import type { ChatLog } from '../log/log'
import type { RoomEvent } from '../log/protocol'
import type { Outbox } from '../outbox'
import type { Audience } from '../readers/audience'
import type { Store } from '../store'
import { Callbacks } from './callbacks'
import { answerTo, briefing, questionOf, TOLD_CHARS } from './exchange'
import { isRepeat, type Order, type Ordered, placeOf, targetOf } from './order'
import { type Past, Run, type RunEnd, type Timings } from './run'
import { conclude, cutOff, DELTAS_KEPT_MS } from './run-end'
import { billedTo } from './run-meter'
import { sinkOf } from './run-sink'

/** While a run goes on the object is woken this often, which keeps it in memory and finds it gone after a crash. */
export const KEEP_ALIVE_MS = 30_000
export type Parts = {
  store: Store
  log: ChatLog
  conversation: Conversation
  audience: Audience
  outbox: Outbox
  alarms: Alarms
}

export type Sending = Order & {
  /** The chat’s files that the message, or one before it, names. */
  files: ReadonlyMap<string, Attachment>
  chat: ChatRow
  agent: AnsweringAgent
  upstream: Upstream
}

type Current = {
  run: Run
  row: RunRow
  ended: Promise<void>
  end: () => void
  refresh: ReturnType<typeof setInterval> | undefined
}

/** The chat’s runs: at most one goes on, and it goes on whoever listens. */
export class Runs {
  private current: Current | null = null
  readonly callbacks: Callbacks

  constructor(
    private readonly parts: Parts,
    private readonly env: Bindings,
    private readonly ids: { tenant_id: string; chat_id: string },
    private readonly timings: Timings,
  ) {
    const silence = () => settingsOf(env).CALLBACK_SILENCE_MINUTES
    this.callbacks = new Callbacks(parts.store, parts.alarms, silence)
  }

  get going(): RunRow | null {
    return this.current?.row ?? null
  }

  /** Resolves when the run has ended; at once for one that has. */
  async ended(runId: string): Promise<void> {
    if (this.current?.row.id === runId) await this.current.ended
  }

  /** The run that this message began when it was sent before; 422 where it said something else then. */
  earlier(caller: Caller, input: Ordered): RunRow | null {
    if (input.client_message_id === undefined) return null
    const row = this.parts.conversation.runOf(senderOf(caller), input.client_message_id)
    if (!row) return null
    const sent = this.parts.conversation.message(row.message_id, this.parts.log)
    if (!isRepeat(row, sent, input))
      throw problem('idempotency_key_reused', 'This client_message_id or key stands for another message')
    return row
  }

  /** Takes a message and begins its answer: both are in the log when this returns. 409 while another run goes on. */
  begin({ caller, traceparent, input, files, chat, agent, upstream }: Sending): RunRow {
    if (this.current)
      throw problem('run_in_progress', 'The chat is answering another message', {
        details: { run_id: this.current.row.id },
      })
    const now = Date.now()
    const { store, conversation, audience, log, outbox, alarms } = this.parts
    const place = placeOf(this.parts, input)
    log.begin()
    // It may have been given before there was anything to keep it in.
    if (chat.title !== null && store.get('title') === null) store.set('title', chat.title)
    if (store.get('agent_id') === null) store.set('agent_id', chat.agent_id)
    const runId = newId(now)
    const question = questionOf(runId, place, input, files, now)
    const messages = briefing(conversation.branch(log, undefined, TOLD_CHARS, place.under), question, files)
    const { created, row } = store.atomically(() => this.record(runId, caller, input, question, now))
    const run = this.take(row)
    alarms.set('run', now + KEEP_ALIVE_MS)
    audience.publish(created)
    const request = { ...this.ids, run_id: row.id, messages, traceparent, signal: run.signal, callback: run }
    void run
      .pump(() => upstream(agent, request, settingsOf(this.env), this.env))
      .catch((error: unknown) => logger.error('run_lost', { run_id: row.id, cause: String(error) }))
    outbox.soon()
    return row
  }

  /** Makes `row` the run that goes on; one with a past does so by callback, and need not be kept in memory. */
  private take(row: RunRow, past: Past | null = null): Run {
    const { promise: ended, resolve: end } = Promise.withResolvers<void>()
    const sink = sinkOf(this.parts, row.answer_id, {
      handedOver: () => this.handedOver(row.id),
      end: (how) => this.finish(row.id, how),
    })
    const run = new Run(row.id, sink, this.timings, past)
    const again = () => void this.parts.audience.refresh().catch(() => {})
    this.current = { run, row, ended, end, refresh: past ? undefined : setInterval(again, REFRESH_MS) }
    return run
  }

  /** The run, if it goes on and its agent answers by callback, or may still do so. */
  byCallback(runId: string): Run | null {
    const run = this.current?.row.id === runId ? this.current.run : null
    return run?.handOver() ? run : null
  }

  /** Writes what a run begins with: its question, where that is new, and its answer. */
  private record(
    runId: string,
    caller: Caller,
    input: Ordered,
    question: Message,
    now: number,
  ): { created: RoomEvent[]; row: RunRow } {
    const { conversation, log, outbox, store } = this.parts
    const answer = answerTo(question, runId, now)
    const ids = { id: runId, message_id: question.id, answer_id: answer.id }
    const by = { sent_by: senderOf(caller), client_message_id: input.client_message_id ?? null }
    const order = { kind: input.kind, target: targetOf(input), billed_to: billedTo(caller) }
    conversation.begin({ ...ids, ...by, ...order }, now)
    const isNew = question.run_id === runId
    const created = log.append(now, 'message.created', ...(isNew ? [question] : []), answer)
    conversation.placed(runId, log.head)
    store.set('last_message_at', iso(now))
    outbox.add(now, isNew ? messageCreated(this.ids.chat_id, question, caller.user_id) : undefined)
    return { created, row: conversation.runById(runId) as RunRow }
  }

  private handedOver(runId: string): void {
    clearInterval(this.current?.refresh)
    this.callbacks.open(runId, Date.now())
  }

  private finish(runId: string, end: RunEnd): void {
    const { current, parts } = this
    if (current?.row.id !== runId) return
    this.current = null
    clearInterval(current.refresh)
    try {
      const events = parts.store.atomically(() => conclude(parts, this.ids.chat_id, current.row, end))
      parts.alarms.clear('run')
      parts.audience.publish(events)
    } finally {
      current.end()
    }
    void parts.outbox.deliver()
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
   * that is lost, so a new epoch begins. A run by callback goes on: all that was taken of it is written.
   */
  interrupt(): boolean {
    const row = this.parts.conversation.unfinished()
    if (!row) return false
    const past = this.callbacks.past(row)
    if (past) {
      this.take(row, past)
      return false
    }
    this.parts.store.atomically(() => {
      this.parts.log.beginEpoch()
      conclude(this.parts, this.ids.chat_id, row, cutOff(row, Date.now()))
    })
    this.parts.alarms.clear('run')
    return true
  }

  /** The alarm’s look at the run: goes on being woken while there is one. */
  keepAlive(): void {
    const run = this.current?.run
    if (run?.handedOver) this.callbacks.watch(run, Date.now())
    else if (run) this.parts.alarms.set('run', Date.now() + KEEP_ALIVE_MS)
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
export const senderOf = (caller: Caller): string => caller.user_id ?? caller.key

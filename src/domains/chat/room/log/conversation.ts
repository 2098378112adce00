import type { Usage } from '../../messages/schema'
import type { Ordered } from '../runs/order'
import type { ChatLog } from './log'
import { Messages } from './messages'
import type { Finish, RoomEvent } from './protocol'

export type RunRow = {
  id: string
  message_id: string
  answer_id: string
  sent_by: string
  client_message_id: string | null
  /** What it was ordered by, and the message that the order named. */
  kind: Ordered['kind']
  target: string | null
  /** Whom usage counts it under. */
  billed_to: string | null
  status: 'running' | 'done' | 'failed'
  finish: Finish | null
  error: { code: string; message: string; retryable: boolean } | null
  usage: Usage | null
  /** The entry before the run's first, and its last one. */
  first_seq: number
  last_seq: number | null
  started_at: number
  ended_at: number | null
}

type StoredRun = Record<keyof RunRow, SqlStorageValue>

/** The chat's messages and runs: tables that say what the log comes to. */
export class Conversation extends Messages {
  /** Brings the tables to where the log is with `event`. The text of an answer is taken in with its end. */
  apply(event: RoomEvent, log: ChatLog): void {
    if (this.hides(event)) this.store.set('hidden_before', String(event.seq))
    if (event.type === 'message.created') this.insert(event.data)
    else if (event.type === 'message.updated') this.update(event.data)
    else if (event.type === 'title') this.store.set('title', event.data.title)
    else if (event.type === 'done') {
      const { finish, message_id, usage } = event.data
      const status = finish === 'stopped' ? 'stopped' : 'complete'
      this.conclude(message_id, log, event.seq, status, { finish, ...(usage ? { usage } : {}) })
    } else if (event.type === 'error' && event.data.message_id) {
      const { code, message, message_id } = event.data
      const status = code === 'interrupted' ? 'interrupted' : 'failed'
      this.conclude(message_id, log, event.seq, status, { error: { code, message } })
    }
  }

  /** Whether what was shown before an entry may not be shown after it: another branch is, or other words. */
  private hides({ type, data }: RoomEvent): boolean {
    if (type === 'message.created') return data.parent_id !== this.leaf
    return type === 'message.updated' && (data.content !== undefined || data.active_leaf === true)
  }

  /** Whether a caller is told the log after `seq`: who has the public link is only of what is shown now. */
  tells({ link }: { link?: string }, seq: number): boolean {
    return (
      link === undefined || seq + 1 >= Number((this.store.exists && this.store.get('hidden_before')) || 0)
    )
  }

  /** Whether a message is on the branch that is shown. */
  shows(id: string): boolean {
    const query = `with recursive branch (id) as (
        select ? union all select parent_id from messages join branch using (id) where parent_id >= ?)
      select 1 from branch where id = ?`
    return this.store.row(query, this.leaf, id, id) !== undefined
  }

  // Runs.

  /** Notes a run that begins after entry `first_seq`. */
  begin(
    run: Pick<RunRow, 'id' | 'message_id' | 'answer_id' | 'sent_by' | 'client_message_id'> &
      Partial<Pick<RunRow, 'kind' | 'target' | 'billed_to'>>,
    now: number,
  ): void {
    this.store.run(
      `insert into runs (id, message_id, answer_id, sent_by, client_message_id, kind, target, billed_to, metered,
         status, first_seq, started_at)
       values (?, ?, ?, ?, ?, ?, ?, ?, 0, 'running', 0, ?)`,
      run.id,
      run.message_id,
      run.answer_id,
      run.sent_by,
      run.client_message_id,
      run.kind ?? 'send',
      run.target ?? null,
      run.billed_to ?? null,
      now,
    )
  }

  /** Sets where the run's own entries begin. */
  placed(id: string, firstSeq: number): void {
    this.store.run('update runs set first_seq = ? where id = ?', firstSeq, id)
  }

  ended(id: string, end: Pick<RunRow, 'finish' | 'error' | 'usage'>, seq: number, now: number): void {
    this.store.run(
      'update runs set status = ?, finish = ?, error = ?, usage = ?, last_seq = ?, ended_at = ? where id = ?',
      end.error ? 'failed' : 'done',
      end.finish,
      end.error && JSON.stringify(end.error),
      end.usage && JSON.stringify(end.usage),
      seq,
      now,
      id,
    )
  }

  runById(id: string): RunRow | null {
    return this.asRun(this.store.row<StoredRun>('select * from runs where id = ?', id))
  }

  /** The run that this client's message began. */
  runOf(sentBy: string, clientMessageId: string): RunRow | null {
    if (!this.store.exists) return null
    const query = 'select * from runs where sent_by = ? and client_message_id = ?'
    return this.asRun(this.store.row<StoredRun>(query, sentBy, clientMessageId))
  }

  /** The run that was going on when the object last stopped, or goes on now. */
  unfinished(): RunRow | null {
    if (!this.store.exists) return null
    return this.asRun(this.store.row<StoredRun>(`select * from runs where status = 'running' limit 1`))
  }

  /** The next run that has ended and was not metered. */
  unmetered(): RunRow | null {
    const query = 'select * from runs where metered = 0 and last_seq is not null order by last_seq limit 1'
    return this.store.exists ? this.asRun(this.store.row<StoredRun>(query)) : null
  }

  metered(id: string): void {
    this.store.run('update runs set metered = 1 where id = ?', id)
  }

  /** Joins the text of runs that ended before `before`; answers when the next will have. */
  compact(log: ChatLog, before: number): number | null {
    const waiting = this.store.rows<{ id: string; first_seq: number; last_seq: number; ended_at: number }>(
      `select id, first_seq, last_seq, ended_at from runs
       where status in ('done', 'failed') and compacted = 0 order by ended_at limit 100`,
    )
    for (const run of waiting) {
      if (run.ended_at > before) return run.ended_at
      this.store.atomically(() => {
        log.compact(run.first_seq, run.last_seq)
        this.store.run('update runs set compacted = 1 where id = ?', run.id)
      })
    }
    return waiting.length > 0 ? before : null
  }

  private asRun(row: StoredRun | undefined): RunRow | null {
    if (!row) return null
    const parsed = (value: SqlStorageValue) => (value === null ? null : JSON.parse(String(value)))
    return { ...row, error: parsed(row.error), usage: parsed(row.usage) } as RunRow
  }
}

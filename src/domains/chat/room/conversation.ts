import type { Message, Usage } from '../messages/schema'
import type { ChatLog } from './log'
import type { Finish, RoomEvent } from './protocol'
import type { Store } from './store'

/** Characters of one part of a content: below the 2 MB of a row at four bytes each. */
const PART = 256 * 1024

export type RunRow = {
  id: string
  message_id: string
  answer_id: string
  sent_by: string
  client_message_id: string | null
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
type StoredMessage = Record<Exclude<keyof Message, 'content'>, SqlStorageValue>

/** The chat's messages and runs: tables that say what the log comes to. */
export class Conversation {
  constructor(private readonly store: Store) {}

  /** Brings the tables to where the log is with `event`. The text of an answer is taken in with its end. */
  apply(event: RoomEvent, log: ChatLog): void {
    if (event.type === 'message.created') this.insert(event.data)
    else if (event.type === 'title') this.store.set('title', event.data.title)
    else if (event.type === 'done') {
      const { finish, message_id, usage } = event.data
      const status = finish === 'stopped' ? 'stopped' : 'complete'
      this.finish(message_id, log, event.seq, status, { finish, ...(usage ? { usage } : {}) })
    } else if (event.type === 'error' && event.data.message_id) {
      const { code, message, message_id } = event.data
      const status = code === 'interrupted' ? 'interrupted' : 'failed'
      this.finish(message_id, log, event.seq, status, { error: { code, message } })
    }
  }

  private insert(message: Message): void {
    this.store.run(
      'insert into messages values (?, ?, ?, ?, ?, ?, ?, ?)',
      message.id,
      message.parent_id,
      message.role,
      message.status,
      message.run_id,
      JSON.stringify(message.attachments),
      JSON.stringify(message.metadata),
      message.timestamp,
    )
    this.write(message.id, message.content)
    this.store.set('leaf', message.id)
  }

  private finish(
    answerId: string,
    log: ChatLog,
    seq: number,
    status: Message['status'],
    metadata: Record<string, unknown>,
  ): void {
    const run = this.store.row<{ first_seq: number }>(
      'select first_seq from runs where id = (select run_id from messages where id = ?)',
      answerId,
    )
    this.write(answerId, log.textBetween(run?.first_seq ?? seq, seq))
    this.store.run(
      'update messages set status = ?, metadata = ? where id = ?',
      status,
      JSON.stringify(metadata),
      answerId,
    )
  }

  private write(id: string, content: string): void {
    for (let part = 0; part * PART < content.length; part += 1) {
      const text = content.slice(part * PART, (part + 1) * PART)
      this.store.run('insert into contents values (?, ?, ?)', id, part, text)
    }
  }

  /** The newest messages of the active branch, oldest first; what is being written has the text that was sent. */
  branch(log: ChatLog, most = Number.MAX_SAFE_INTEGER): Message[] {
    if (!this.store.exists) return []
    const rows = this.store.rows<StoredMessage & { text: string | null }>(
      `with recursive branch (id, depth) as (
         select value, 1 from meta where key = 'leaf'
         union all
         select parent_id, depth + 1 from messages join branch using (id) where parent_id is not null and depth < ?)
       select messages.*, contents.text from branch join messages using (id)
       left join contents on message_id = messages.id order by depth desc, part`,
      most,
    )
    return this.views(rows, log)
  }

  /** One message. */
  message(id: string, log: ChatLog): Message | null {
    const rows = this.store.rows<StoredMessage & { text: string | null }>(
      'select messages.*, text from messages left join contents on message_id = id where id = ? order by part',
      id,
    )
    return this.views(rows, log)[0] ?? null
  }

  /** Messages from rows that each hold one part of a content. */
  private views(rows: (StoredMessage & { text: string | null })[], log: ChatLog): Message[] {
    const messages: Message[] = []
    for (const row of rows) {
      const last = messages.at(-1)
      if (last && last.id === row.id) last.content += row.text ?? ''
      else messages.push(this.view(row, row.text ?? '', log))
    }
    return messages
  }

  private view(row: StoredMessage, content: string, log: ChatLog): Message {
    const writing = row.status === 'streaming' ? this.runById(String(row.run_id)) : null
    return {
      id: row.id as string,
      parent_id: row.parent_id as string | null,
      role: row.role as Message['role'],
      content: writing ? log.textBetween(writing.first_seq) : content,
      status: row.status as Message['status'],
      run_id: row.run_id as string | null,
      attachments: JSON.parse(row.attachments as string),
      metadata: JSON.parse(row.metadata as string),
      timestamp: row.timestamp as string,
    }
  }

  get leaf(): string | null {
    return this.store.exists ? this.store.get('leaf') : null
  }

  get count(): number {
    return this.store.row<{ n: number }>('select count(*) as n from messages')?.n ?? 0
  }

  // Runs.

  /** Notes a run that begins after entry `first_seq`. */
  begin(
    run: Pick<RunRow, 'id' | 'message_id' | 'answer_id' | 'sent_by' | 'client_message_id'>,
    now: number,
  ): void {
    this.store.run(
      `insert into runs (id, message_id, answer_id, sent_by, client_message_id, status, first_seq, started_at)
       values (?, ?, ?, ?, ?, 'running', 0, ?)`,
      run.id,
      run.message_id,
      run.answer_id,
      run.sent_by,
      run.client_message_id,
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

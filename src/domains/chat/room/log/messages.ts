import type { Feedback, Message, MessageUpdate, Source } from '../../messages/schema'
import type { Store } from '../store'
import type { ChatLog } from './log'

/** Characters of one part of a content: below the 2 MB of a row at four bytes each. */
const PART = 256 * 1024
/** Characters of a branch that is read whole: with one more message half of what a call of an object can answer. */
const MOST_CHARS = 8 * 1024 * 1024

type StoredMessage = Record<Exclude<keyof Message, 'content' | 'feedback'>, SqlStorageValue> & {
  text: string | null
  feedback: string
}

/** A message’s columns and what was thought of it; with each part of its content in turn, where that is joined. */
const COLUMNS = `messages.*, (select json_group_array(json_object(
  'user_id', user_id, 'rating', rating, 'comment', comment, 'timestamp', feedback.timestamp))
  from feedback where message_id = messages.id) as feedback, text`

/** The chat’s messages: a tree of which one branch is shown, the one that ends at the leaf. */
export class Messages {
  constructor(protected readonly store: Store) {}

  protected insert(message: Message): void {
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
    if (message.attachments.length > 0) this.store.set('files', 'some')
    this.store.set('leaf', message.id)
  }

  protected update(update: MessageUpdate): void {
    const { id, content, added, metadata, feedback } = update
    if (content !== undefined) {
      this.store.run('delete from contents where message_id = ?', id)
      this.write(id, content)
    }
    if (added !== undefined) {
      const query = 'select max(part) + 1 as next from contents where message_id = ?'
      this.write(id, added, this.store.row<{ next: number | null }>(query, id)?.next ?? 0)
    }
    if (metadata !== undefined)
      this.store.run(
        'update messages set metadata = json_patch(metadata, ?) where id = ?',
        JSON.stringify(metadata),
        id,
      )
    if (feedback !== undefined) this.rate(id, feedback)
    if (update.active_leaf) this.store.set('leaf', id)
  }

  /** The files that any of its messages names. */
  get files(): string[] {
    // Most chats have none, and are not looked through.
    if (!this.store.exists || this.store.get('files') === null) return []
    const query = `select distinct json_extract(value, '$.id') as id from messages, json_each(attachments)
      where attachments <> '[]' and json_extract(value, '$.id') is not null`
    return this.store.rows<{ id: string }>(query).map(({ id }) => id)
  }

  private rate(id: string, { user_id, rating, comment, timestamp }: Feedback): void {
    const by = user_id ?? ''
    this.store.run('delete from feedback where message_id = ? and by = ?', id, by)
    if (rating === null) return
    this.store.run(
      'insert into feedback (message_id, by, user_id, rating, comment, timestamp) values (?, ?, ?, ?, ?, ?)',
      ...[id, by, user_id, rating, comment, timestamp],
    )
  }

  /** Takes in the text of an answer that has ended. */
  protected conclude(
    answerId: string,
    log: ChatLog,
    seq: number,
    status: Message['status'],
    metadata: Record<string, unknown>,
  ): void {
    this.write(answerId, log.textBetween(this.firstSeq(answerId) ?? seq, seq))
    const added = Object.entries(metadata).flatMap(([name, value]) => [`$.${name}`, JSON.stringify(value)])
    this.store.run(
      `update messages set status = ?, metadata = json_set(metadata${', ?, json(?)'.repeat(added.length / 2)})
       where id = ?`,
      status,
      ...added,
      answerId,
    )
  }

  /** What an answer was written with, as its metadata has it. */
  sourcesOf(answerId: string): Source[] {
    const query = `select json_extract(metadata, '$.sources') as sources from messages where id = ?`
    const sources = this.store.row<{ sources: string | null }>(query, answerId)?.sources
    return sources ? JSON.parse(sources) : []
  }

  /** The entry after which the answer’s text begins. */
  private firstSeq(answerId: string): number | undefined {
    const query = 'select first_seq from runs where id = (select run_id from messages where id = ?)'
    return this.store.row<{ first_seq: number }>(query, answerId)?.first_seq
  }

  private write(id: string, content: string, from = 0): void {
    for (let part = 0; part * PART < content.length; part += 1) {
      const text = content.slice(part * PART, (part + 1) * PART)
      this.store.run('insert into contents values (?, ?, ?)', id, from + part, text)
    }
  }

  /**
   * The newest messages of the active branch, oldest first: at most `most`, and none before the one with which they
   * come to `chars` characters. What is being written has the text that was sent. Of another branch by its last message.
   */
  branch(
    log: ChatLog,
    most = Number.MAX_SAFE_INTEGER,
    chars = MOST_CHARS,
    leaf: string | null = this.leaf,
  ): Message[] {
    if (!this.store.exists || leaf === null) return []
    const rows = this.store.rows<StoredMessage>(
      `with recursive branch (id, depth, chars) as (
         select ?, 1, (select coalesce(sum(length(text)), 0) from contents where message_id = ?)
         union all
         select parent_id, depth + 1,
           chars + (select coalesce(sum(length(text)), 0) from contents where message_id = parent_id)
         from messages join branch using (id) where parent_id is not null and depth < ? and chars < ?)
       select ${COLUMNS} from branch join messages using (id)
       left join contents on message_id = messages.id order by depth desc, part`,
      leaf,
      leaf,
      most,
      chars,
    )
    return this.views(rows, log)
  }

  has(id: string): boolean {
    return this.store.exists && this.store.row('select 1 from messages where id = ?', id) !== undefined
  }

  /** One message. */
  message(id: string, log: ChatLog): Message | null {
    return this.those([id], log)[0] ?? null
  }

  /** These messages, in the order of their ids. */
  those(ids: readonly string[], log: ChatLog): Message[] {
    if (!this.store.exists) return []
    const rows = this.store.rows<StoredMessage>(
      `select ${COLUMNS} from messages left join contents on message_id = id
       where id in (select value from json_each(?)) order by id, part`,
      JSON.stringify(ids),
    )
    return this.views(rows, log)
  }

  /** Messages from rows that each hold one part of a content. */
  private views(rows: StoredMessage[], log: ChatLog): Message[] {
    const messages: Message[] = []
    for (const row of rows) {
      const last = messages.at(-1)
      if (last && last.id === row.id) last.content += row.text ?? ''
      else messages.push(this.view(row, log))
    }
    return messages
  }

  private view(row: StoredMessage, log: ChatLog): Message {
    const id = row.id as string
    const from = row.status === 'streaming' ? this.firstSeq(id) : undefined
    return {
      id,
      parent_id: row.parent_id as string | null,
      role: row.role as Message['role'],
      content: from === undefined ? (row.text ?? '') : log.textBetween(from),
      status: row.status as Message['status'],
      run_id: row.run_id as string | null,
      attachments: JSON.parse(row.attachments as string),
      metadata: JSON.parse(row.metadata as string),
      timestamp: row.timestamp as string,
      ...(row.feedback === '[]' ? {} : { feedback: JSON.parse(row.feedback) }),
    }
  }

  get leaf(): string | null {
    return this.store.exists ? this.store.get('leaf') : null
  }

  /** The message below `parentId` that was edited under this name by a user; null for who is none. */
  namedBeside(parentId: string | null, name: string, by: string | null): string | null {
    const query = `select id from messages where parent_id is ? and json_extract(metadata, '$.client_message_id') = ?
      and json_extract(metadata, '$.named_by') is ?`
    return this.store.row<{ id: string }>(query, parentId, name, by)?.id ?? null
  }

  /** The newest end of what follows a message, by the newest message each time. */
  below(id: string): string {
    const row = this.store.row<{ id: string }>(
      `with recursive down (id, depth) as (
         select ?, 0 union all
         select (select max(id) from messages where parent_id = down.id), depth + 1 from down where id is not null)
       select id from down where id is not null order by depth desc limit 1`,
      id,
    )
    return row?.id ?? id
  }

  get count(): number {
    return this.store.row<{ n: number }>('select count(*) as n from messages')?.n ?? 0
  }

  /** What people think of the answers. */
  get ratings(): { ratings_up: number; ratings_down: number } {
    const row = this.store.row<{ ratings_up: number; ratings_down: number }>(
      `select coalesce(sum(rating = 'up'), 0) as ratings_up, coalesce(sum(rating = 'down'), 0) as ratings_down
       from feedback`,
    )
    return row ?? { ratings_up: 0, ratings_down: 0 }
  }

  /** The first that was asked. */
  firstQuestion(log: ChatLog): Message | null {
    const query = `select id from messages where role = 'user' order by id limit 1`
    const id = this.store.row<{ id: string }>(query)?.id
    return id === undefined ? null : this.message(id, log)
  }
}

import { and, eq, lte, sql } from 'drizzle-orm'
import { commit, type NewEvent } from '../../../data/commit'
import { newId } from '../../../lib/ids'
import { log as logger } from '../../../lib/log'
import { chats } from '../chats/table'
import type { Access } from './access'
import type { Alarms } from './alarms'
import type { Conversation } from './conversation'
import type { ChatLog } from './log'
import type { Store } from './store'

/** Events that go in one D1 batch. */
const BATCH = 20
/** After a crash between the entry and its delivery the alarm delivers. */
const BACKSTOP_MS = 5_000
/** D1 is asked again after so long, doubling, and at the latest after that. */
const RETRY_MS = 1_000
const RETRY_MOST_MS = 5 * 60_000

type Row = { seq: number; event: string | null }

/**
 * What the log means for D1: the chat’s line in the index, and events to announce. It is written with the entries that
 * cause it and delivered at least once; the index is set to where the log stands, an event is taken once by its number.
 */
export class Outbox {
  private delivering: Promise<void> | null = null
  private failures = 0

  constructor(
    private readonly name: string,
    private readonly store: Store,
    private readonly alarms: Alarms,
    private readonly access: Access,
    private readonly state: { log: ChatLog; conversation: Conversation },
  ) {}

  /** Notes that the index has to follow, and an event to announce with it. */
  add(now: number, event?: Omit<NewEvent, 'id' | 'origin'>): void {
    const stored = event && JSON.stringify({ ...event, id: `msg_${newId(now)}` })
    this.store.run('insert into outbox (event) values (?)', stored ?? null)
    this.alarms.atLatest('outbox', now + BACKSTOP_MS)
  }

  /** Delivers all there is, one delivery at a time; never rejects. A failure is tried again by the alarm. */
  deliver(): Promise<void> {
    this.delivering ??= this.drain().finally(() => {
      this.delivering = null
    })
    return this.delivering
  }

  get empty(): boolean {
    return !this.store.exists || this.pending(1).length === 0
  }

  private pending(limit: number): Row[] {
    return this.store.rows<Row>('select seq, event from outbox order by seq limit ?', limit)
  }

  private async drain(): Promise<void> {
    try {
      for (let rows = this.pending(BATCH); rows.length > 0; rows = this.pending(BATCH)) {
        await this.send(rows)
        if (!this.store.exists) return
        this.store.run('delete from outbox where seq <= ?', rows.at(-1)?.seq ?? 0)
        this.failures = 0
      }
      this.alarms.clear('outbox')
    } catch (error) {
      const wait = Math.min(RETRY_MS * 2 ** this.failures, RETRY_MOST_MS)
      this.failures += 1
      logger.warn('chat_outbox_waits', { chat: this.name, failures: this.failures, cause: String(error) })
      if (this.store.exists) this.alarms.set('outbox', Date.now() + wait)
    }
  }

  private async send(rows: Row[]): Promise<void> {
    const deferred: Promise<unknown>[] = []
    const ctx = this.access.context((work) => deferred.push(work))
    const events = rows.flatMap(({ seq, event }) =>
      event === null ? [] : [{ ...(JSON.parse(event) as NewEvent), origin: `${this.name}#${seq}` }],
    )
    await commit(ctx, { statements: [this.index(ctx)], events, result: undefined })
    await Promise.all(deferred)
  }

  /** The chat’s line as the log has it; a title that was given wins over one that was made. Not async: see `commit`. */
  private index(ctx: ReturnType<Access['context']>) {
    const { log, conversation } = this.state
    const [, chatId = ''] = this.name.split('/')
    const at = this.store.get('last_message_at')
    const moved =
      at === null
        ? {}
        : { last_message_at: at, last_activity_at: at, updated_at: sql`max(updated_at, ${at})` }
    return ctx.db
      .update(chats)
      .set({
        ...moved,
        message_count: conversation.count,
        last_seq: log.head,
        title: sql`coalesce(title, ${this.store.get('title')})`,
      })
      .where(and(eq(chats.tenant_id, ctx.tenant.id), eq(chats.id, chatId), lte(chats.last_seq, log.head)))
  }
}

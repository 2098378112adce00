import { and, eq, lte, sql } from 'drizzle-orm'
import { commit, type NewEvent } from '../../../data/commit'
import { newId } from '../../../lib/ids'
import { log as logger } from '../../../lib/log'
import { chats } from '../chats/table'
import { type Heard, heardOf, keepReads, sayInbox } from '../inbox/feed'
import { subscriptionsOf } from '../push/service'
import type { PushRow } from '../push/table'
import { findByText } from '../search/feed'
import type { Access } from './access'
import type { Alarms } from './alarms'
import type { Conversation } from './log/conversation'
import type { ChatLog } from './log/log'
import { saidNow, toldSearch } from './log/said'
import type { People } from './people/people'
import { meterRuns } from './runs/run-meter'
import type { Store } from './store'

/** Events that go in one D1 batch. */
const BATCH = 20
/** After a crash between the entry and its delivery the alarm delivers. */
const BACKSTOP_MS = 5_000
/** What a message’s beginning has to say waits so long, so that it does not compete with the call of the agent. */
const SOON_MS = 200
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
  private again = false
  private failures = 0

  constructor(
    private readonly name: string,
    private readonly store: Store,
    private readonly alarms: Alarms,
    private readonly access: Access,
    private readonly state: { log: ChatLog; conversation: Conversation; people: People },
  ) {}

  /** Notes that the index has to follow, and an event to announce with it. */
  add(now: number, event?: Omit<NewEvent, 'id' | 'origin'>): void {
    const stored = event && JSON.stringify({ ...event, id: `msg_${newId(now)}` })
    this.store.run('insert into outbox (event) values (?)', stored ?? null)
    this.alarms.atLatest('outbox', now + BACKSTOP_MS)
  }

  /** Delivers in a moment. */
  soon(): void {
    setTimeout(() => void this.deliver(), SOON_MS)
  }

  /** Delivers all there is, one delivery at a time; never rejects. A failure is tried again by the alarm. */
  deliver(): Promise<void> {
    this.again = true
    this.delivering ??= this.deliverAll().finally(() => {
      this.delivering = null
    })
    return this.delivering
  }

  /** What was added while the last delivery came to its end is delivered too. */
  private async deliverAll(): Promise<void> {
    while (this.again) {
      this.again = false
      await this.drain()
    }
  }

  get empty(): boolean {
    if (!this.store.exists) return true
    return this.pending(1).length === 0 && this.state.conversation.unmetered() === null
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
      await this.meter()
      if (!this.store.exists) return
      this.alarms.clear('outbox')
    } catch (error) {
      const wait = Math.min(RETRY_MS * 2 ** this.failures, RETRY_MOST_MS)
      this.failures += 1
      logger.warn('chat_outbox_waits', { chat: this.name, failures: this.failures, cause: String(error) })
      if (this.store.exists) this.alarms.set('outbox', Date.now() + wait)
    }
  }

  private meter(): Promise<void> {
    const { env, tenant } = this.access.context()
    return meterRuns(env, this.name, tenant.id, this.state.conversation)
  }

  private async send(rows: Row[]): Promise<void> {
    const deferred: Promise<unknown>[] = []
    const ctx = this.access.context((work) => deferred.push(work))
    const events = rows.flatMap(({ seq, event }) =>
      event === null ? [] : [{ ...(JSON.parse(event) as NewEvent), origin: `${this.name}#${seq}` }],
    )
    const said = saidNow(this.store, this.state)
    const [, chatId = ''] = this.name.split('/')
    const found = said ? [findByText(ctx, chatId, said)] : []
    const { receipts, notices } = this.state.people
    const fresh = notices.fresh()
    const watched =
      fresh.length > 0
        ? [
            subscriptionsOf(
              ctx,
              fresh.map(({ user_id }) => user_id),
            ),
          ]
        : []
    const reads = receipts.untold()
    const read = reads.length > 0 ? [keepReads(ctx, chatId, reads)] : []
    let heard: Heard[] = []
    let browsers: PushRow[] = []
    await commit(ctx, {
      statements: [this.index(ctx), ...found, ...read],
      events,
      result: undefined,
      reads: {
        statements: [heardOf(ctx, chatId), ...watched],
        seen: ([first, second]) => {
          heard = first as Heard[]
          browsers = (second ?? []) as PushRow[]
        },
      },
    })
    if (said && this.store.exists) toldSearch(this.store, said)
    if (this.store.exists) receipts.told(reads)
    notices.tell(fresh, browsers)
    await sayInbox(ctx, heard)
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
        : {
            last_message_at: at,
            last_activity_at: sql`max(last_activity_at, ${at})`,
            updated_at: sql`max(updated_at, ${at})`,
          }
    return ctx.db
      .update(chats)
      .set({
        ...moved,
        message_count: conversation.count,
        ...conversation.ratings,
        last_seq: log.written,
        title: sql`coalesce(title, ${this.store.get('title')})`,
      })
      .where(and(eq(chats.tenant_id, ctx.tenant.id), eq(chats.id, chatId), lte(chats.last_seq, log.written)))
  }
}

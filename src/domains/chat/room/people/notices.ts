import type { Context } from '../../../../data/context'
import type { Bindings } from '../../../../env'
import { settingsOf } from '../../../../env'
import { isUuid } from '../../../../lib/ids'
import { describeError, log as logger } from '../../../../lib/log'
import { isLoss, type Loss } from '../../../realtime/rights'
import { type Message as Pushed, push } from '../../push/send'
import { forget, subscriptionsOf, targetOf } from '../../push/service'
import type { PushRow } from '../../push/table'
import { pushes } from '../../push/vapid'
import type { Access } from '../access'
import type { Alarms } from '../alarms'
import { type Caller, personOf } from '../caller'
import type { Conversation } from '../log/conversation'
import type { ChatLog } from '../log/log'
import { cut, type RoomEvent } from '../log/protocol'
import type { Audience } from '../readers/audience'
import type { Store } from '../store'
import type { Ids } from '../verbs'

/** A browser’s push service that did not answer is asked again after so long, doubling; then it is let be. */
const AGAIN_MS = 30_000
const MOST_ATTEMPTS = 6
/** An attempt that is cut off is made again after this. */
const BACKSTOP_MS = 60_000
/** Of an answer, in bytes of JSON: a notification shows a line or two. */
const SHOWN_BYTES = 600

type Parts = {
  store: Store
  log: ChatLog
  conversation: Conversation
  audience: Audience
  access: Access
  alarms: Alarms
  ids: Ids
}

/** Users, and the browsers that they have. */
type Whom = { users: readonly string[]; rows: readonly PushRow[] }
type Notice = { id: number; user_id: string; message_id: string; finish: string; attempts: number }

/**
 * Answers that ended while the user who asked for them, or whose chat it is, did not watch: told by Web Push, at least
 * once. The row is written with the answer’s end; a browser shows one notification for a chat, whatever comes twice.
 */
export class Notices {
  private delivering = false
  /** Whose turn comes when the present delivery has ended. */
  private next: Whom | null = null
  private readonly waiting = new Set<Caller>()

  constructor(
    private readonly parts: Parts,
    private readonly env: Bindings,
  ) {}

  /** Notes whom to tell, with the entry that ends a run. */
  apply(event: RoomEvent): void {
    if (event.type !== 'done' && event.type !== 'error') return
    const { message_id } = event.data
    const finish = event.type === 'done' ? event.data.finish : 'failed'
    if (message_id === undefined || finish === 'stopped' || !pushes(settingsOf(this.env))) return
    const { store, audience } = this.parts
    const query = 'select sent_by from runs where id = (select run_id from messages where id = ?)'
    const run = store.row<{ sent_by: string }>(query, message_id)
    for (const user of new Set([run?.sent_by ?? '', store.get('owner') ?? '']))
      if (isUuid(user) && !audience.watches(user) && !this.isWaiting(user))
        store.run(
          'insert into notices (user_id, message_id, finish, at) values (?, ?, ?, ?)',
          ...[user, message_id, finish, Date.now()],
        )
  }

  /** Does `work` for a caller who waits for the answer to it: nobody has to be told of what they are given. */
  async whileWaiting<T>(caller: Caller, work: () => Promise<T>): Promise<T> {
    const one = { ...caller }
    this.waiting.add(one)
    try {
      return await work()
    } finally {
      this.waiting.delete(one)
    }
  }

  private isWaiting(userId: string): boolean {
    return [...this.waiting].some((caller) => caller.kind === 'user' && personOf(caller) === userId)
  }

  /** What was not attempted yet. */
  fresh(): Notice[] {
    return this.parts.store.rows<Notice>('select * from notices where attempts = 0 limit 20')
  }

  /** Tells the browsers that these users have, if any; does not wait for their services. */
  tell(notices: readonly Notice[], rows: readonly PushRow[]): void {
    const { store, alarms } = this.parts
    if (notices.length === 0 || !store.exists) return
    for (const { id, user_id } of notices)
      if (!rows.some((row) => row.user_id === user_id)) store.run('delete from notices where id = ?', id)
      else store.run('update notices set attempts = 1 where id = ?', id)
    if (rows.length === 0) return
    alarms.atLatest('push', Date.now() + BACKSTOP_MS)
    void this.deliver({ users: notices.map(({ user_id }) => user_id), rows })
  }

  /** The alarm: what was not told yet is told again. */
  async due(): Promise<void> {
    const users = this.rows().map(({ user_id }) => user_id)
    if (users.length === 0) return this.parts.alarms.clear('push')
    this.parts.store.run('update notices set attempts = attempts + 1 where attempts > 0')
    await this.deliver({ users, rows: await subscriptionsOf(this.parts.access.context(), users) })
  }

  private rows(): Notice[] {
    return this.parts.store.rows<Notice>('select * from notices where attempts > 0 order by id limit 20')
  }

  /** Never rejects. */
  private async deliver(whom: Whom): Promise<void> {
    const { users, rows } = whom
    if (this.delivering) {
      this.next = whom
      return
    }
    this.delivering = true
    const { store, alarms, access } = this.parts
    try {
      const deferred: Promise<unknown>[] = []
      const ctx = access.context((work) => deferred.push(work))
      const verdicts = await access.lookUp(
        rows.map(({ credential }): Caller => ({ ...credential, scopes: [] })),
      )
      const gone = new Set(rows.filter((row) => isGone(verdicts.get(row.credential.key))).map(({ id }) => id))
      for (const notice of this.rows().filter(({ user_id }) => users.includes(user_id))) {
        const left = rows.filter((row) => row.user_id === notice.user_id && !gone.has(row.id))
        const told = await this.deliverTo(ctx, notice, left, verdicts)
        for (const id of told.gone) gone.add(id)
        if (!store.exists) return
        if (!told.later || notice.attempts >= MOST_ATTEMPTS)
          store.run('delete from notices where id = ?', notice.id)
      }
      if (gone.size > 0) await forget(ctx, [...gone])
      await Promise.all(deferred)
    } catch (error) {
      logger.warn('notices_wait', { ...this.parts.ids, cause: describeError(error) })
    } finally {
      this.delivering = false
    }
    if (!store.exists) return
    const { next: more } = this
    this.next = null
    if (more) return this.deliver(more)
    const [next] = this.rows()
    if (next) alarms.set('push', Date.now() + AGAIN_MS * 2 ** (next.attempts - 1))
    else alarms.clear('push')
  }

  /** Tells all of a user’s browsers of one answer, those that may still read the chat. */
  private async deliverTo(
    ctx: Pick<Context, 'settings'>,
    notice: Notice,
    rows: readonly PushRow[],
    verdicts: ReadonlyMap<string, Caller | Loss>,
  ): Promise<{ later: boolean; gone: string[] }> {
    const message = await this.messageOf(notice)
    const may = rows.filter(({ credential }) => {
      const verdict = verdicts.get(credential.key)
      return verdict !== undefined && !isLoss(verdict)
    })
    if (!message) return { later: false, gone: [] }
    const outcomes = await Promise.all(
      may.map(async (row) => ({ row, outcome: await push(ctx.settings, await targetOf(ctx, row), message) })),
    )
    return {
      later: outcomes.some(({ outcome }) => outcome === 'later'),
      gone: outcomes.flatMap(({ row, outcome }) => (outcome === 'gone' ? row.id : [])),
    }
  }

  /** What a browser is sent; null where chat or answer are no more. */
  private async messageOf({ message_id, finish }: Notice): Promise<Pushed | null> {
    const { conversation, log, access, ids, store } = this.parts
    const chat = await access.find()
    const answer = store.exists ? conversation.message(message_id, log) : null
    if (!chat || !answer) return null
    const { chat_id } = ids
    const title = cut(chat.title ?? store.get('title') ?? '', SHOWN_BYTES)[0]
    const [body, rest] = cut(answer.content, SHOWN_BYTES)
    const data = { type: 'chat.answer', chat_id, message_id, finish, title, tag: `chat:${chat_id}` }
    // 32 characters are all that a topic may have, and a UUID’s digits are as many.
    return {
      text: JSON.stringify({ ...data, body: rest === '' ? body : `${body}…` }),
      topic: chat_id.replaceAll('-', ''),
    }
  }
}

/** Whether the login that a subscription was made by has ended. */
const isGone = (verdict: Caller | Loss | undefined): boolean =>
  verdict === undefined || (isLoss(verdict) && verdict.code === 4401)

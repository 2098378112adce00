import type { Bindings } from '../../../../env'
import { log as logger } from '../../../../lib/log'
import { problem } from '../../../../lib/problem'
import type { ChatRow } from '../../chats/table'
import type { Access } from '../access'
import type { Alarms } from '../alarms'
import { type Caller, personOf } from '../caller'
import type { Conversation } from '../log/conversation'
import type { ChatLog } from '../log/log'
import type { RoomEvent } from '../log/protocol'
import type { Outbox } from '../outbox'
import type { Audience } from '../readers/audience'
import type { Reader } from '../readers/reader'
import type { Store } from '../store'
import type { Ids } from '../verbs'
import { Notices } from './notices'
import { Presence } from './presence'
import { type Receipt, Receipts, type Standing } from './receipts'
import { Typing } from './typing'

type Parts = {
  store: Store
  log: ChatLog
  audience: Audience
  outbox: Outbox
  access: Access
  conversation: Conversation
  alarms: Alarms
  ids: Ids
}

/** The people of a chat: who is there, who types, who has read how far. */
export class People {
  readonly presence: Presence
  readonly typing: Typing
  readonly receipts: Receipts
  readonly notices: Notices

  constructor(
    private readonly parts: Parts,
    env: Bindings,
  ) {
    this.presence = new Presence(parts.audience)
    this.typing = new Typing(parts.audience)
    this.receipts = new Receipts(parts)
    this.notices = new Notices(parts, env)
  }

  /** Brings the tables to where the log is with `event`. */
  apply(event: RoomEvent): void {
    this.receipts.apply(event)
    this.notices.apply(event)
  }

  /** A connection that follows the chat has come. */
  joined(reader: Reader): void {
    this.presence.joined(reader)
    this.typing.greet(reader)
  }

  /** It has gone; said twice it is the same. */
  left(reader: Reader): void {
    const user = this.presence.left(reader)
    if (user !== null) this.typing.stop(user)
  }

  /** The caller has written a message, or ordered an answer. */
  wrote(caller: Caller, chat: ChatRow): void {
    if (this.parts.store.get('owner') === null) this.parts.store.set('owner', chat.user_id)
    const user = personOf(caller)
    if (user === null) return
    this.typing.stop(user)
    this.receipts.wrote(user)
  }

  /** Notes how far a caller has read; resolves with how that stands once it is kept. 403 for who is no user. */
  async read(caller: Caller, seq?: number): Promise<Standing> {
    await this.parts.access.chat(caller)
    const user = userOf(caller)
    await this.receipts.mark(user, seq)
    return this.receipts.of(user)
  }

  /** The same from a connection, whose rights were looked at and whose next frame is not to wait. */
  noteRead(caller: Caller, seq?: number): void {
    this.receipts.mark(userOf(caller), seq).catch((error: unknown) => {
      logger.warn('receipt_not_kept', { cause: String(error) })
    })
  }

  /** Everyone who has read anything, in the order of their ids. */
  async reads(caller: Caller, after: string, limit: number): Promise<Receipt[]> {
    await this.parts.access.chat(caller)
    return this.receipts.list(after, limit)
  }

  /** Notes that a caller types, or does not any more. 403 for who is no user or may not write here. */
  async types(caller: Caller, typing: boolean): Promise<void> {
    const user = userOf(caller)
    if (typing && this.typing.isKnown(user)) return this.typing.start(user)
    await this.parts.access.chat(caller, 'editor')
    if (typing) this.typing.start(user)
    else this.typing.stop(user)
  }
}

function userOf(caller: Caller): string {
  const user = personOf(caller)
  if (user === null) throw problem('user_required', 'This is for users, and this credential stands for none')
  return user
}

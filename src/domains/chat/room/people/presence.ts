import { log as logger } from '../../../../lib/log'
import { personOf } from '../caller'
import { frameOf } from '../log/protocol'
import type { Audience } from '../readers/audience'
import type { Reader } from '../readers/reader'

/** What changes within so long is said at once, and who leaves may come back within it: a page that is loaded anew. */
export const PRESENCE_MS = 1_000
/** Users that an event names: it has at most 4 KiB. */
const MOST_NAMED = 50

/**
 * Who follows the chat, each user once, however many connections they have. It is made from the connections themselves,
 * so it outlasts the object’s sleep, and while nobody comes or goes nothing runs.
 */
export class Presence {
  private readonly connections = new Map<string, Set<Reader>>()
  private readonly gone = new WeakSet<Reader>()
  /** Who was there when it was last said. */
  private said = new Set<string>()
  private saidAt = Number.NEGATIVE_INFINITY
  private timer: ReturnType<typeof setTimeout> | null = null

  constructor(private readonly audience: Audience) {}

  /** Takes in a connection that was open before the object slept: all know of it. */
  here(reader: Reader): void {
    const user = this.take(reader)
    if (user !== null) this.said.add(user)
  }

  /** Tells who came who else is there, and all others of a user who was not: who is alone is told nothing. */
  joined(reader: Reader): void {
    const user = this.take(reader)
    if (user !== null && !this.said.has(user)) this.say(this.saidAt + PRESENCE_MS - Date.now(), reader)
    if (this.connections.size > (user === null ? 0 : 1)) this.tell((one) => one === reader)
  }

  /** Answers with the user who has no connection any more; null where one is left. Said twice it is nothing new. */
  left(reader: Reader): string | null {
    const user = personOf(reader.caller)
    if (user === null || this.gone.has(reader)) return null
    this.gone.add(reader)
    const open = this.connections.get(user)
    open?.delete(reader)
    if (open && open.size > 0) return null
    this.connections.delete(user)
    // What woke the object may be the end of this very connection: the others know of it.
    this.said.add(user)
    this.say(PRESENCE_MS)
    return user
  }

  private take(reader: Reader): string | null {
    const user = personOf(reader.caller)
    // Who had lost the right to read was sent away as it came.
    if (user === null || this.gone.has(reader)) return null
    const open = this.connections.get(user) ?? new Set()
    this.connections.set(user, open.add(reader))
    return user
  }

  /** Has the change said in so many milliseconds; `except` is told by itself. */
  private say(due: number, except?: Reader): void {
    if (due <= 0 && this.timer === null) this.sayNow(except)
    else this.timer ??= setTimeout(() => this.sayNow(), Math.max(due, 0))
  }

  private sayNow(except?: Reader): void {
    if (this.timer !== null) clearTimeout(this.timer)
    this.timer = null
    const users = new Set(this.connections.keys())
    if (users.size === this.said.size && [...users].every((user) => this.said.has(user))) return
    // Who has come to nobody is alone.
    const first = this.said.size === 0 && users.size === 1 ? users : new Set()
    this.said = users
    this.saidAt = Date.now()
    this.tell((reader) => reader !== except && !first.has(personOf(reader.caller) ?? ''))
  }

  private tell(to: (reader: Reader) => boolean): void {
    const users = [...this.connections.keys()].slice(0, MOST_NAMED)
    const frame = frameOf(null, 'presence', { users, count: this.connections.size })
    this.audience.say(frame, to).catch((error: unknown) => {
      logger.warn('presence_not_told', { cause: String(error) })
    })
  }
}

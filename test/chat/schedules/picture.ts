import { expect } from 'vitest'
import type { MessageUpdate } from '../../../src/domains/chat/messages/schema'
import type { Event } from '../kit'

// What a client makes of the events it is sent, as the documentation says, and what it may expect of them meanwhile.

export type Seen = {
  id: string
  parent_id: string | null
  role: string
  content: string
  status: string
  /** Set where only the beginning of the content was shown. */
  cut: boolean
}

type Updated = MessageUpdate & { content_truncated?: boolean }
type Place = { epoch: number; seq: number }

export const placeOf = (id: string): Place => {
  const [, epoch, seq] = /^e(\d+)-(\d+)$/.exec(id) ?? []
  if (epoch === undefined) throw new Error(`no id of an event: ${id}`)
  return { epoch: Number(epoch), seq: Number(seq) }
}

/** The chat as one client sees it. */
export class Picture {
  readonly messages = new Map<string, Seen>()
  leaf: string | null = null
  title: string | null = null
  /** The last id from which it can go on. */
  cursor: string | null = null
  /** Events since the last snapshot, by their id. */
  readonly since = new Map<string, Event>()
  /** Set while the text of a snapshot’s newest message is still coming: the cursor that ends it, and the message. */
  private inside: { cursor: string; newest: string } | null = null
  private writing: string | null = null

  /** Takes what comes over a stream or a socket: after a snapshot or a cursor every number once and in order. */
  stream(event: Event): void {
    const { type } = event
    if (type === 'snapshot' || type === 'reset') this.begin(event)
    else if (this.inside) this.goOn(event, this.inside)
    else this.follow(event)
  }

  private follow(event: Event): void {
    const { id, type, data } = event
    // Not in the log: what went wrong with a frame of one’s own, who is there, who types.
    if (id === null && type !== 'message') return
    const place = placeOf(id ?? '')
    const last = placeOf(this.cursor ?? '')
    // Compared by hand: an `expect` for each event of each reader is most of the time that all this takes.
    if (place.epoch !== last.epoch || place.seq !== last.seq + 1)
      throw new Error(`after ${this.cursor} came ${id} ${type} ${JSON.stringify(data).slice(0, 80)}`)
    this.take(event)
  }

  /** Takes an entry that was read as JSON: numbers go up, and skip only what was joined. */
  page(event: Event, joined: boolean): void {
    if (event.type === 'reset') {
      this.begin(event)
      return
    }
    const place = placeOf(event.id ?? '')
    const last = placeOf(this.cursor ?? 'e1-0')
    const follows = joined ? place.seq > last.seq : place.seq === last.seq + 1
    if (place.epoch < last.epoch || !follows)
      throw new Error(`after ${this.cursor} the page has ${event.id} ${event.type}`)
    this.take(event)
  }

  private begin({ id, data }: Event): void {
    this.since.clear()
    this.messages.clear()
    const { messages, run } = data as { messages: Omit<Seen, 'cut'>[]; run: { message_id: string } | null }
    for (const message of messages) this.add(message as Seen)
    this.leaf = messages.at(-1)?.id ?? null
    this.title = data.title as string | null
    this.writing = run?.message_id ?? null
    const cursor = data.cursor as string
    if (id === cursor) {
      this.inside = null
      this.cursor = cursor
      return
    }
    // The newest message goes on in events of their own: who is cut off before the last of them begins again.
    expect(id === null || placeOf(id).epoch === 0).toBe(true)
    this.cursor = null
    this.inside = { cursor, newest: this.leaf ?? '' }
  }

  private goOn({ id, type, data }: Event, { cursor, newest }: { cursor: string; newest: string }): void {
    if (id === null && type !== 'message') return
    expect(type).toBe('message')
    const message = this.messages.get(newest) as Seen
    message.content += data.content
    if (data.content_truncated) message.cut = true
    if (id !== cursor) expect(id === null || placeOf(id).epoch === 0).toBe(true)
    else {
      this.cursor = cursor
      this.inside = null
    }
  }

  private take(event: Event): void {
    const { id, type, data } = event
    this.cursor = id
    this.since.set(id ?? '', event)
    if (type === 'message.created') {
      this.add(data as Seen)
      this.leaf = data.id as string
      if (data.role === 'assistant') this.writing = data.id as string
    } else if (type === 'message.updated') this.update(data as MessageUpdate)
    else if (type === 'message') this.write(data.content as string)
    else if (type === 'title') this.title = data.title as string
    else if (type === 'done' || type === 'error') this.end(type, data)
  }

  private add(message: Seen & { content_truncated?: boolean }): void {
    const { id, parent_id, role, content, status } = message
    this.messages.set(id, { id, parent_id, role, content, status, cut: message.content_truncated ?? false })
  }

  private update({ id, content, added, active_leaf, content_truncated }: Updated): void {
    if (active_leaf) this.leaf = id
    const message = this.messages.get(id)
    if (message) message.content = (content ?? message.content) + (added ?? '')
    if (message && content !== undefined) message.cut = content_truncated ?? false
  }

  private write(content: string): void {
    const message = this.messages.get(this.writing ?? '')
    if (message) message.content += content
  }

  private end(type: string, data: Event['data']): void {
    const message = this.messages.get(data.message_id as string)
    this.writing = null
    if (!message) return
    if (type === 'done') message.status = data.finish === 'stopped' ? 'stopped' : 'complete'
    else message.status = data.code === 'interrupted' ? 'interrupted' : 'failed'
  }

  /** The branch that is active, as far back as it is known. */
  branch(): Seen[] {
    const branch: Seen[] = []
    for (let at = this.messages.get(this.leaf ?? ''); at; at = this.messages.get(at.parent_id ?? ''))
      branch.unshift(at)
    return branch
  }
}

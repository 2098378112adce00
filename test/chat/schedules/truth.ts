import { env } from 'cloudflare:workers'
import { expect } from 'vitest'
import type { MessageUpdate } from '../../../src/domains/chat/messages/schema'
import type { Event } from '../kit'
import { type Picture, placeOf, type Seen } from './picture'
import { asked, type Place, roomIn } from './place'
import { scriptOf, seedIn } from './script'

// What the chat has stored, and what must be so whatever happened.

type StoredMessage = Omit<Seen, 'cut'> & { run_id: string | null; metadata: Record<string, unknown> }
export type Truth = { log: Event[]; messages: StoredMessage[]; leaf: string | null; title: string | null }

/** The log as anyone can read it, and the tables as they lie in the object. */
export async function truthOf(place: Place, pageSize: number): Promise<Truth> {
  const log: Event[] = []
  for (let after: string | null = null; ; ) {
    const page: { items: unknown[]; next_cursor: string | null } = await asked(place, 'events', {
      after,
      limit: pageSize,
    })
    log.push(...(page.items as Event[]))
    after = page.next_cursor
    if (after === null) break
  }
  const tables = await place.inObject((object) => {
    const { store } = roomIn(object)
    if (!store.exists) return { messages: [], leaf: null, title: null }
    const rows = store.rows<Record<string, string>>(
      'select id, parent_id, role, status, run_id, metadata from messages order by id',
    )
    const messages = rows.map((row) => ({
      ...row,
      metadata: JSON.parse(row.metadata ?? ''),
      content: store
        .rows<{ text: string }>('select text from contents where message_id = ? order by part', row.id ?? '')
        .map(({ text }) => text)
        .join(''),
    })) as unknown as StoredMessage[]
    return { messages, leaf: store.get('leaf'), title: store.get('title') }
  })
  return { log, ...tables }
}

/** A run as it began: what its question said then, and the branch that it stands on. */
type Begun = { question: string; branch: string[] }

/** What the messages, the active leaf and the title are by the log alone. */
export class Fold {
  readonly messages = new Map<string, StoredMessage>()
  /** By the id of the answer. */
  readonly runs = new Map<string, Begun>()
  leaf: string | null = null
  title: string | null = null
  private writing: StoredMessage | undefined

  constructor(log: readonly Event[]) {
    for (const event of log) this.take(event)
  }

  private take({ type, data }: Event): void {
    if (type === 'message.created') this.create(data as StoredMessage)
    else if (type === 'message.updated') this.update(data as MessageUpdate)
    else if (type === 'message' && this.writing) this.writing.content += data.content
    else if (type === 'title') this.title = data.title as string
    else if (type === 'done' || type === 'error') this.end(type, data)
  }

  private create({ id, parent_id, role, content, status, run_id, metadata }: StoredMessage): void {
    const message = { id, parent_id, role, content, status, run_id, metadata }
    this.messages.set(id, message)
    this.leaf = id
    if (status !== 'streaming') return
    this.writing = message
    const branch = this.branch(parent_id)
    this.runs.set(id, {
      question: this.messages.get(parent_id ?? '')?.content ?? '',
      branch: branch.flatMap((one) => (one.content === '' ? [] : [`${one.role} ${one.content}`])),
    })
  }

  private update({ id, content, added, metadata, active_leaf }: MessageUpdate): void {
    const message = this.messages.get(id) as StoredMessage
    message.content = (content ?? message.content) + (added ?? '')
    message.metadata = { ...message.metadata, ...metadata }
    if (active_leaf) this.leaf = id
  }

  private end(type: string, { message_id, finish, usage, code, message }: Event['data']): void {
    const answer = this.messages.get(message_id as string) as StoredMessage
    this.writing = undefined
    if (type === 'done') {
      answer.status = finish === 'stopped' ? 'stopped' : 'complete'
      answer.metadata = { finish, ...(usage ? { usage } : {}) }
    } else {
      answer.status = code === 'interrupted' ? 'interrupted' : 'failed'
      answer.metadata = { error: { code, message } }
    }
  }

  /** From the first message to this one. */
  branch(leaf: string | null): StoredMessage[] {
    const branch: StoredMessage[] = []
    for (let at = this.messages.get(leaf ?? ''); at; at = this.messages.get(at.parent_id ?? ''))
      branch.unshift(at)
    return branch
  }
}

const byId = (a: { id: string }, b: { id: string }): number => (a.id < b.id ? -1 : 1)

/** Once nothing goes on: the log is whole, the tables are its fold, and each run ended once. */
export function expectWhole(place: Place, truth: Truth): Fold {
  const { log, messages, leaf, title } = truth
  let last = { epoch: 1, seq: 0 }
  for (const { id, type } of log) {
    const { epoch, seq } = placeOf(id ?? '')
    const follows = place.joined ? seq > last.seq : seq === last.seq + 1
    if (epoch < last.epoch || !follows) throw new Error(`the log goes from ${last.seq} to ${id} ${type}`)
    last = { epoch, seq }
  }
  const fold = new Fold(log)
  expect(messages).toEqual([...fold.messages.values()].toSorted(byId))
  expect({ leaf, title }).toEqual({ leaf: fold.leaf, title: fold.title })
  expectEnds(truth, [...fold.runs.keys()])
  return fold
}

/** The same of a chat whose agent is scripted, which said what it should. */
export function expectTruth(place: Place, truth: Truth): void {
  const fold = expectWhole(place, truth)
  for (const [id, begun] of fold.runs) expectAnswer(place, fold.messages.get(id) as StoredMessage, begun)
}

/** Each run ended exactly once, and nothing was said but in a run. */
function expectEnds({ log }: Truth, answers: string[]): void {
  const open: string[] = []
  const ended: string[] = []
  for (const { type, data } of log) {
    if (type === 'message.created' && data.status === 'streaming') open.push(data.id as string)
    if ((type === 'message' || type === 'status') && open.length !== 1)
      throw new Error(`a ${type} outside a run`)
    if (type !== 'done' && type !== 'error') continue
    expect(open, 'an end without a run').toEqual([data.message_id])
    ended.push(open.pop() as string)
  }
  expect(open, 'a run never ended').toEqual([])
  expect(ended).toEqual(answers)
}

/** The agent was told the branch down to the question, and the answer is what it said. */
function expectAnswer(place: Place, answer: StoredMessage, { question, branch }: Begun): void {
  // Killed before the agent was asked.
  const told = place.told.get(answer.run_id ?? '')
  if (told) expect(told.map(({ role, content }) => `${role} ${content}`)).toEqual(branch)
  const { status, content } = answer
  const { end, text } = scriptOf(seedIn(question))
  if (status === 'complete') expect(end).toBe('done')
  if (status === 'failed') expect(['fails', 'throws']).toContain(end)
  if (answer.metadata.edited_at !== undefined) return
  if (status === 'complete' || status === 'failed') expect(content, 'all that the agent said').toBe(text)
  // The half of a character that had come when it was cut off is replaced.
  else expect(text.startsWith(content.replace(/\ufffd$/, '')), `${content} of ${text}`).toBe(true)
}

/** A client that has come to the end of the log sees the chat as it is, and was sent nothing but what the log holds. */
export function expectPicture(place: Place, picture: Picture, truth: Truth): void {
  const byIds = new Map(truth.messages.map((message) => [message.id, message]))
  expect(picture.leaf).toBe(truth.leaf)
  expect(picture.title).toBe(truth.title)
  for (const { cut, ...seen } of picture.messages.values()) {
    const { id, parent_id, role, content, status } = byIds.get(seen.id) as StoredMessage
    expect(seen.id).toBe(id)
    expect({ ...seen, content: cut ? content.startsWith(seen.content) : seen.content }).toEqual({
      ...{ id, parent_id, role, status },
      content: cut ? true : content,
    })
  }
  // Of a branch that was chosen only those are known that were sent: a client asks for the others.
  const known = picture.branch().map(({ id }) => id)
  const branch: string[] = []
  for (let at = byIds.get(truth.leaf ?? ''); at; at = byIds.get(at.parent_id ?? '')) branch.unshift(at.id)
  expect(known).toEqual(known.length === 0 ? [] : branch.slice(-known.length))
  if (place.joined) return
  const logged = new Map(truth.log.map((event) => [event.id, event]))
  for (const [id, { type, data }] of picture.since) {
    const entry = logged.get(id)
    if (entry?.type !== type) throw new Error(`${id} ${type} is not in the log`)
    if (!data.content_truncated && JSON.stringify(data) !== JSON.stringify(entry.data))
      expect(data).toEqual(entry.data)
  }
}

/** What the list of chats has of these, by their ids. */
export async function indexOf(places: Place[]) {
  const marks = places.map(() => '?').join(', ')
  const { results } = await env.DB.prepare(
    `select id, message_count, last_seq, title from chats where tenant_id = ? and id in (${marks})`,
  )
    .bind(places[0]?.ids.tenant_id, ...places.map(({ id }) => id))
    .all<{ id: string; message_count: number; last_seq: number; title: string | null }>()
  return new Map(results.map((row) => [row.id, row]))
}

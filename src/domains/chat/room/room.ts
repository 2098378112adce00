import type { Bindings } from '../../../env'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { Rights } from '../../realtime/rights'
import { upstreamOf } from '../agents/upstreams/choose'
import type { AnsweringAgent, Upstream } from '../agents/upstreams/upstream'
import type { Exchange, ListedMessage, LoggedEvent, Message } from '../messages/schema'
import { Access } from './access'
import { Alarms } from './alarms'
import type { Caller } from './caller'
import { type Duties, doWhatIsDue } from './due'
import { Conversation, type RunRow } from './log/conversation'
import { ChatLog } from './log/log'
import { type Cursor, type Frame, MAX_EVENT, parseCursor } from './log/protocol'
import { listed, type Snapshot, snapshotFrames } from './log/snapshot'
import { withSiblings } from './log/tree'
import { Outbox } from './outbox'
import { People } from './people/people'
import { Audience } from './readers/audience'
import type { LaneTimings } from './readers/lanes'
import type { Reader } from './readers/reader'
import { DELETED } from './refusal'
import { exchangeOf } from './runs/exchange'
import { filesOf, type Order } from './runs/order'
import { TIMINGS, type Timings } from './runs/run'
import { Runs } from './runs/runs'
import { ShareEnds } from './share-ends'
import { Store } from './store'
import type { Ids, ReadRoom } from './verbs'

/** Messages that a snapshot tries to fit in; more would not. */
const SNAPSHOT_MESSAGES = 20
/** A removal that was announced and not carried out is looked into after this. */
const REMOVAL_MS = 60_000

/** What a test puts in the place of the real thing. */
export type Seams = {
  timings: Timings
  lanes?: LaneTimings
  upstreamOf: (kind: AnsweringAgent['kind']) => Upstream
  freshMs?: number
  firstAckMs?: number
}

/** One chat: its log, its runs and its readers, behind verbs that know no transport. */
export class Room {
  readonly store: Store
  readonly conversation: Conversation
  readonly log: ChatLog
  readonly rights: Rights<Caller>
  readonly audience: Audience
  readonly alarms: Alarms
  readonly access: Access
  readonly outbox: Outbox
  readonly runs: Runs
  readonly ends: ShareEnds
  readonly people: People

  constructor(
    storage: DurableObjectStorage,
    env: Bindings,
    readonly ids: Ids,
    private readonly seams: Seams = { timings: TIMINGS, upstreamOf },
  ) {
    this.store = new Store(storage)
    this.conversation = new Conversation(this.store)
    this.log = new ChatLog(this.store, (event) => {
      this.conversation.apply(event, this.log)
      this.people.apply(event)
    })
    this.access = new Access(env, ids)
    this.rights = new Rights<Caller>((callers) => this.access.lookUp(callers), seams.freshMs)
    this.audience = new Audience(this.log, this.rights, seams.lanes?.crowdFrom)
    this.alarms = new Alarms(this.store, storage)
    const name = `${ids.tenant_id}/${ids.chat_id}`
    this.outbox = new Outbox(name, this.store, this.alarms, this.access, this)
    this.runs = new Runs(this, env, ids, this.audience.paced(seams.timings))
    this.ends = new ShareEnds(this)
    this.people = new People(this, env)
  }

  get laneTimings(): LaneTimings | undefined {
    return this.seams.lanes
  }

  get reading() {
    return { firstAckMs: this.seams.firstAckMs, shows: (id: string) => this.conversation.shows(id) }
  }

  /** Ends what was going on when the object was last cut off; readers that slept through it begin anew. */
  wake(): void {
    if (this.runs.interrupt()) this.audience.restart(() => this.snapshot('reset'))
    if (!this.outbox.empty) void this.outbox.deliver()
  }

  /** Takes what begins a run, or finds the run that it began when it was sent before. */
  async send({ caller, traceparent, input }: Order): Promise<{ run: RunRow; replayed: boolean }> {
    const { count } = this.rights
    const chat = await this.access.chat(caller, 'editor')
    this.rights.admit(caller, Date.now(), count)
    const before = this.runs.earlier(caller, input)
    if (before) return { run: before, replayed: true }
    if (chat.is_archived) throw problem('chat_archived', 'The chat is archived')
    const agent = await this.access.agent()
    const files = await this.access.files(filesOf(this.conversation, input))
    // Somebody may have lost a right, or the chat been deleted, and others may have come while the agent was read.
    if (this.rights.count !== count) await this.access.chat(caller, 'editor')
    const meanwhile = this.runs.earlier(caller, input)
    if (meanwhile) return { run: meanwhile, replayed: true }
    const upstream = this.seams.upstreamOf(agent.kind)
    const run = this.runs.begin({ caller, traceparent, input, files, chat, agent, upstream })
    this.people.wrote(caller, chat)
    return { run, replayed: false }
  }

  /** Both messages of a run, once it has ended, for who may still read them; 502 or 504 where the agent failed. */
  exchange(caller: Caller, runId: string): Promise<Exchange> {
    return this.people.notices.whileWaiting(caller, () => exchangeOf(this, caller, runId))
  }

  /** Lets a reader follow from a cursor on, exactly where that can be, else from the chat as it stands. */
  follow(reader: Reader, cursor: string | null): void {
    const from = cursor === null ? null : parseCursor(cursor)
    reader.backlog =
      from === null
        ? this.snapshot('snapshot')
        : this.log.resumes(from) && this.conversation.tells(reader.caller, from.seq)
          ? this.audience.after(from.seq, reader)
          : this.snapshot('reset')
    this.audience.add(reader)
  }

  /** The frames of the chat as it stands when they are asked for, and of all that comes after. */
  *snapshot(type: 'snapshot' | 'reset'): Generator<Frame, void> {
    const at = this.log.head
    yield* snapshotFrames(type, this.standing())
    yield* this.audience.after(at, { wants: () => true })
  }

  private standing(): Snapshot {
    const messages = this.conversation.branch(this.log, SNAPSHOT_MESSAGES, MAX_EVENT)
    const going = this.runs.going
    return {
      cursor: this.log.cursor,
      title: this.title,
      run: going && { id: going.id, message_id: going.answer_id },
      messages,
      complete: isWhole(messages),
    }
  }

  get title(): string | null {
    return (this.store.exists ? this.store.get('title') : null) ?? this.access.title
  }

  /** The title, the messages of the active branch as far back as an answer holds, and how far the log is. */
  async read(caller: Caller): Promise<ReadRoom> {
    await this.access.chat(caller)
    const branch = this.conversation.branch(this.log)
    const messages = withSiblings(this, branch)
    return { title: this.title, messages, messages_complete: isWhole(branch), seq: this.log.head }
  }

  /** The last question and answer, as much of each as a list shows. */
  async lastExchange(caller: Caller): Promise<ListedMessage[]> {
    await this.access.chat(caller)
    return this.conversation.branch(this.log, 2).map(listed)
  }

  /** A page of the log. Where it can’t be read on from the cursor without a gap: one `reset` with the whole chat. */
  async events(caller: Caller, after: Cursor | null, limit: number) {
    await this.access.chat(caller)
    if (after && !this.log.reads(after)) return { items: [this.resetEvent()], next_cursor: null }
    const items = this.log
      .after(after?.seq ?? 0, limit, Date.now())
      .slice(0, limit)
      .map(({ id, type, data, at }): LoggedEvent => ({ id, type, data, timestamp: iso(at) }))
    const last = items.at(-1)?.id ?? null
    return { items, next_cursor: last === this.log.cursor ? null : last }
  }

  private resetEvent(): LoggedEvent {
    const messages = this.conversation.branch(this.log)
    const data = { ...this.standing(), messages, complete: isWhole(messages) }
    return { id: this.log.cursor, type: 'reset', data, timestamp: iso(Date.now()) }
  }

  /** Stops the run that goes on; harmless where none does. */
  async stop(caller: Caller, runId?: string) {
    await this.access.chat(caller, 'editor')
    return this.runs.stop(runId)
  }

  /** Tells the readers of a title that was given. */
  retitle(title: string): void {
    this.access.forget()
    this.log.begin()
    const events = this.store.atomically(() => this.log.append(Date.now(), 'title', { title }))
    this.audience.publish(events)
  }

  /** Makes sure that the storage goes with the chat’s row, even if nobody comes to say that the row is gone. */
  expectRemoval(): void {
    if (this.store.exists) this.alarms.set('removal', Date.now() + REMOVAL_MS)
  }

  /** Deletes all there is, once the run is stopped, the readers are gone and what is to be announced has been. */
  async remove(): Promise<void> {
    this.access.forget()
    this.runs.stop()
    this.audience.dismiss(DELETED)
    this.rights.forget()
    if (!this.store.exists) return
    this.alarms.set('removal', Date.now() + REMOVAL_MS)
    await this.outbox.deliver()
    if (!this.outbox.empty) return
    await this.store.erase()
    this.log.open()
  }

  /** Deletes all there is with the tenant: nobody is left to announce anything to. */
  async erase(): Promise<void> {
    this.access.forget()
    this.runs.stop()
    this.audience.dismiss(DELETED)
    this.rights.forget()
    await this.store.erase()
    this.log.open()
  }

  /** Does what is due; never throws, since an alarm that throws is dropped for good in the end. */
  alarm(): Promise<void> {
    return doWhatIsDue(this.alarms, this.duties, this.ids.chat_id)
  }

  private readonly duties: Duties = {
    run: () => this.runs.keepAlive(),
    outbox: () => this.outbox.deliver(),
    compact: () => this.runs.compact(),
    rights: () => this.ends.due(),
    push: () => this.people.notices.due(),
    removal: async () => {
      if ((await this.access.find()) === null) await this.remove()
      else this.alarms.clear('removal')
    },
  }
}

/** Whether these messages of the active branch reach back to the first. */
const isWhole = (messages: Message[]): boolean => (messages[0]?.parent_id ?? null) === null

import { expect } from 'vitest'
import type { Ordered } from '../../../src/domains/chat/room/runs/order'
import type { PostedMessage } from '../../../src/domains/chat/room/verbs'
import { Problem } from '../../../src/lib/problem'
import { type Event, EventReader, sleep } from '../kit'
import { type Follower, PageFollower, SocketFollower, SseFollower } from './clients'
import { placeOf, type Seen } from './picture'
import { asked, type Place } from './place'
import { below, oneOf, questionOf, type Random, random } from './script'
import { expectPicture, expectTruth, indexOf, type Truth, truthOf } from './truth'

// One schedule: what happens to one chat, one act after the other, as a seed says.

/** A sender’s own stream of one run, read to its end or to where it broke. */
type Sent = { events: Event[]; reading: Promise<void>; ended: boolean; broken: boolean }

export class Schedule {
  readonly acts: string[] = []
  readonly next: Random
  private readonly followers: Follower[]
  private readonly sent: Sent[] = []
  /** Messages that have a name of the client’s. */
  private readonly named: { client_message_id: string; content: string }[] = []
  private stops = 0

  constructor(
    readonly place: Place,
    readonly seed: number,
    /** The seed of those that were played with it. */
    readonly together: number,
  ) {
    this.next = random(seed)
    place.announces = this.next() < 0.1
    this.followers = [
      new SseFollower(place),
      new SocketFollower(place, true),
      new SocketFollower(place, false),
      new PageFollower(place),
      new SseFollower(place),
    ]
  }

  /** The first life of the chat’s object, and those who follow from the beginning. */
  async begin(): Promise<void> {
    await this.place.furnish()
    for (const follower of this.followers) if (this.next() < 0.6) await follower.connect()
  }

  /** What may happen, by how often. */
  private readonly possible: [weight: number, name: string, act: () => Promise<void>][] = [
    [5, 'send', () => this.send('stream')],
    [2, 'send and go', () => this.send('started')],
    [2, 'send at once', () => this.sendTwice()],
    [2, 'send again', () => this.repeat()],
    [2, 'regenerate', () => this.order('regenerate')],
    [2, 'edit', () => this.order('edit')],
    [1, 'send below', () => this.order('send')],
    [1, 'change', () => this.change()],
    [2, 'choose branch', () => this.choose()],
    [1, 'rate', () => this.rate()],
    [3, 'stop', () => this.stop()],
    [3, 'cut', async () => oneOf(this.next, this.followers)?.cut()],
    [6, 'connect', () => this.connect()],
    [1, 'foreign cursor', () => this.connectFrom(oneOf(this.next, ['e9-1', 'e1-99999', 'e0-3', 'e2-0']))],
    [1, 'resume', () => this.resume()],
    [2, 'pause', async () => oneOf(this.next, this.followers)?.pause(true)],
    [2, 'unpause', async () => oneOf(this.next, this.followers)?.pause(false)],
    [3, 'poll', () => this.poll()],
    [1, 'sleep', () => this.place.sleep()],
    [2, 'evict', () => this.evict()],
    [4, 'kill', () => this.place.kill()],
    [1, 'join', () => this.place.join()],
    [6, 'wait', () => sleep(below(this.next, 8))],
  ]

  /** Does one thing. */
  async step(): Promise<void> {
    const all = this.possible.reduce((sum, [weight]) => sum + weight, 0)
    let roll = this.next() * all
    for (const [weight, name, act] of this.possible) {
      roll -= weight
      if (roll >= 0) continue
      this.acts.push(name)
      await act()
      break
    }
    this.check()
  }

  private check(): void {
    const [failure] = this.place.failures
    if (failure) throw failure
  }

  private async connect(): Promise<void> {
    const follower = oneOf(this.next, this.followers)
    if (follower && (!follower.connected || this.next() < 0.3)) await follower.connect()
  }

  private async connectFrom(cursor = ''): Promise<void> {
    const follower = oneOf(this.next, this.followers)
    if (follower && !(follower instanceof PageFollower)) await follower.connect(cursor)
  }

  /** While a stream of a run is open, nothing is evicted. */
  private async evict(): Promise<void> {
    if (this.sent.every(({ ended }) => ended)) await this.place.evict()
  }

  private async resume(): Promise<void> {
    for (const one of this.followers) if (one instanceof SocketFollower) one.resume()
  }

  private async poll(): Promise<void> {
    for (const one of this.followers)
      if (one instanceof PageFollower) await one.poll(1 + below(this.next, 12))
  }

  private async send(answer: 'stream' | 'started'): Promise<void> {
    const content = questionOf(below(this.next, 1e9))
    const client_message_id = `m${this.named.length}`
    const named = this.next() < 0.5
    if (named) this.named.push({ client_message_id, content })
    await this.post({ kind: 'send', content, ...(named ? { client_message_id } : {}) }, answer)
  }

  private async sendTwice(): Promise<void> {
    const client_message_id = `m${this.named.length}`
    const message = { kind: 'send' as const, content: questionOf(below(this.next, 1e9)), client_message_id }
    this.named.push(message)
    const runs = await Promise.all([this.post(message, 'stream'), this.post(message, 'started')])
    // One of them may have come while the answer before was still being written, and the other not.
    expect(new Set(runs.filter((run) => run !== null)).size).toBeLessThanOrEqual(1)
  }

  private async repeat(): Promise<void> {
    const message = oneOf(this.next, this.named)
    if (message) await this.post({ kind: 'send', ...message }, 'stream')
  }

  /** A message that one of the clients sees. */
  private seen(...roles: string[]): Seen | undefined {
    const all = this.followers.flatMap(({ picture }) => [...picture.messages.values()])
    return oneOf(
      this.next,
      all.filter(({ role }) => roles.includes(role)),
    )
  }

  /** Another answer, a question put differently, or a message below any that there is. */
  private async order(kind: 'regenerate' | 'edit' | 'send'): Promise<void> {
    const named = this.seen('user', ...(kind === 'edit' ? [] : ['assistant']))
    const content = questionOf(below(this.next, 1e9))
    if (!named) return
    const answer = this.next() < 0.7 ? 'stream' : 'started'
    if (kind === 'send') await this.post({ kind, content, parent_id: named.id }, answer)
    else if (kind === 'edit') await this.post({ kind, content, message_id: named.id }, answer)
    else await this.post({ kind, message_id: named.id }, answer)
  }

  /** Other words where a message stands, or beside an answer. */
  private async change(): Promise<void> {
    const named = this.seen('user', 'assistant')
    const in_place = named?.role === 'user' || this.next() < 0.5
    const content = questionOf(below(this.next, 1e9))
    if (named) await this.unlessBusy(asked(this.place, 'edit', { message_id: named.id, content, in_place }))
  }

  private async choose(): Promise<void> {
    const named = this.seen('user', 'assistant')
    if (named) await this.unlessBusy(asked(this.place, 'activate', { message_id: named.id }))
  }

  private async rate(): Promise<void> {
    const named = this.seen('assistant')
    const rating = oneOf(this.next, ['up', 'down', null] as const) ?? null
    const comment = rating && this.next() < 0.5 ? 'so it is' : null
    if (named) await asked(this.place, 'giveFeedback', { message_id: named.id, rating, comment })
  }

  private async unlessBusy(work: Promise<unknown>): Promise<void> {
    await work.catch((error: unknown) => {
      if (!(error instanceof Problem) || error.code !== 'run_in_progress') throw error
    })
  }

  /** The run that the order began or had begun; null where another one went on. */
  private async post(input: Ordered, answer: 'stream' | 'started'): Promise<string | null> {
    const { call, object } = this.place
    const body = JSON.stringify({ call, input, answer, format: 'events' } satisfies PostedMessage)
    const response = await object.fetch(new Request('http://room/messages', { method: 'POST', body }))
    if (response.status !== 200) {
      const { code, message } = await response.json<{ code: string; message: string }>()
      expect(code, message).toBe('run_in_progress')
      return null
    }
    if (answer === 'started') return (await response.json<{ run_id: string }>()).run_id
    const sent: Sent = { events: [], ended: false, broken: false, reading: Promise.resolve() }
    sent.reading = this.read(new EventReader(response.body), sent)
    this.sent.push(sent)
    return this.runOf(input)
  }

  /** The run of a message with a name. */
  private async runOf({ client_message_id }: Ordered): Promise<string | null> {
    if (client_message_id === undefined) return ''
    return this.place.inObject((object) => {
      const room = Reflect.get(object, 'room')
      return room.conversation.runOf(this.place.person.user.id, client_message_id)?.id ?? null
    })
  }

  private async read(reader: EventReader, sent: Sent): Promise<void> {
    try {
      for (let event = await reader.next(); event; event = await reader.next()) sent.events.push(event)
    } catch {
      sent.broken = true
    }
    sent.ended = true
  }

  /** Several tabs stop at once: one of them does, the others see that it is done. */
  private async stop(): Promise<void> {
    const input = { run_id: this.next() < 0.2 ? crypto.randomUUID() : undefined }
    const tabs = 1 + below(this.next, 3)
    const answers = await Promise.all(Array.from({ length: tabs }, () => asked(this.place, 'stop', input)))
    const stopped = answers.filter((answer) => answer.stopped)
    expect(stopped.length).toBeLessThanOrEqual(1)
    if (input.run_id) expect(stopped).toEqual([])
    this.stops += stopped.length
  }

  /** Ends what goes on, brings everyone to the end of the log, and looks whether all agree. */
  async settle(): Promise<void> {
    await asked(this.place, 'stop', { run_id: undefined })
    const truth = await truthOf(this.place, 10 + below(this.next, 50))
    expectTruth(this.place, truth)
    const end = truth.log.at(-1)?.id
    for (const follower of this.followers) {
      if (end) await follower.reached(end)
      this.check()
      if (end) expectPicture(this.place, follower.picture, truth)
      await follower.cut()
    }
    await this.settleSent(truth)
    this.check()
    const stopped = truth.messages.filter(({ status }) => status === 'stopped').length
    expect(stopped).toBeGreaterThanOrEqual(this.stops)
  }

  private async settleSent(truth: Truth): Promise<void> {
    for (const { events, reading, broken } of this.sent) {
      const late = sleep(5_000).then(() => 'late')
      expect(await Promise.race([reading, late]), 'a stream of a run does not end').toBeUndefined()
      const seqs = events.map(({ id }) => (id === null ? null : placeOf(id).seq))
      const numbers = seqs.filter((seq) => seq !== null)
      expect(numbers).toEqual(numbers.toSorted((a, b) => a - b))
      const ends = events.filter(({ type }) => type === 'done' || type === 'error')
      const last = events.at(-1)
      if (ends.length === 0) {
        // Cut off by a kill.
        expect(broken || this.acts.includes('kill')).toBe(true)
        continue
      }
      expect(ends).toEqual([last])
      const text = events.map(({ type, data }) => (type === 'message' ? data.content : '')).join('')
      const stored = truth.messages.find(({ id }) => id === last?.data.message_id)
      if (stored?.metadata.edited_at === undefined) expect(text).toBe(stored?.content)
    }
  }
}

/** Several chats side by side, each with a schedule of its own. */
export async function playTogether(places: Place[], seed: number, steps: number): Promise<void> {
  const schedules = places.map((place, i) => new Schedule(place, seed + i, seed))
  const play = async (schedule: Schedule) => {
    await schedule.begin()
    for (let step = 0; step < steps; step += 1) await schedule.step()
    await schedule.settle()
    await indexed(schedule)
  }
  await Promise.all(schedules.map((one) => told(one, () => play(one))))
}

/** The list of chats has come to where the log is. */
async function indexed({ place }: Schedule): Promise<void> {
  if (!place.announces) return
  await place.inObject((object) => Reflect.get(object, 'room').outbox.deliver())
  const { seq, messages } = await asked(place, 'read')
  const row = (await indexOf([place])).get(place.id)
  if (seq > 0) expect(row).toMatchObject({ last_seq: seq })
  expect(messages.length).toBeLessThanOrEqual(row?.message_count ?? 0)
}

/** What fails says which schedule it was, and what had happened by then. */
async function told(schedule: Schedule, work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (cause) {
    const words = cause instanceof Error ? cause.message : String(cause)
    const how = `SCHEDULE_SEED=${schedule.together} plays it again; it did: ${schedule.acts.join(', ')}`
    throw new Error(`schedule ${schedule.seed}: ${words}\n${how}`, { cause })
  }
}

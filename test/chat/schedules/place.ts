import { env } from 'cloudflare:workers'
import type { UpstreamMessage } from '../../../src/domains/chat/agents/upstreams/upstream'
import type { Asked, AskedInput, AskedOutput } from '../../../src/domains/chat/room/asked'
import type { Caller } from '../../../src/domains/chat/room/caller'
import type { ChatRoom } from '../../../src/domains/chat/room/object'
import type { Crowd } from '../../../src/domains/chat/room/readers/crowd'
import { resultOf } from '../../../src/domains/chat/room/refusal'
import type { Room } from '../../../src/domains/chat/room/room'
import type { Call, RoomVerbs } from '../../../src/domains/chat/room/verbs'
import { TestChat } from '../kit'
import { scripted } from './script'

/** So soon that a schedule is over in the blink of an eye: a frame every 2 ms, a row every 6. */
const TIMINGS = { frameMs: 2, rowMs: 6 }

/**
 * Readers are served by lanes as soon as anything is said, one after the other, and by their sockets soon again; two are a
 * crowd that is given together what is said meanwhile.
 */
const LANES = { from: 1, stepMs: 1, quietMs: 15, crowdFrom: 2 }

const UNCOUNTED = { admit: async <T>(open: () => T) => open(), tell: async () => {} }
const UNMEASURED = { of: () => () => {} }

const crowdOf = (object: ChatRoom): Crowd => roomIn(object).audience.crowd

/** One chat of a schedule, reached as the Worker reaches it once it has let somebody in. */
export class Place extends TestChat {
  /** What each run was told. */
  readonly told = new Map<string, UpstreamMessage[]>()
  /** Whether text was ever joined: then numbers are skipped when the log is read. */
  joined = false
  readonly failures: Error[] = []
  /** Whether D1 and the Meter hear of it meanwhile; where not, a schedule takes half the time. */
  announces = true

  get call(): Call {
    const { user, session_id } = this.person
    const caller: Caller = {
      key: `user:${user.id}:${session_id}`,
      kind: 'user',
      id: user.id,
      user_id: user.id,
      session_id,
      role: user.role,
      scopes: ['chats:read', 'chats:write'],
    }
    return { ...this.ids, caller, traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01` }
  }

  get object(): RoomVerbs {
    return env.CHATS.getByName(this.name) as unknown as RoomVerbs
  }

  fail(error: Error): void {
    this.failures.push(error)
  }

  /** Begins a life of the object with the scripted agent; where a run goes on that is only done after a kill. */
  furnish(): Promise<void> {
    return this.inObject((object) => this.replace(object))
  }

  /** Lets the object go to sleep and wake, unless it answers. */
  sleep(): Promise<void> {
    return this.inObject(async (object) => {
      if (roomIn(object).runs.going === null && !crowdOf(object).waits) await this.replace(object)
    })
  }

  /** The object is evicted, be it in mid-answer: what it had in memory is lost, and sockets stay open. */
  evict(): Promise<void> {
    return this.inObject(async (object) => {
      // What a crowd waits for is a timer, with which no object sleeps; after an answer that was cut off all begin anew.
      if (roomIn(object).runs.going === null && crowdOf(object).waits) return
      this.silence(object)
      await this.replace(object)
    })
  }

  /**
   * The object is killed: what it had in memory is lost, and whoever was connected is cut off. (The runtime’s own way to
   * do that, which test/chat/room-crash.test.ts goes, falls over itself when it is gone some hundred times.)
   */
  kill(): Promise<void> {
    return this.inObject((object, state) => {
      this.silence(object)
      for (const reader of Reflect.get(roomIn(object).audience, 'readers')) reader.leave()
      for (const lane of Reflect.get(object, 'lanes').open.values()) lane.leave()
      for (const socket of state.getWebSockets()) socket.close(1011, 'killed')
      return this.replace(object)
    })
  }

  /** Nothing that the room had under way has any effect from now on. */
  private silence(object: ChatRoom): void {
    clearTimeout(Reflect.get(crowdOf(object), 'timer'))
    const { run, refresh } = Reflect.get(roomIn(object).runs, 'current') ?? {}
    if (!run) return
    clearInterval(refresh)
    for (const timer of ['frameTimer', 'rowTimer']) clearTimeout(Reflect.get(run, timer))
    Reflect.set(run, 'over', true)
    Reflect.get(run, 'controller').abort()
  }

  /** Puts a room in the place of the one there was, which has delivered all it had and does nothing any more. */
  private async replace(object: ChatRoom): Promise<void> {
    const { outbox } = roomIn(object)
    if (this.announces) await outbox.deliver()
    outbox.deliver = async () => {}
    // Whatever it was just doing for a connection, as a frame that had come, says nothing there any more.
    for (const reader of Reflect.get(object, 'sockets').values())
      Object.assign(reader, { over: true, send: () => {} })
    const room = object.furnish(this.ids, {
      timings: TIMINGS,
      upstreamOf: () => scripted(this.told),
      firstAckMs: 300,
      lanes: LANES,
    })
    if (this.announces) return
    room.outbox.deliver = async () => {}
    Object.assign(object, { streams: UNCOUNTED, usage: UNMEASURED })
  }

  /** Lets a day pass: the texts of answers that have ended are joined. */
  async join(): Promise<void> {
    await this.inObject((object) => {
      const { conversation, log, store } = roomIn(object)
      if (!store.exists) return
      conversation.compact(log, Date.now() + 1)
      this.joined ||= Number(store.get('trimmed') ?? 0) > 0
    })
  }
}

export const roomIn = (object: ChatRoom): Room => Reflect.get(object, 'room') as Room

/** Asks the chat’s object; a refusal is thrown. */
export async function asked<K extends Asked>(
  place: Place,
  verb: K,
  ...input: AskedInput<K>
): Promise<AskedOutput<K>> {
  return resultOf(await place.object.ask(place.call, verb, ...input))
}

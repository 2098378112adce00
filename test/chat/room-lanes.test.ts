import { afterEach, describe, expect, it, vi } from 'vitest'
import { upstreamOf } from '../../src/domains/chat/agents/upstreams/choose'
import { frameOf, type RoomEvent } from '../../src/domains/chat/room/log/protocol'
import type { Audience } from '../../src/domains/chat/room/readers/audience'
import { Crowd } from '../../src/domains/chat/room/readers/crowd'
import { Lane } from '../../src/domains/chat/room/readers/lane'
import { QUEUE_BYTES } from '../../src/domains/chat/room/readers/pipe'
import type { Reader } from '../../src/domains/chat/room/readers/reader'
import { streamOver } from '../../src/domains/chat/room/readers/stream'
import { TIMINGS } from '../../src/domains/chat/room/runs/run'
import { GONE } from '../../src/domains/realtime/rights'
import { utf8 } from '../../src/lib/encoding'
import { call, makeWorld } from '../world'
import { chatWith, EventReader, eventually, Gate, sleep, type TestChat, textOf } from './kit'

// Many readers of server-sent events are served by streams of their own while an answer is written.

const READERS = 20
const QUIET_MS = 1_000

/** How many lanes the chat’s object has open. */
const lanesOf = (chat: TestChat) =>
  chat.inObject((object) => (object as unknown as { lanes: { size: number } }).lanes.size)

/** A chat whose lanes open and end sooner than in earnest. */
async function hotChat(gate: Gate): Promise<TestChat> {
  const chat = await chatWith(await makeWorld(), { name: 'Gate', webhook_url: gate.url })
  await chat.inObject(
    (object) =>
      void object.furnish(chat.ids, {
        ...{ timings: { ...TIMINGS, frameMs: 5 }, upstreamOf, lanes: { quietMs: QUIET_MS, stepMs: 2 } },
      }),
  )
  return chat
}

/** Reads all that comes, as a browser does, until the stream ends. */
class Follower {
  readonly done: Promise<void>

  constructor(readonly reader: EventReader) {
    this.done = reader.rest().then(() => {})
  }

  get text(): string {
    return textOf(this.reader.seen)
  }

  get ids(): string[] {
    return this.reader.seen.slice(1).flatMap(({ id }) => id ?? [])
  }
}

async function followers(chat: TestChat, count = READERS): Promise<Follower[]> {
  const readers: Follower[] = []
  for (let i = 0; i < count; i += 1) readers.push(new Follower(await chat.follow()))
  return readers
}

/** Has the agent say so many words one by one. */
async function words(gate: Gate, from: number, count: number): Promise<string> {
  let said = ''
  for (let n = from; n < from + count; n += 1) {
    await gate.say(`word${n} `)
    said += `word${n} `
    await sleep(8)
  }
  return said
}

/** Has it speak until so many lanes are open. */
async function wordsUntil(chat: TestChat, gate: Gate, lanes: number): Promise<string> {
  let said = ''
  for (let n = 0; n < 300; n += 10) {
    said += await words(gate, 1000 + n, 10)
    if ((await lanesOf(chat)) === lanes) return said
  }
  throw new Error(`${await lanesOf(chat)} lanes are open, not ${lanes}`)
}

async function begin(chat: TestChat, gate: Gate): Promise<void> {
  const started = await chat.post({ content: 'go' }, { Prefer: 'respond-async' })
  expect(started.status).toBe(202)
  await eventually(() =>
    gate.say('').then(
      () => true,
      () => false,
    ),
  )
}

describe('many readers', () => {
  it('are given every event once and in order, by lanes and by sockets in turn', async () => {
    const gate = new Gate()
    const chat = await hotChat(gate)
    const all = await followers(chat)
    await begin(chat, gate)
    let text = await wordsUntil(chat, gate, READERS)
    text += await words(gate, 30, 30)
    // It falls quiet in mid-answer: what comes next comes by the sockets, and then by new lanes.
    await eventually(async () => (await lanesOf(chat)) === 0)
    text += await wordsUntil(chat, gate, READERS)
    text += await words(gate, 90, 5)
    await gate.end()
    await eventually(() => all.every(({ reader }) => reader.seen.at(-1)?.type === 'done'))
    const ids = (await chat.log()).map(({ id }) => id)
    for (const one of all) {
      expect(one.text).toBe(text)
      expect(one.ids.filter((id, i) => one.ids.indexOf(id) !== i)).toEqual([])
      expect(one.ids).toEqual(ids.slice(-one.ids.length))
      expect(one.reader.seen.filter(({ type }) => type === 'reset')).toEqual([])
    }
    expect(new Set(all.map(({ ids }) => ids.join())).size).toBe(1)
  }, 30_000)

  it('are none of its business while they are few', async () => {
    const gate = new Gate()
    const chat = await hotChat(gate)
    const few = await followers(chat, 4)
    await begin(chat, gate)
    await words(gate, 0, 30)
    expect(await lanesOf(chat)).toBe(0)
    await gate.end()
    await eventually(() => few.every(({ reader }) => reader.seen.at(-1)?.type === 'done'))
  }, 30_000)

  it('let the object sleep when the chat is quiet', async () => {
    const gate = new Gate()
    const chat = await hotChat(gate)
    const all = await followers(chat)
    await begin(chat, gate)
    await wordsUntil(chat, gate, READERS)
    await gate.end()
    await eventually(async () => (await lanesOf(chat)) === 0)
    await sleep(100)
    const timer = await chat.inObject(
      (object) => (object as unknown as { lanes: { timer: unknown } }).lanes.timer,
    )
    expect(timer).toBeNull()
    // The streams are still there.
    await begin(chat, gate)
    await words(gate, 0, 2)
    await eventually(() => all.every((one) => one.text.endsWith('word1 ')))
    await gate.end()
  }, 30_000)

  it('lose their lanes with the right to read, and what waits in them', async () => {
    const gate = new Gate()
    const chat = await hotChat(gate)
    const all = await followers(chat)
    await begin(chat, gate)
    await wordsUntil(chat, gate, READERS)
    const gone = await call('DELETE', chat.path, { token: chat.person.token })
    expect(gone.status).toBe(204)
    await Promise.all(all.map(({ done }) => done))
    expect(await lanesOf(chat)).toBe(0)
  }, 30_000)

  it('who leave are forgotten', async () => {
    const gate = new Gate()
    const chat = await hotChat(gate)
    const streams = []
    for (let i = 0; i < READERS; i += 1) streams.push(await chat.follow())
    const rest = new Follower(await chat.follow())
    await begin(chat, gate)
    await wordsUntil(chat, gate, READERS + 1)
    await Promise.all(streams.map((stream) => stream.leave()))
    await words(gate, 30, 10)
    await eventually(async () => (await lanesOf(chat)) <= 1)
    await words(gate, 40, 1)
    await eventually(() => rest.text.endsWith('word40 '))
    await gate.end()
  }, 30_000)
})

describe('a crowd', () => {
  const crowdIn = (object: object): Crowd => (object as { room: { audience: Audience } }).room.audience.crowd

  /** A chat in which three are a crowd, and `from` readers are served by lanes. */
  async function crowded(gate: Gate, from: number): Promise<TestChat> {
    const chat = await chatWith(await makeWorld(), { name: 'Gate', webhook_url: gate.url })
    await chat.inObject(
      (object) =>
        void object.furnish(chat.ids, {
          ...{ timings: { ...TIMINGS, frameMs: 2 }, upstreamOf },
          lanes: { from, stepMs: 2, quietMs: QUIET_MS, crowdFrom: 3 },
        }),
    )
    return chat
  }

  /** An answer that four follow, whose word never comes back. */
  async function waiting(gate: Gate) {
    const chat = await crowded(gate, 1_000)
    await chat.inObject((object) => {
      crowdIn(object).heard = () => {}
    })
    const all = await followers(chat, 4)
    await begin(chat, gate)
    return { chat, all }
  }

  it('is given every event once and in order, by fewer messages, while it comes and goes', async () => {
    const gate = new Gate()
    const chat = await crowded(gate, READERS + 5)
    let messages = 0
    await chat.inObject((object) => {
      const crowd = crowdIn(object)
      const { sent, heard } = Crowd.prototype
      crowd.sent = (reader) => {
        messages += 1
        sent.call(crowd, reader)
      }
      // The word is back late, as it is where there are thousands.
      crowd.heard = (from) => void setTimeout(() => heard.call(crowd, from), 30)
    })
    const all = await followers(chat)
    await begin(chat, gate)
    let text = await words(gate, 0, 30)
    // Ten more come while something is waited for, and then there are enough for lanes.
    all.push(...(await followers(chat, 10)))
    text += await words(gate, 30, 60)
    await eventually(async () => (await lanesOf(chat)) === READERS + 10)
    text += await words(gate, 90, 20)
    await eventually(async () => (await lanesOf(chat)) === 0)
    text += await words(gate, 110, 20)
    await gate.end()
    await eventually(() => all.every(({ reader }) => reader.seen.at(-1)?.type === 'done'))
    const ids = (await chat.log()).map(({ id }) => id)
    for (const one of all.slice(0, READERS)) expect(one.text).toBe(text)
    for (const one of all) {
      expect(one.ids).toEqual(ids.slice(-one.ids.length))
      expect(one.reader.seen.filter(({ type }) => type === 'reset')).toEqual([])
    }
    expect(messages).toBeGreaterThan(READERS)
    // Eighty words or so came by sockets.
    expect(messages).toBeLessThan(READERS * 40)
  }, 30_000)

  it('is told to the end of a chat that is deleted meanwhile, and of an edit at once', async () => {
    const gate = new Gate()
    const { chat, all } = await waiting(gate)
    const text = await words(gate, 0, 5)
    await gate.end()
    await eventually(async () => (await chat.log()).at(-1)?.type === 'done')
    const question = (await chat.log()).find(({ type }) => type === 'message.created')
    const id = String(Reflect.get(question?.data ?? {}, 'id'))
    const edited = await call('PATCH', `${chat.path}/messages/${id}`, {
      ...{ token: chat.person.token, body: { content: 'went', in_place: true } },
    })
    expect(edited.status).toBe(200)
    const readers = all.map(({ reader }) => reader)
    await eventually(() => readers.every(({ seen }) => seen.at(-1)?.type === 'message.updated'))
    expect(all.map((one) => one.text)).toEqual(all.map(() => text))
    // What waits now is given before the end.
    expect(
      (await call('PATCH', chat.path, { token: chat.person.token, body: { title: 'Over' } })).status,
    ).toBe(200)
    expect((await call('DELETE', chat.path, { token: chat.person.token })).status).toBe(204)
    await Promise.all(all.map(({ done }) => done))
    expect(readers.map(({ seen }) => seen.at(-1)?.type)).toEqual(all.map(() => 'title'))
  }, 30_000)

  it('gives what it owes to nobody whose right was lost meanwhile', async () => {
    const gate = new Gate()
    const { chat, all } = await waiting(gate)
    await words(gate, 0, 3)
    await chat.inObject((object) => {
      const { audience, rights } = (object as unknown as { room: { audience: Audience; rights: object } })
        .room
      const sent: number[] = []
      const readers = [...(Reflect.get(audience, 'readers') as Set<Reader>)]
      for (const reader of readers) reader.takeTogether = (frames) => void sent.push(frames.length)
      const owed = (seq: number) => ({
        event: { seq, type: 'title', data: { title: 'x' } } as RoomEvent,
        frames: [frameOf(null, 'title', { title: 'x' })],
      })
      audience.crowd.owe([owed(1_000_000)])
      for (const reader of readers) audience.settle(reader)
      expect(sent.length).toBe(4)
      sent.length = 0
      audience.crowd.owe([owed(1_000_001)])
      Reflect.set(rights, 'of', () => null)
      for (const reader of readers) audience.settle(reader)
      expect(readers.every(({ backlog }) => backlog !== null)).toBe(true)
      Reflect.set(rights, 'of', () => GONE)
      for (const reader of readers) {
        reader.backlog = null
        audience.settle(reader)
      }
      expect([sent, Reflect.get(audience, 'readers').size]).toEqual([[], 0])
    })
    await Promise.all(all.map(({ done }) => done))
    await gate.end()
  }, 30_000)

  /** One that is told the time, and what it lets go. */
  function crowd() {
    vi.useFakeTimers({ now: 1_000_000 })
    const gone: number[] = []
    let echoes = 0
    const one = new Crowd((owed) => void gone.push(...owed.map(({ event }) => event.seq)), 2)
    const reader = { echo: () => void echoes++ } as unknown as Reader
    const say = (readers: number) => {
      for (let i = 0; i < readers; i++) one.sent(reader)
      one.allSent()
    }
    const owe = (seq: number) => one.owe([{ event: { seq } as RoomEvent, frames: [] }])
    return { one, reader, gone, say, owe, echoes: () => echoes }
  }
  afterEach(() => void vi.useRealTimers())

  it('waits until the word is back, and as long again', () => {
    const { one, reader, gone, say, owe, echoes } = crowd()
    say(1)
    expect([one.waits, echoes()]).toEqual([false, 0])
    say(2)
    expect([one.waits, echoes()]).toEqual([true, 1])
    owe(1)
    vi.advanceTimersByTime(200)
    owe(2)
    one.heard({} as Reader)
    one.heard(reader)
    vi.advanceTimersByTime(199)
    expect([one.waits, gone]).toEqual([true, []])
    vi.advanceTimersByTime(1)
    expect([one.waits, gone]).toEqual([false, [1, 2]])
  })

  it('waits for a second, and no longer, whatever becomes of the word', () => {
    const { one, reader, gone, say, owe } = crowd()
    say(2)
    owe(1)
    vi.advanceTimersByTime(999)
    expect(gone).toEqual([])
    vi.advanceTimersByTime(1)
    expect(gone).toEqual([1])
    // One that comes late says nothing.
    one.heard(reader)
    say(2)
    owe(2)
    vi.advanceTimersByTime(900)
    one.heard(reader)
    vi.advanceTimersByTime(100)
    expect(gone).toEqual([1, 2])
    expect(vi.getTimerCount()).toBe(0)
  })

  it('has no more wait than a Worker holds for its reader', () => {
    const { one, say } = crowd()
    say(2)
    const printed = {
      event: { seq: 1 } as RoomEvent,
      frames: [frameOf('e1-1', 'title', { title: 'x'.repeat(60_000) })],
    }
    expect([one.owe([printed]), one.owe([printed]), one.owe([printed])]).toEqual([false, false, true])
    one.go()
    expect([one.waits, one.waiting, one.owe([printed])]).toEqual([false, [], false])
  })
})

describe('a lane', () => {
  const bytes = (size: number) => new Uint8Array(size)
  function lane() {
    const told = { drained: 0, broken: 0, counted: 0 }
    const one = new Lane({
      drained: () => void told.drained++,
      broken: () => void told.broken++,
      count: (sent) => {
        told.counted += sent
      },
    })
    return { one, told, reader: one.readable.getReader() }
  }

  it('keeps what was not taken, up to 256 KiB, and gives it as one', async () => {
    const { one, told, reader } = lane()
    const first = reader.read()
    await eventually(() => told.drained === 1)
    expect(one.offer(bytes(10))).toBe(true)
    expect((await first).value?.byteLength).toBe(10)
    expect(one.offer(bytes(QUEUE_BYTES - 1))).toBe(true)
    expect(one.offer(bytes(1))).toBe(true)
    expect(one.offer(bytes(1))).toBe(false)
    expect((await reader.read()).value?.byteLength).toBe(QUEUE_BYTES)
    expect(one.offer(bytes(1))).toBe(true)
    one.look()
    expect(told.counted).toBe(10 + QUEUE_BYTES + 1)
  })

  it('ends after what it holds, or without it', async () => {
    const kept = lane()
    kept.one.offer(utf8('kept'))
    kept.one.end()
    expect(new TextDecoder().decode((await kept.reader.read()).value)).toBe('kept')
    expect((await kept.reader.read()).done).toBe(true)
    const dropped = lane()
    dropped.one.offer(utf8('dropped'))
    dropped.one.end(true)
    expect((await dropped.reader.read()).done).toBe(true)
    expect([kept.told.broken, dropped.told.broken]).toEqual([0, 0])
  })

  it('tells how long its reader has taken nothing', async () => {
    const { one, reader } = lane()
    one.offer(bytes(1))
    expect([one.look(), one.look(), one.look()]).toEqual([1, 2, 3])
    await reader.read()
    const next = reader.read()
    expect(one.look()).toBe(0)
    one.end()
    expect((await next).done).toBe(true)
  })
})

describe('the Worker that holds a stream', () => {
  const event = (n: number) => utf8(`id: e1-${n}\ndata: {"type":"message","data":{"content":"x"}}\n\n`)
  function held(lane: (id: string) => Promise<ReadableStream<Uint8Array> | null>, queueBytes?: number) {
    const { 0: client, 1: server } = new WebSocketPair()
    server.accept()
    const heard: string[] = []
    server.addEventListener('message', ({ data }) => void heard.push(String(data)))
    const options = { lane, ...(queueBytes === undefined ? {} : { queueBytes }) }
    return { server, heard, reader: new EventReader(streamOver(client, null, options)) }
  }
  const laneOf = (...events: Uint8Array[]) =>
    new ReadableStream<Uint8Array>({
      start: (controller) => {
        for (const one of events) controller.enqueue(one)
        controller.close()
      },
    })

  it('passes the lane on in its turn, and then the socket again', async () => {
    const { server, reader } = held(async (id) => {
      expect(id).toBe('word')
      return laneOf(event(3), event(4))
    })
    server.send(event(1))
    server.send('lane:word')
    server.send(event(2))
    server.send('turn')
    server.send(event(5))
    const ids = []
    for (let i = 0; i < 5; i += 1) ids.push((await reader.next())?.id)
    expect(ids).toEqual(['e1-1', 'e1-2', 'e1-3', 'e1-4', 'e1-5'])
    server.close(1000)
    expect(await reader.rest()).toEqual([])
  })

  it('says a word back as it comes, before its client has what came before', async () => {
    const { server, heard } = held(async () => null)
    for (let n = 1; n <= 5; n += 1) server.send(event(n))
    server.send('echo')
    await eventually(() => heard.includes('echo'))
    expect(heard).toEqual(['echo'])
  })

  it('breaks off where the lane it turned to is not there, so that its client comes again', async () => {
    const { server, reader } = held(async () => null)
    const closed = new Promise<number>((resolve) =>
      server.addEventListener('close', ({ code }) => resolve(code)),
    )
    server.send('lane:word')
    server.send('turn')
    await expect(reader.rest()).rejects.toThrow()
    expect(await closed).toBe(1000)
  })

  it('lets a lane be while it has dropped something, and asks for the chat as it stands', async () => {
    let cancelled = false
    const { server, heard, reader } = held(
      async () =>
        new ReadableStream({
          cancel: () => {
            cancelled = true
          },
        }),
      200,
    )
    server.send('lane:word')
    for (let n = 1; n <= 20; n += 1) server.send(event(n))
    server.send('turn')
    await eventually(() => cancelled)
    const next = reader.next()
    await eventually(() => heard.includes('snapshot'))
    server.send('fresh')
    server.send(event(100))
    expect((await next)?.id).toBe('e1-100')
  })
})

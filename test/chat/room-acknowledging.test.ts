import { evictDurableObject } from 'cloudflare:test'
import { describe, expect, it, vi } from 'vitest'
import { upstreamOf } from '../../src/domains/chat/agents/upstreams/choose'
import type { ChatRoom } from '../../src/domains/chat/room/object'
import type { Attachment } from '../../src/domains/chat/room/readers/attachment'
import { QUEUE_BYTES } from '../../src/domains/chat/room/readers/pipe'
import type { Room } from '../../src/domains/chat/room/room'
import { TIMINGS } from '../../src/domains/chat/room/runs/run'
import { newId } from '../../src/lib/ids'
import { makeWorld } from '../world'
import {
  chatWith,
  type Event,
  eventually,
  type Gate,
  gatedChat,
  type Socket,
  sleep,
  type TestChat,
  textOf,
} from './kit'

const echo = { name: 'Echo', kind: 'echo' }
/** No more than an event is missing from a window that is full. */
const FULL = QUEUE_BYTES - 4096

/** Text in which nothing can be missing or double without being seen. */
const numbered = (bytes: number, from = 0) =>
  Array.from({ length: Math.ceil(bytes / 8) }, (_, i) => String(from + i).padStart(7, '0')).join(' ')

/** Lets the object wait so long for a first acknowledgement. */
const patient = (chat: TestChat, firstAckMs: number) =>
  chat.inObject(
    (object: ChatRoom) => void object.furnish(chat.ids, { timings: TIMINGS, upstreamOf, firstAckMs }),
  )

/** Waits until no more comes. */
async function quiet(socket: Socket): Promise<void> {
  for (let bytes = -1; bytes !== socket.bytes; await sleep(150)) bytes = socket.bytes
}

/** Has the chat’s agent answer `text`, in pieces that no quick reader is too slow for. */
async function answer(chat: TestChat, gate: Gate, text: string): Promise<void> {
  const rest = (await chat.send('Hello')).rest()
  for (let at = 0; at < text.length; at += 32 * 1024) {
    await gate.say(text.slice(at, at + 32 * 1024))
    await sleep(5)
  }
  await gate.end()
  await rest
}

/** A long answer as the newest message, of which the log has no pieces. */
const fill = (chat: TestChat, content: string) =>
  chat.inObject((object: ChatRoom) => {
    const { log, conversation } = (object as unknown as { room: Room }).room
    const now = Date.now()
    const base = { run_id: null, attachments: [], metadata: {}, timestamp: new Date(now).toISOString() }
    const ids = { id: newId(now), parent_id: conversation.leaf }
    log.append(now, 'message.created', { ...base, ...ids, role: 'assistant', content, status: 'complete' })
  })

const seqsOf = (events: Event[]) => events.flatMap(({ id }) => (id ? [Number(id.split('-')[1])] : []))
const without = (events: Event[], ...types: string[]) => events.filter(({ type }) => !types.includes(type))

describe('a client that never acknowledges', () => {
  it('is sent 256 KiB at most, told what to do, and gets all of a long answer once by coming back', async () => {
    const { chat, gate } = await gatedChat()
    await patient(chat, 50)
    const seen: Event[] = []
    let socket = await chat.socket()
    await socket.until('snapshot')
    const sender = await chat.send('Hello')
    const text = numbered(700 * 1024)
    for (let at = 0; at < text.length; at += 64 * 1024) await gate.say(text.slice(at, at + 64 * 1024))
    await gate.end()
    let connections = 1
    for (; connections < 10; connections += 1) {
      const closed = await Promise.race([
        socket.closed,
        socket.until('done').then(
          () => null,
          () => socket.closed,
        ),
      ])
      expect(socket.bytes).toBeLessThanOrEqual(QUEUE_BYTES)
      seen.push(...socket.seen)
      if (!closed) break
      expect(closed).toMatchObject({ code: 4409, reason: expect.stringContaining('ack frames') })
      expect(socket.bytes).toBeGreaterThan(FULL)
      socket = await chat.socket(`?last_event_id=${seen.at(-1)?.id}`)
    }
    expect(connections).toBe(3)
    expect(textOf(seen) === text).toBe(true)
    const seqs = seqsOf(seen)
    expect(seqs).toEqual(seqs.map((_, i) => (seqs[0] ?? 0) + i))
    expect(
      without(seen, 'status')
        .filter(({ type }) => type !== 'message')
        .map(({ type }) => type),
    ).toEqual(['snapshot', 'message.created', 'message.created', 'title', 'done'])
    await sender.rest()
  })

  it('needs none below 256 KiB, however long it stays and whatever it sleeps through', async () => {
    const { chat, gate } = await gatedChat()
    await patient(chat, 0)
    const socket = await chat.socket()
    await socket.until('snapshot')
    for (let i = 0; i < 3; i += 1) {
      await answer(chat, gate, numbered(60 * 1024, i))
      await evictDurableObject(chat.stub)
    }
    await eventually(() => socket.seen.filter(({ type }) => type === 'done').length === 3)
    expect(socket.bytes).toBeGreaterThan(180 * 1024)
    expect(socket.ws.readyState).toBe(WebSocket.OPEN)
    // What was sent before it slept still counts.
    await patient(chat, 0)
    await answer(chat, gate, numbered(120 * 1024))
    expect((await socket.closed).code).toBe(4409)
    expect(socket.bytes).toBeLessThanOrEqual(QUEUE_BYTES)
    expect(socket.bytes).toBeGreaterThan(FULL - 16 * 1024)
  }, 15_000)

  it('is given the beginning of a message that is longer than that, and all that comes after it', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    await chat.exchange('Hello')
    const text = numbered(600 * 1024)
    await fill(chat, text)
    await patient(chat, 50)
    const first = await chat.socket()
    expect(await first.closed).toMatchObject({ code: 4409 })
    expect(first.bytes).toBeLessThanOrEqual(QUEUE_BYTES)
    const cut = first.seen.at(-1)
    expect(cut).toMatchObject({ type: 'message', data: { content: '', content_truncated: true } })
    const beginning = textOf(first.seen)
    expect(beginning.length).toBeGreaterThan(200 * 1024)
    expect(text.startsWith(beginning)).toBe(true)
    const second = await chat.socket(`?last_event_id=${cut?.id}`)
    await chat.exchange('And now?')
    await second.until('done')
    expect(second.seen[0]).toMatchObject({ type: 'message.created', data: { content: 'And now?' } })
    expect(textOf(second.seen)).toBe('And now?')
    expect((await chat.read()).data.messages[2]?.content === text).toBe(true)
  })

  it('begins anew where it comes back from inside a snapshot', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    await chat.exchange('Hello')
    await fill(chat, numbered(100 * 1024))
    const socket = await chat.socket('?last_event_id=e0-12')
    expect(await socket.until('reset')).toMatchObject({ id: 'e0-1' })
  })
})

describe('a client that acknowledges', () => {
  it('is held at 256 KiB, goes on with each acknowledgement, and misses nothing', async () => {
    const { chat, gate } = await gatedChat()
    const socket = await chat.socket()
    await socket.until('snapshot')
    const sender = await chat.send('Hello')
    const text = numbered(900 * 1024)
    await gate.say(text)
    await gate.end()
    await sender.until('done')
    let acknowledged = 0
    for (let rounds = 0; !socket.seen.some(({ type }) => type === 'done'); rounds += 1) {
      await quiet(socket)
      const unacknowledged = socket.bytes - acknowledged
      expect(unacknowledged).toBeLessThanOrEqual(QUEUE_BYTES)
      if (!socket.seen.some(({ type }) => type === 'done')) expect(unacknowledged).toBeGreaterThan(FULL)
      acknowledged = socket.bytes
      socket.ack()
      expect(rounds).toBeLessThan(6)
      await sleep(50)
    }
    expect(socket.bytes).toBeGreaterThan(900 * 1024)
    expect(textOf(socket.seen) === text).toBe(true)
    const seqs = seqsOf(socket.seen)
    expect(seqs).toEqual(seqs.map((_, i) => (seqs[0] ?? 0) + i))
  })

  it('is brought a long backlog, and a long snapshot, over one connection', async () => {
    const { chat, gate } = await gatedChat()
    for (let i = 0; i < 5; i += 1) await answer(chat, gate, numbered(100 * 1024, i))
    const text = numbered(1024 * 1024)
    await fill(chat, text)
    const whole = await chat.log()
    const behind = (await chat.socket('?last_event_id=e1-1')).acknowledging()
    const late = (await chat.socket()).acknowledging()
    await eventually(() => behind.last === whole.at(-1)?.id && late.last === whole.at(-1)?.id)
    expect(behind.seen.map(({ id }) => id)).toEqual(whole.slice(1).map(({ id }) => id))
    expect(behind.bytes).toBeGreaterThan(2 * QUEUE_BYTES - 4096)
    expect(textOf(late.seen) === text).toBe(true)
    expect(JSON.stringify(late.seen)).not.toContain('"content_truncated"')
    await answer(chat, gate, 'And on')
    await Promise.all([behind.until('done'), late.until('done')])
    expect(textOf(late.seen)).toBe('And on')
  })

  it('may do so after the object has slept', { timeout: 20_000 }, async () => {
    const { chat, gate } = await gatedChat()
    const socket = await chat.socket()
    await socket.until('snapshot')
    socket.ack()
    for (let i = 0; i < 2; i += 1) await answer(chat, gate, numbered(100 * 1024, i))
    await eventually(() => socket.seen.filter(({ type }) => type === 'done').length === 2)
    await evictDurableObject(chat.stub)
    const sent = socket.bytes
    socket.ack()
    for (let i = 0; i < 3; i += 1) await answer(chat, gate, numbered(100 * 1024, i))
    await quiet(socket)
    expect(socket.bytes - sent).toBeLessThanOrEqual(QUEUE_BYTES)
    expect(socket.bytes - sent).toBeGreaterThan(FULL)
    socket.acknowledging()
    await eventually(() => socket.seen.filter(({ type }) => type === 'done').length === 5)
    const seqs = seqsOf(socket.seen)
    expect(seqs).toEqual(seqs.map((_, i) => i))
  })

  it('does so with a resume too', async () => {
    const { chat, gate } = await gatedChat()
    const socket = await chat.socket()
    await socket.until('snapshot')
    for (let i = 0; i < 3; i += 1) await answer(chat, gate, numbered(100 * 1024, i))
    await quiet(socket)
    const sent = socket.bytes
    expect(sent).toBeLessThanOrEqual(QUEUE_BYTES)
    socket.send('resume', { last_event_id: socket.last })
    await socket.until('done')
    await eventually(() => socket.seen.filter(({ type }) => type === 'done').length === 3)
    const seqs = seqsOf(socket.seen)
    expect(seqs).toEqual(seqs.map((_, i) => i))
  })

  it('causes no look-up that its rights do not need', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    const socket = await chat.socket()
    await socket.until('snapshot')
    await chat.exchange('Hello')
    await socket.until('done')
    const lookUp = await chat.inObject((object: ChatRoom) => {
      const { access, rights, log } = (object as unknown as { room: Room }).room
      rights.admit((Array.from((object as never as Inner).sockets.values())[0] as Reader).caller, Date.now())
      return {
        lookUp: vi.spyOn(access, 'lookUp'),
        others: [vi.spyOn(access, 'find'), vi.spyOn(access, 'agent'), vi.spyOn(log, 'after')],
      }
    })
    for (let i = 0; i < 40; i += 1) socket.ack()
    await sleep(200)
    expect(socket.ws.readyState).toBe(WebSocket.OPEN)
    expect(lookUp.lookUp).not.toHaveBeenCalled()
    for (const spy of lookUp.others) expect(spy).not.toHaveBeenCalled()
  })

  it('more than 50 times a second is closed like any other', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    const socket = await chat.socket()
    await socket.until('snapshot')
    for (let i = 0; i < 60; i += 1) socket.ack()
    expect((await socket.closed).code).toBe(4429)
  })
})

type Reader = { caller: Attachment['caller'] }
type Inner = { sockets: Map<WebSocket, Reader> }

describe('an acknowledgement', () => {
  it.each([
    ['{"type":"ack"}', ['data']],
    ['{"type":"ack","data":{}}', ['data.last_event_id']],
    ['{"type":"ack","data":{"last_event_id":null}}', ['data.last_event_id']],
    ['{"type":"ack","data":{"last_event_id":42}}', ['data.last_event_id']],
    ['{"type":"ack","data":{"last_event_id":"e1"}}', ['data.last_event_id']],
    ['{"type":"ack","data":{"last_event_id":"e7-1"}}', ['data.last_event_id']],
    ['{"type":"ack","data":{"last_event_id":"e1-1","all":true}}', ['data.all']],
  ])('of nothing that there is, is refused (%s)', async (frame, fields) => {
    const chat = await chatWith(await makeWorld(), echo)
    const socket = await chat.socket()
    socket.ws.send(frame)
    const { data } = await socket.until('error')
    expect(data).toMatchObject({ code: 'validation_failed' })
    expect(Object.keys((data.details as { fields: object }).fields)).toEqual(fields)
    socket.send('message', { content: 'still open' })
    await socket.until('done')
  })

  it('of more than was sent acknowledges what was', async () => {
    const { chat, gate } = await gatedChat()
    const socket = await chat.socket()
    await socket.until('snapshot')
    socket.ack('e1-999999999')
    const sender = await chat.send('Hello')
    await gate.say(numbered(700 * 1024))
    await gate.end()
    await sender.until('done')
    await quiet(socket)
    const { bytes } = socket
    expect(bytes).toBeLessThanOrEqual(
      QUEUE_BYTES + (socket.seen[0] ? JSON.stringify(socket.seen[0]).length : 0),
    )
    socket.ack('e1-999999999')
    await quiet(socket)
    expect(socket.bytes - bytes).toBeLessThanOrEqual(QUEUE_BYTES)
    expect(socket.bytes - bytes).toBeGreaterThan(FULL)
  })
})

describe('a slow socket', () => {
  it('delays nobody else', async () => {
    const { chat, gate } = await gatedChat()
    const slow = await chat.socket()
    await slow.until('snapshot')
    slow.ack()
    const quick = (await chat.socket()).acknowledging()
    const stream = await chat.follow()
    const text = numbered(600 * 1024)
    await Promise.all([quick.until('done'), stream.until('done'), answer(chat, gate, text)])
    expect(textOf(quick.seen) === text).toBe(true)
    expect(textOf(stream.seen) === text).toBe(true)
    expect(slow.ws.readyState).toBe(WebSocket.OPEN)
    expect(slow.seen.some(({ type }) => type === 'done')).toBe(false)
    slow.acknowledging()
    await slow.until('done')
    expect(textOf(slow.seen) === text).toBe(true)
  })

  it('is written beside itself in far less than 2 KiB', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    const socket = await chat.socket()
    await socket.until('snapshot')
    const stored = await chat.inObject((_: ChatRoom, state) => {
      const [own] = state.getWebSockets()
      if (!own) throw new Error('no socket')
      const { caller, ...rest } = own.deserializeAttachment() as Attachment
      const worst = {
        ...rest,
        caller: { ...caller, padding: 'x'.repeat(512) },
        window: {
          unacknowledged: QUEUE_BYTES,
          acknowledges: true,
          marks: Array.from({ length: 51 }, () => 999_999_999_999_999),
        },
      }
      own.serializeAttachment(worst)
      return rest
    })
    expect(stored).toMatchObject({
      format: 'ws',
      window: { acknowledges: false, marks: [1, 0, socket.bytes] },
    })
  })
})

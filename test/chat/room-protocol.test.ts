import { beforeEach, describe, expect, it } from 'vitest'
import { wantedAnswer } from '../../src/domains/chat/messages/accept'
import type { Message } from '../../src/domains/chat/messages/schema'
import {
  cut,
  type Frame,
  framesOf,
  jsonSize,
  MAX_EVENT,
  parseCursor,
  printCursor,
  type RoomEvent,
} from '../../src/domains/chat/room/log/protocol'
import { snapshotFrames as framesOfSnapshot, type Snapshot } from '../../src/domains/chat/room/log/snapshot'
import { titleOf } from '../../src/domains/chat/room/log/title'
import { lined, lineUp } from '../../src/domains/chat/room/readers/line-up'

// As production prints it; a room of another file may have switched the lining up on.
beforeEach(() => lineUp(false))

const sse = (frame: Frame) => new TextDecoder().decode(frame.sse)
const dataOf = (frame: Frame) => JSON.parse(frame.text).data
const message = (content: string, more: Partial<Message> = {}): Message => ({
  id: '0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d',
  parent_id: null,
  role: 'assistant',
  content,
  status: 'complete',
  run_id: null,
  attachments: [],
  metadata: {},
  timestamp: '2026-01-31T10:00:00.000Z',
  ...more,
})

// Texts whose JSON form is far longer than they are, or that must not be cut in the middle of a character.
const NASTY: Record<string, string> = {
  plain: 'x'.repeat(10_000),
  quotes: '"\\'.repeat(5_000),
  control: '\u0001\n\t\u001f'.repeat(3_000),
  emoji: '👩‍👩‍👧‍👦😀'.repeat(2_000),
  accents: 'äöü€漢字'.repeat(2_000),
  separators: '\u2028\u2029\r\n\n'.repeat(2_000),
  mixed: 'a"😀\n漢\u0000b'.repeat(2_000),
}

describe('a cursor', () => {
  it('is printed as e{epoch}-{seq} and read back', () => {
    expect(printCursor({ epoch: 1, seq: 41 })).toBe('e1-41')
    expect(parseCursor('e12-3456')).toEqual({ epoch: 12, seq: 3456 })
  })

  it.each(['', '41', 'e1', 'e-1', 'e1-', 'e1-x', ' e1-1', 'e1-1 ', 'E1-1', 'e1-1-1', `e1-${'9'.repeat(20)}`])(
    'is not %j',
    (text) => expect(parseCursor(text)).toBeNull(),
  )
})

describe('a frame', () => {
  it('is what the chat guide shows, with an id', () => {
    const [frame] = framesOf('e1-42', { seq: 42, type: 'message', data: { content: 'Hi' } })
    expect(sse(frame as Frame)).toBe('id: e1-42\ndata: {"type":"message","data":{"content":"Hi"}}\n\n')
    expect((frame as Frame).text).toBe('{"id":"e1-42","type":"message","data":{"content":"Hi"}}')
  })

  it('is printed once for all readers', () => {
    const [frame] = framesOf('e1-1', { seq: 1, type: 'title', data: { title: 'T' } })
    expect((frame as Frame).sse).toBe((frame as Frame).sse)
  })

  it.each(Object.entries(NASTY))(
    'of a long text (%s) is several of at most 4 KiB that join to it',
    (_, text) => {
      const frames = framesOf('e123-456789', { seq: 456789, type: 'message', data: { content: text } })
      expect(frames.length).toBeGreaterThan(1)
      for (const frame of frames) expect(frame.sse.byteLength).toBeLessThanOrEqual(MAX_EVENT)
      expect(frames.map((frame) => dataOf(frame).content).join('')).toBe(text)
      expect(frames.map((frame) => frame.id)).toEqual([...frames.slice(1).map(() => null), 'e123-456789'])
      for (const frame of frames) expect(sse(frame).trimEnd().split('\n').length).toBe(frame.id ? 2 : 1)
    },
  )

  it.each(Object.entries(NASTY))('of any other entry is cut to 4 KiB (%s)', (_, text) => {
    const events: RoomEvent[] = [
      { seq: 1, type: 'message.created', data: message(text, { role: 'user' }) },
      { seq: 2, type: 'status', data: { description: text, level: 'info', done: false } },
      { seq: 3, type: 'error', data: { message: text, code: 'upstream_error', retryable: true } },
    ]
    for (const event of events) {
      const frames = framesOf(`e1-${event.seq}`, event)
      expect(frames).toHaveLength(1)
      expect((frames[0] as Frame).sse.byteLength).toBeLessThanOrEqual(MAX_EVENT)
    }
    const shown = dataOf(framesOf('e1-1', events[0] as RoomEvent)[0] as Frame)
    expect(text.startsWith(shown.content)).toBe(true)
    expect(shown.content_truncated).toBe(true)
  })

  it('holds a message whole where it fits', () => {
    const [frame] = framesOf('e1-1', { seq: 1, type: 'message.created', data: message('short') })
    expect(dataOf(frame as Frame)).toEqual(message('short'))
  })
})

describe('cutting', () => {
  it.each(Object.entries(NASTY))('measures as JSON.stringify prints (%s)', (_, text) => {
    expect(jsonSize(text)).toBe(new TextEncoder().encode(JSON.stringify(text)).byteLength - 2)
    for (const limit of [1, 2, 3, 5, 6, 7, 100, 101, 102, 103]) {
      const [head, rest] = cut(text, limit)
      expect(head + rest).toBe(text)
      expect(jsonSize(head)).toBeLessThanOrEqual(limit)
      expect(head.isWellFormed() && rest.isWellFormed()).toBe(true)
    }
  })
})

describe('a snapshot', () => {
  const snapshotFrames = (...of: Parameters<typeof framesOfSnapshot>) => [...framesOfSnapshot(...of)]
  const snapshot = (messages: Message[], more: Partial<Snapshot> = {}): Snapshot => ({
    cursor: 'e1-9',
    title: 'A title',
    run: null,
    messages,
    complete: true,
    ...more,
  })

  it('holds all messages of a short chat and carries its cursor', () => {
    const all = [message('one', { role: 'user' }), message('two')]
    const frames = snapshotFrames('snapshot', snapshot(all))
    expect(frames).toHaveLength(1)
    expect(frames[0]?.id).toBe('e1-9')
    expect(dataOf(frames[0] as Frame)).toEqual(snapshot(all))
  })

  it('of an empty chat holds none', () => {
    const frames = snapshotFrames('reset', snapshot([], { title: null }))
    expect(JSON.parse((frames[0] as Frame).text)).toEqual({
      id: 'e1-9',
      type: 'reset',
      data: snapshot([], { title: null }),
    })
  })

  it.each(Object.entries(NASTY))(
    'goes on in message events where the newest message is long (%s)',
    (_, text) => {
      const frames = snapshotFrames('reset', snapshot([message('before', { role: 'user' }), message(text)]))
      for (const frame of frames) expect(frame.sse.byteLength).toBeLessThanOrEqual(MAX_EVENT)
      const [head, ...rest] = frames.map((frame) => JSON.parse(frame.text))
      expect(head.type).toBe('reset')
      expect(head.data.complete).toBe(false)
      expect(head.data.messages.at(-1).content + rest.map(({ data }) => data.content).join('')).toBe(text)
      expect(frames.map(({ id }) => id)).toEqual([...frames.slice(1).map(() => null), 'e1-9'])
      // Over a client’s own socket each can be acknowledged, in an epoch from which nothing is resumed.
      const places = frames.slice(1).map((_, i) => `e0-${i + 1}`)
      expect([head, ...rest].map(({ id }) => id)).toEqual([...places, 'e1-9'])
      for (const frame of frames) {
        expect(new TextEncoder().encode(frame.text).byteLength).toBe(frame.size)
        expect(frame.size).toBeLessThanOrEqual(MAX_EVENT)
      }
    },
  )

  it('that is long can end early after its first event, with its cursor and a mark', () => {
    const [first, ...rest] = snapshotFrames('snapshot', snapshot([message('x'.repeat(10_000))]))
    expect(first?.cutOff).toBeNull()
    expect(rest.length).toBeGreaterThan(1)
    for (const { cutOff } of rest)
      expect(JSON.parse(cutOff?.text ?? '')).toEqual({
        id: 'e1-9',
        type: 'message',
        data: { content: '', content_truncated: true },
      })
  })

  it('leaves older messages out when they do not fit', () => {
    const many = Array.from({ length: 20 }, (_, i) => message(`${i} ${'x'.repeat(400)}`))
    const [frame] = snapshotFrames('snapshot', snapshot(many))
    expect(frame?.sse.byteLength).toBeLessThanOrEqual(MAX_EVENT)
    const { messages, complete } = dataOf(frame as Frame)
    expect(complete).toBe(false)
    expect(messages).toEqual(many.slice(-messages.length))
    expect(messages.length).toBeGreaterThan(3)
  })
})

describe('a title', () => {
  it.each([
    ['Hello there', 'Hello there'],
    ['  Where is\n\nmy   order? ', 'Where is my order?'],
    ['# **Help** with `code`', 'Help with code'],
    ['***', '***'],
    ['***\n***', '*** ***'],
  ])('of %j is %j', (content, title) => expect(titleOf(content)).toBe(title))

  it('ends at a word and within a line', () => {
    const title = titleOf('word '.repeat(50))
    expect([...title].length).toBeLessThanOrEqual(60)
    expect(title).toMatch(/ word…$/)
    expect([...titleOf('😀'.repeat(100))].length).toBe(60)
  })
})

describe('the wanted answer', () => {
  it.each([
    [{}, 'stream'],
    [{ Accept: '*/*' }, 'stream'],
    [{ Accept: 'text/event-stream' }, 'stream'],
    [{ Accept: 'application/json' }, 'exchange'],
    [{ Accept: 'application/*' }, 'exchange'],
    [{ Accept: 'application/json, text/plain, */*' }, 'exchange'],
    [{ Accept: 'application/json, text/event-stream' }, 'stream'],
    [{ Accept: 'application/json;q=0.5, text/event-stream' }, 'stream'],
    [{ Accept: 'application/json, text/event-stream;q=0.9' }, 'exchange'],
    [{ Accept: 'application/json;q=0' }, 'stream'],
    [{ Accept: 'text/html, */*;q=0.1' }, 'stream'],
    [{ Accept: 'application/json', Prefer: 'respond-async' }, 'started'],
    [{ Prefer: 'wait=10, Respond-Async' }, 'started'],
    [{ Prefer: 'return=minimal' }, 'stream'],
  ] as [Record<string, string>, string][])('for %j is %s', (headers, wanted) =>
    expect(wantedAnswer(new Headers(headers))).toBe(wanted),
  )
})

describe('lining up for the development proxy', () => {
  const size = (text: string) => new TextEncoder().encode(text).byteLength

  it('ends the first read of a chunk, its length included, at a line end, and changes no event', () => {
    lineUp(true)
    for (let length = 10; length < 4000; length++) {
      const data = `data: ${'x'.repeat(length)}\n\n`
      for (const head of ['', 'id: e1-4\n', 'id: e12-3456\n']) {
        const written = lined(head, data, size)
        const first = 32 - (size(written).toString(16).length + 2)
        expect(written.slice(0, first).endsWith('\n')).toBe(true)
        const events = written.split('\n').filter((line) => line !== '' && !line.startsWith(':'))
        expect(events.join('\n')).toBe((head + data).trimEnd())
      }
    }
  })
})

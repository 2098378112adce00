import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Caller } from '../../src/domains/chat/room/caller'
import { type Frame, frameOf, parseCursor } from '../../src/domains/chat/room/log/protocol'
import { type Snapshot, snapshotFrames } from '../../src/domains/chat/room/log/snapshot'
import type { Attachment } from '../../src/domains/chat/room/readers/attachment'
import { QUEUE_BYTES, STUCK_MS } from '../../src/domains/chat/room/readers/pipe'
import { FIRST_ACK_MS, SocketReader } from '../../src/domains/chat/room/readers/socket-reader'
import { SendWindow } from '../../src/domains/chat/room/readers/window'

const STEP = 16 * 1024
const caller: Caller = {
  ...{ key: 'u', kind: 'user', id: 'u', user_id: 'u', session_id: null, role: 'member' },
  scopes: ['chats:read'],
}

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] }))
afterEach(() => void vi.useRealTimers())

function socket() {
  const sent: string[] = []
  const closed: { code: number; reason: string }[] = []
  let attachment: Attachment = { caller, format: 'ws', behind: false }
  let saves = 0
  let gone = 0
  const ws = {
    deserializeAttachment: () => structuredClone(attachment),
    serializeAttachment: (value: Attachment) => {
      attachment = structuredClone(value)
      saves += 1
    },
    send: (data: string) => void sent.push(data),
    close: (code: number, reason: string) => void closed.push({ code, reason }),
  } as unknown as WebSocket
  const read = () => new SocketReader(ws, { gone: () => void gone++ })
  const bytes = () => sent.reduce((sum, text) => sum + new TextEncoder().encode(text).byteLength, 0)
  return { reader: read(), wake: read, sent, bytes, closed, saves: () => saves, gone: () => gone }
}

let seq = 0
/** A frame of exactly so many bytes, the next of its epoch. */
function frame(size = 1024, type = 'message', epoch = 1): Frame {
  seq += 1
  const id = `e${epoch}-${seq}`
  const empty = frameOf(id, type, { content: '' }).size
  // Three bytes a letter as far as that goes: characters are not what is counted.
  const content = '漢'.repeat(Math.floor((size - empty) / 3)) + 'x'.repeat((size - empty) % 3)
  const made = frameOf(id, type, { content })
  expect(made.size).toBe(size)
  return made
}
const cursor = (id: string | null) => {
  const found = parseCursor(id ?? '')
  if (!found) throw new Error(`no cursor: ${id}`)
  return found
}
/** Gives frames until one is refused or the socket is closed; answers the last that was taken. */
function fill(one: ReturnType<typeof socket>, reader = one.reader, size = 1024): Frame | null {
  for (let last: Frame | null = null; ; ) {
    const next = frame(size)
    if (!reader.take(next) || one.closed.length > 0) return last
    last = next
  }
}

describe('a client’s socket', () => {
  it('takes exactly 256 KiB that were not acknowledged, to the byte', () => {
    const one = socket()
    for (let i = 0; i < 256; i += 1) expect(one.reader.take(frame(1024))).toBe(true)
    expect(one.bytes()).toBe(QUEUE_BYTES)
    expect(one.closed).toEqual([])
    expect(one.reader.ready()).toBe(true)
    expect(one.reader.take(frame(64))).toBe(false)
    expect(one.bytes()).toBe(QUEUE_BYTES)
    expect(one.reader.ready()).toBe(false)
  })

  it('that never acknowledged is closed at once where it had the time to, with what to do', () => {
    const one = socket()
    for (let i = 0; i < 255; i += 1) one.reader.take(frame())
    vi.advanceTimersByTime(FIRST_ACK_MS)
    expect(one.reader.take(frame())).toBe(true)
    expect(one.closed).toEqual([])
    one.reader.take(frame())
    expect(one.closed).toEqual([{ code: 4409, reason: expect.stringMatching(/reconnect.*last event.*ack/) }])
    expect(new TextEncoder().encode(one.closed[0]?.reason).byteLength).toBeLessThanOrEqual(123)
    expect(one.gone()).toBe(1)
    one.reader.take(frame())
    expect(one.bytes()).toBe(QUEUE_BYTES)
  })

  it('that was given all in one go has a moment for its first acknowledgement', () => {
    const one = socket()
    const last = fill(one)
    vi.advanceTimersByTime(FIRST_ACK_MS - 1)
    expect(one.closed).toEqual([])
    expect(one.reader.acknowledge(cursor(last?.id ?? null))).toBe(true)
    vi.advanceTimersByTime(10 * STUCK_MS)
    expect(one.closed).toEqual([])
    const other = socket()
    fill(other)
    vi.advanceTimersByTime(FIRST_ACK_MS)
    expect(other.closed[0]?.code).toBe(4409)
  })

  it('that acknowledges is held, refuses what comes in order, and goes on', () => {
    const one = socket()
    const first = frame()
    one.reader.take(first)
    one.reader.acknowledge(cursor(first.id))
    const last = fill(one)
    expect(one.bytes()).toBe(QUEUE_BYTES + 1024)
    // Smaller, and would fit after another was refused: but it would come too early.
    expect(one.reader.take(frame(64))).toBe(false)
    one.reader.acknowledge(cursor(last?.id ?? null))
    expect(one.reader.ready()).toBe(true)
    fill(one)
    expect(one.bytes()).toBe(2 * QUEUE_BYTES + 1024)
  })

  it('that acknowledges is closed when it acknowledged nothing for a minute while held', () => {
    const one = socket()
    const first = frame()
    one.reader.take(first)
    one.reader.acknowledge(cursor(first.id))
    vi.advanceTimersByTime(10 * STUCK_MS)
    const middle = frame()
    one.reader.take(middle)
    fill(one)
    vi.advanceTimersByTime(STUCK_MS - 1)
    // Nothing new, which counts for nothing.
    expect(one.reader.acknowledge(cursor(first.id))).toBe(false)
    expect(one.reader.acknowledge(cursor(middle.id))).toBe(true)
    expect(fill(one)).not.toBeNull()
    vi.advanceTimersByTime(STUCK_MS - 1)
    expect(one.closed).toEqual([])
    vi.advanceTimersByTime(1)
    expect(one.closed).toEqual([{ code: 4409, reason: expect.stringContaining('reconnect') }])
  })

  it('has no timer but while it is held', () => {
    const one = socket()
    for (let i = 0; i < 256; i += 1) one.reader.take(frame())
    expect(vi.getTimerCount()).toBe(0)
    one.reader.take(frame())
    expect(vi.getTimerCount()).toBe(1)
    one.reader.leave()
    expect(vi.getTimerCount()).toBe(0)
  })

  it('counts answers to its frames, which the next id acknowledges; who has no room for one is closed', () => {
    const one = socket()
    const reply = 'x'.repeat(1024)
    for (let i = 0; i < 255; i += 1) one.reader.answer(reply)
    const next = frame()
    expect(one.reader.take(next)).toBe(true)
    expect(one.closed).toEqual([])
    one.reader.acknowledge(cursor(next.id))
    for (let i = 0; i < 256; i += 1) one.reader.answer(reply)
    expect(one.closed).toEqual([])
    one.reader.answer(reply)
    expect(one.closed[0]?.code).toBe(4409)
    expect(one.bytes()).toBe(2 * QUEUE_BYTES)
  })

  it('is counted on after a sleep, never too little by more than one step', () => {
    const one = socket()
    let reader = one.reader
    for (let round = 0; round < 200; round += 1) {
      // Little at a time, and asleep in between: each round ends as a run does.
      for (let i = 0; i < 2; i += 1) if (!reader.take(frame())) break
      if (!reader.take(frame(512, 'done'))) break
      reader = one.wake()
    }
    expect(one.bytes()).toBeLessThanOrEqual(QUEUE_BYTES)
    expect(one.bytes()).toBeGreaterThan(QUEUE_BYTES - 1024)

    const cut = socket()
    for (let i = 0; i < 100; i += 1) cut.reader.take(frame())
    fill(cut, cut.wake())
    expect(cut.bytes()).toBeGreaterThanOrEqual(QUEUE_BYTES)
    expect(cut.bytes()).toBeLessThan(QUEUE_BYTES + STEP + 1024)
    expect(cut.saves()).toBeLessThan(30)
  })

  it('acknowledges after a sleep what it was sent before', () => {
    const one = socket()
    const frames = Array.from({ length: 200 }, () => frame())
    for (const next of frames) one.reader.take(next)
    one.reader.take(frame(512, 'done'))
    const reader = one.wake()
    expect(reader.acknowledge(cursor(frames[120]?.id ?? null))).toBe(true)
    fill(one, reader)
    const room = one.bytes() - QUEUE_BYTES
    expect(room).toBeLessThanOrEqual(121 * 1024)
    expect(room).toBeGreaterThan(121 * 1024 - 32 * 1024)
  })

  it('is let go on by an id that stands before or behind what was sent only for what was', () => {
    const one = socket()
    const last = fill(one)
    expect(one.reader.acknowledge({ epoch: 1, seq: 0 })).toBe(false)
    expect(one.reader.acknowledge({ epoch: 1, seq: cursor(last?.id ?? null).seq + 1_000_000 })).toBe(true)
    fill(one)
    expect(one.bytes()).toBe(2 * QUEUE_BYTES)
  })

  it('that resumes acknowledges its cursor; ids mean what is sent again from then on', () => {
    const one = socket()
    const frames = Array.from({ length: 100 }, () => frame())
    for (const next of frames) one.reader.take(next)
    one.reader.resume(cursor(frames[49]?.id ?? null))
    for (const next of frames.slice(50)) one.reader.take(next)
    one.reader.acknowledge(cursor(frames[59]?.id ?? null))
    const before = one.bytes()
    fill(one)
    // Of the 150 KiB that were sent, all but the last 40 were received, give or take what one mark stands for.
    expect(one.bytes() - before).toBeGreaterThan((256 - 40 - 8) * 1024)
    expect(one.bytes() - before).toBeLessThanOrEqual((256 - 40) * 1024)
  })

  it('that resumes while it is held goes on by what it was sent before', () => {
    const one = socket()
    const first = frame()
    one.reader.take(first)
    one.reader.acknowledge(cursor(first.id))
    const last = fill(one)
    one.reader.resume(cursor(first.id))
    expect(one.reader.ready()).toBe(false)
    expect(one.reader.acknowledge(cursor(last?.id ?? null))).toBe(true)
    expect(one.reader.ready()).toBe(true)
  })
})

describe('a window', () => {
  it('keeps few marks however small the frames are, and counts to within two of them', () => {
    const window = new SendWindow()
    for (let i = 1; window.fits(60); i += 1) window.count(60, { epoch: 1, seq: i })
    expect((window as unknown as { marks: unknown[] }).marks.length).toBeLessThan(140)
    expect(window.stored.marks.length).toBeLessThanOrEqual(3 * 17)
    const sent = window.unacknowledged
    window.acknowledge({ epoch: 1, seq: 2000 })
    const acknowledged = sent - window.unacknowledged
    expect(acknowledged).toBeLessThanOrEqual(2000 * 60)
    expect(acknowledged).toBeGreaterThan(2000 * 60 - 8 * 1024)
    window.acknowledge({ epoch: 1, seq: Math.floor(sent / 60) })
    expect(window.unacknowledged).toBe(0)
  })

  it('tells places inside a snapshot from places in the log', () => {
    const window = new SendWindow()
    window.count(5000, { epoch: 2, seq: 90 })
    window.count(5000, { epoch: 0, seq: 1 })
    window.count(5000, { epoch: 0, seq: 2 })
    // On its way since before the snapshot.
    expect(window.acknowledge({ epoch: 2, seq: 95 })).toBe(true)
    expect(window.unacknowledged).toBe(10_000)
    expect(window.acknowledge({ epoch: 2, seq: 96 })).toBe(false)
    window.count(5000, { epoch: 2, seq: 100 })
    expect(window.acknowledge({ epoch: 0, seq: 1 })).toBe(true)
    expect(window.unacknowledged).toBe(10_000)
    expect(window.acknowledge({ epoch: 2, seq: 100 })).toBe(true)
    expect(window.unacknowledged).toBe(0)
  })
})

describe('a snapshot that is longer than the window', () => {
  const content = 'z'.repeat(600 * 1024)
  const frames = () => {
    const message = { ...{ id: 'm', parent_id: null, role: 'assistant', content, status: 'complete' } }
    const snapshot = {
      ...{ cursor: 'e1-9', title: null, run: null, complete: true },
      messages: [{ ...message, run_id: null, attachments: [], metadata: {}, timestamp: '' }],
    } as Snapshot
    return snapshotFrames('snapshot', snapshot)
  }

  it('ends with its cursor and a mark for who never acknowledges, within the 256 KiB', () => {
    const one = socket()
    for (const next of frames()) if (!one.reader.take(next)) break
    vi.advanceTimersByTime(FIRST_ACK_MS)
    expect(one.bytes()).toBeLessThanOrEqual(QUEUE_BYTES)
    expect(one.bytes()).toBeGreaterThan(QUEUE_BYTES - 8 * 1024)
    expect(JSON.parse(one.sent.at(-1) ?? '')).toMatchObject({ id: 'e1-9', data: { content_truncated: true } })
    expect(one.closed[0]?.code).toBe(4409)
  })

  it('is not cut where there was no room for its first event: the cursor would mean nothing', () => {
    const one = socket()
    fill(one)
    const before = one.sent.length
    for (const next of frames()) if (!one.reader.take(next)) break
    vi.advanceTimersByTime(FIRST_ACK_MS)
    expect(one.sent.length).toBe(before)
    expect(one.closed[0]?.code).toBe(4409)
  })

  it('is not cut either where answers took the room', () => {
    const one = socket()
    for (const next of frames()) if (!one.reader.take(next)) break
    while (one.closed.length === 0) one.reader.answer('x'.repeat(64))
    expect(one.bytes()).toBeLessThanOrEqual(QUEUE_BYTES)
    expect(one.sent.at(-1)).toBe('x'.repeat(64))
  })

  it('is not cut for who does acknowledge', () => {
    const one = socket()
    let due = 0
    for (const next of frames()) {
      expect(one.reader.take(next)).toBe(true)
      if (one.bytes() < due) continue
      due = one.bytes() + 64 * 1024
      one.reader.acknowledge(cursor(next.place))
    }
    const texts = one.sent.map((text) => JSON.parse(text).data)
    const text =
      texts[0].messages[0].content +
      texts
        .slice(1)
        .map((data) => data.content)
        .join('')
    expect(text === content).toBe(true)
    expect(one.sent.join('')).not.toContain('content_truncated')
  })
})

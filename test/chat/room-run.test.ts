import { describe, expect, it, vi } from 'vitest'
import { type UpstreamEvent, UpstreamFailure } from '../../src/domains/chat/agents/upstreams/upstream'
import type { Source } from '../../src/domains/chat/messages/schema'
import { type DataOf, MAX_DELTA } from '../../src/domains/chat/room/log/protocol'
import { Run, type RunEnd, type RunSink } from '../../src/domains/chat/room/runs/run'
import { sleep } from './kit'

const FAST = { frameMs: 20, rowMs: 60 }

/** Notes what a run does, and when. */
class Notes implements RunSink {
  readonly frames: { text: string; at: number }[] = []
  readonly statuses: { description: string; after: number }[] = []
  readonly ends: RunEnd[] = []
  readonly tools: DataOf['tool'][] = []
  readonly told: Source[][] = []
  flushes = 0
  handed = 0
  full = Number.POSITIVE_INFINITY

  status(data: { description: string }): void {
    this.statuses.push({ description: data.description, after: this.frames.length })
  }

  handedOver(): void {
    this.handed += 1
  }

  sources(sources: Source[]): void {
    this.told.push(sources)
  }

  tool(data: DataOf['tool']): void {
    this.tools.push(data)
  }

  text(content: string): boolean {
    this.frames.push({ text: content, at: Date.now() })
    return content.length >= this.full
  }

  flush(): void {
    this.flushes += 1
  }

  end(end: RunEnd): void {
    this.ends.push(end)
  }

  get text_(): string {
    return this.frames.map(({ text }) => text).join('')
  }
}

const delta = (text: string): UpstreamEvent => ({ kind: 'delta', text })

async function run(
  upstream: (signal: AbortSignal) => AsyncIterable<UpstreamEvent>,
  timings = FAST,
): Promise<Notes> {
  const notes = new Notes()
  const one = new Run('run', notes, timings)
  await one.pump(() => upstream(one.signal))
  return notes
}

describe('a run', () => {
  it('sends the first token at once and then a frame at most every so often', async () => {
    const started = Date.now()
    const notes = await run(async function* () {
      for (let i = 0; i < 40; i += 1) {
        yield delta(`${i} `)
        await sleep(5)
      }
    })
    expect(notes.text_).toBe(Array.from({ length: 40 }, (_, i) => `${i} `).join(''))
    expect(notes.frames[0]?.text).toBe('0 ')
    const duration = Date.now() - started
    expect(notes.frames.length).toBeLessThanOrEqual(duration / FAST.frameMs + 2)
    expect(notes.frames.length).toBeGreaterThan(5)
    const gaps = notes.frames.slice(1, -1).map(({ at }, i) => at - (notes.frames[i]?.at ?? 0))
    for (const gap of gaps) expect(gap).toBeGreaterThanOrEqual(FAST.frameMs / 2 - 2)
    expect(notes.flushes).toBeLessThanOrEqual(duration / FAST.rowMs + 1)
    expect(notes.flushes).toBeGreaterThan(1)
  })

  it('keeps the beat of an upstream that speaks as often as frames may go', async () => {
    vi.useFakeTimers({ toFake: ['Date', 'setTimeout', 'clearTimeout'] })
    try {
      const spoken: number[] = []
      const notes = new Notes()
      const one = new Run('run', notes, { frameMs: 50, rowMs: 250 })
      const pumped = one.pump(async function* () {
        const start = Date.now()
        for (let i = 0; i < 100; i += 1) {
          // The first is late, and now and then another one.
          const due = start + i * 50 + (i === 0 || i % 10 === 7 ? 20 : 0)
          await new Promise((resolve) => setTimeout(resolve, due - Date.now()))
          spoken.push(Date.now())
          yield delta(`${i} `)
        }
      })
      await vi.advanceTimersByTimeAsync(6_000)
      await pumped
      expect(notes.frames.length).toBe(100)
      const waits = notes.frames.map(({ at }, i) => at - (spoken[i] ?? 0)).slice(40)
      expect(Math.max(...waits)).toBeLessThanOrEqual(1)
    } finally {
      vi.useRealTimers()
    }
  })

  it('ends once, with how it finished and what it used', async () => {
    const notes = await run(async function* () {
      yield delta('a')
      yield { kind: 'usage', prompt_tokens: 9, completion_tokens: null }
      yield { kind: 'usage', prompt_tokens: null, completion_tokens: 2 }
      yield { kind: 'finish', reason: 'length' }
    })
    expect(notes.ends).toEqual([
      {
        kind: 'done',
        finish: 'length',
        usage: {
          prompt_tokens: 9,
          completion_tokens: 2,
          time_to_first_token_ms: expect.any(Number),
          duration_ms: expect.any(Number),
        },
      },
    ])
  })

  it('puts a status after the text that came before it', async () => {
    const notes = await run(async function* () {
      yield { kind: 'status', description: 'first', level: 'info' }
      yield delta('a')
      yield delta('b')
      yield { kind: 'status', description: 'second', level: 'info' }
      yield delta('c')
    })
    expect(notes.frames.map(({ text }) => text)).toEqual(['a', 'b', 'c'])
    expect(notes.statuses).toEqual([
      { description: 'first', after: 0 },
      { description: 'second', after: 2 },
    ])
  })

  it('cuts what comes at once into frames, and asks for a row where one is full', async () => {
    const notes = new Notes()
    notes.full = 3000
    const one = new Run('run', notes, FAST)
    await one.pump(async function* () {
      yield delta('x'.repeat(20_000))
    })
    expect(Math.max(...notes.frames.map(({ text }) => text.length))).toBe(MAX_DELTA)
    expect(notes.text_).toBe('x'.repeat(20_000))
    expect(notes.flushes).toBe(notes.frames.filter(({ text }) => text.length >= 3000).length)
  })

  it('puts a character together that came in halves, and replaces one whose half never came', async () => {
    const [high, low] = ['😀'.slice(0, 1), '😀'.slice(1)]
    const notes = await run(async function* () {
      yield delta(`a${high}`)
      await sleep(50)
      yield delta(`${low}b`)
      await sleep(50)
      yield delta(`c${low}${high}`)
    })
    expect(notes.text_).toBe('a😀bc\ufffd\ufffd')
    for (const { text } of notes.frames) expect(text.isWellFormed()).toBe(true)
  })

  it('keeps the text when the upstream fails, and says how', async () => {
    const notes = await run(async function* () {
      yield delta('so far')
      yield delta(' and more')
      throw new UpstreamFailure('upstream_reset', 'The agent broke off', true)
    })
    expect(notes.text_).toBe('so far and more')
    expect(notes.ends).toMatchObject([
      { kind: 'error', code: 'upstream_reset', message: 'The agent broke off', retryable: true },
    ])
  })

  it('says nothing of a bug but that there is one', async () => {
    const notes = await run(async function* () {
      yield delta('so far')
      throw new Error('secret cause')
    })
    expect(notes.ends).toMatchObject([{ kind: 'error', code: 'internal_error' }])
    expect(JSON.stringify(notes.ends)).not.toContain('secret')
  })

  it('stops at once, with the text so far, and aborts the upstream', async () => {
    const notes = new Notes()
    const one = new Run('run', notes, { frameMs: 1000, rowMs: 1000 })
    let aborted = false
    const pumped = one.pump(async function* () {
      yield delta('one ')
      yield delta('two ')
      await new Promise((_, reject) =>
        one.signal.addEventListener('abort', () => {
          aborted = true
          reject(one.signal.reason)
        }),
      )
      yield delta('never')
    })
    await sleep(10)
    one.stop()
    one.stop()
    expect(notes.text_).toBe('one two ')
    expect(notes.ends).toMatchObject([{ kind: 'done', finish: 'stopped' }])
    await pumped
    expect(aborted).toBe(true)
    expect(notes.ends).toHaveLength(1)
  })

  it('takes nothing more after it was stopped', async () => {
    const notes = new Notes()
    const one = new Run('run', notes, FAST)
    let returned = false
    const pumped = one.pump(async function* () {
      try {
        for (;;) {
          yield delta('x')
          await sleep(5)
        }
      } finally {
        returned = true
      }
    })
    await sleep(30)
    one.stop()
    const { length } = notes.text_
    await pumped
    expect(returned).toBe(true)
    expect(notes.text_.length).toBe(length)
  })
})

describe('the speed of a long answer', () => {
  it('a thousand tokens at a hundred a second are at most 210 frames and 45 rows', async () => {
    vi.useFakeTimers()
    try {
      const running = run(
        async function* () {
          for (let i = 0; i < 1000; i += 1) {
            await sleep(10)
            yield delta(`t${i} `)
          }
        },
        { frameMs: 50, rowMs: 250 },
      )
      await vi.advanceTimersByTimeAsync(10_050)
      const notes = await running
      expect(notes.text_.split(' ').length).toBe(1001)
      // Besides these a run has its two messages in one row, a status, perhaps a title, and its end.
      expect(notes.frames.length).toBeLessThanOrEqual(205)
      expect(notes.frames.length).toBeGreaterThan(150)
      expect(notes.flushes).toBeLessThanOrEqual(41)
      expect(notes.flushes).toBeGreaterThan(30)
    } finally {
      vi.useRealTimers()
    }
  })
})

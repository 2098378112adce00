import { abortAllDurableObjects } from 'cloudflare:test'
import { describe, expect, it } from 'vitest'
import { makeWorld } from '../world'
import {
  chatWith,
  type Event,
  type EventReader,
  eventually,
  gatedChat,
  sleep,
  type TestChat,
  textOf,
} from './kit'

/** What a chat’s messages are by its log alone. */
function fold(log: Event[]) {
  type Folded = { id: string; role: string; content: string; status: string }
  const messages: Folded[] = []
  for (const { type, data } of log) {
    const open = messages.find(({ status }) => status === 'streaming')
    if (type === 'message.created') {
      const { id, role, content, status } = data as Folded
      messages.push({ id, role, content, status })
    } else if (type === 'message' && open) open.content += data.content
    else if (type === 'done' && open) open.status = data.finish === 'stopped' ? 'stopped' : 'complete'
    else if (type === 'error' && open) open.status = data.code === 'interrupted' ? 'interrupted' : 'failed'
  }
  return messages
}

async function holdsTogether(chat: TestChat): Promise<void> {
  const log = await chat.log()
  const { messages } = (await chat.read()).data
  expect(fold(log)).toEqual(messages.map(({ id, role, content, status }) => ({ id, role, content, status })))
  const ends = log.filter(({ type }) => type === 'done' || type === 'error')
  const runs = new Set(messages.map(({ run_id }) => run_id))
  const going = messages.filter(({ status }) => status === 'streaming').length
  expect(ends).toHaveLength(runs.size - going)
  const seqs = log.map(({ id }) => Number(id?.split('-')[1]))
  expect(seqs).toEqual(seqs.map((_, i) => i + 1))
}

describe('an object that is killed in mid-answer', () => {
  it('keeps the partial text, writes an interrupted end in a new epoch, and answers the next message', async () => {
    const { chat, gate } = await gatedChat()
    const sender = await chat.send('Hello')
    await gate.say('one ', 'two ')
    await sender.until('message')
    await sleep(400)
    await abortAllDurableObjects()
    const { messages } = (await chat.read()).data
    expect(messages[1]).toMatchObject({
      status: 'interrupted',
      content: 'one two ',
      metadata: { error: { code: 'interrupted' } },
    })
    const log = await chat.log()
    expect(log.at(-1)).toMatchObject({
      id: expect.stringMatching(/^e2-/),
      type: 'error',
      data: { code: 'interrupted', retryable: true, message_id: messages[1]?.id },
    })
    await holdsTogether(chat)
    const again = await chat.send('Again')
    await gate.say('fresh')
    await gate.end()
    expect(textOf(await again.rest())).toBe('fresh')
    expect((await chat.log()).at(-1)?.id).toMatch(/^e2-/)
    await holdsTogether(chat)
  })

  it('is woken by its alarm, though nobody asks', async () => {
    const { chat, gate } = await gatedChat()
    const sender = await chat.send('Hello')
    await gate.say('one ')
    await sender.until('message')
    await sleep(300)
    const due = await chat.inObject((_, state) => state.storage.getAlarm())
    expect((due ?? 0) - Date.now()).toBeLessThanOrEqual(30_000)
    await abortAllDurableObjects()
    const status = await chat.inObject((object) => {
      const { conversation, log } = object.furnish(chat.ids)
      return conversation.branch(log).at(-1)?.status
    })
    expect(status).toBe('interrupted')
  })

  it('answers who sends the same message again with the same run: what there was, and its end', async () => {
    const { chat, gate } = await gatedChat()
    const sender = await chat.send('Hello', { client_message_id: 'c' })
    await gate.say('one ', 'two ')
    await sender.until('message')
    await sleep(400)
    await abortAllDurableObjects()
    const again = await chat.exchange('Hello', { client_message_id: 'c' })
    expect(textOf(again)).toBe('one two ')
    expect(again.at(-1)).toMatchObject({ type: 'error', data: { code: 'interrupted' } })
    expect((await chat.read()).data.messages).toHaveLength(2)
  })

  it('gives who comes back with a cursor one reset, and nothing that was lost', async () => {
    const { chat, gate } = await gatedChat()
    const sender = await chat.send('Hello')
    const reader = await chat.follow()
    for (const word of ['one ', 'two ', 'three ']) {
      await gate.say(word)
      await sleep(60)
    }
    await sender.until('message')
    while (textOf(reader.seen) !== 'one two three ') await reader.next()
    const cursor = reader.seen.at(-1)?.id ?? ''
    await abortAllDurableObjects()
    const back = await chat.follow(cursor)
    const first = await back.next()
    const stored = (await chat.read()).data.messages[1]
    expect(first).toMatchObject({ type: 'reset', id: expect.stringMatching(/^e2-/) })
    expect(textOf(back.seen)).toBe(stored?.content)
    expect(stored?.status).toBe('interrupted')
    expect('one two three '.startsWith(stored?.content ?? '?')).toBe(true)
  })
})

/** A small generator of numbers that a seed repeats (mulberry32). */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** A client that follows the chat and, cut off, comes back with its last cursor. */
class Follower {
  readonly events: Event[] = []
  private reader: EventReader | null = null
  private reading: Promise<void> = Promise.resolve()

  constructor(private readonly chat: TestChat) {}

  async connect(): Promise<void> {
    const cursor = this.events.findLast(({ id }) => id !== null)?.id
    const reader = await this.chat.follow(cursor ?? undefined)
    this.reader = reader
    this.reading = (async () => {
      for (let event = await reader.next(); event && this.reader === reader; event = await reader.next())
        this.events.push(event)
    })().catch(() => {})
  }

  async cut(): Promise<void> {
    const { reader } = this
    this.reader = null
    await reader?.leave().catch(() => {})
    await this.reading
  }

  /** Between two snapshots every number once, in order. */
  check(): void {
    let last: number | null = null
    for (const { id, type } of this.events) {
      if (type === 'reset' || type === 'snapshot') last = null
      if (id === null) continue
      const seq = Number(id.split('-')[1])
      if (last !== null) expect(seq).toBe(last + 1)
      last = seq
    }
  }
}

describe('whatever happens', () => {
  it.each([1, 2, 3, 4, 5, 6])(
    'the log, the messages and what readers saw agree (schedule %i)',
    async (seed) => {
      const next = random(seed * 7919)
      const { chat, gate } = await gatedChat(await makeWorld())
      const followers = [new Follower(chat), new Follower(chat), new Follower(chat)]
      for (const follower of followers) await follower.connect()
      let open: EventReader | null = null
      let said = 0
      const acts: [number, () => Promise<unknown>][] = [
        [
          0.2,
          async () => {
            const answer = await chat.post({ content: `question ${said}` })
            if (answer.status === 200)
              open = await eventually(() => open ?? Promise.resolve(null), 1).catch(() => null)
            await answer.body?.cancel()
          },
        ],
        [
          0.75,
          async () => {
            said += 1
            await gate.say(`word${said} ${'z'.repeat(Math.floor(next() * next() * 3000))} `).catch(() => {})
          },
        ],
        [0.8, () => chat.stop()],
        [0.85, () => gate.end().catch(() => {})],
        [0.95, async () => followers[Math.floor(next() * followers.length)]?.cut()],
        [1, () => abortAllDurableObjects()],
      ]
      const live = () =>
        chat.read().then(({ data }) => data.messages.some(({ status }) => status === 'streaming'))
      for (let step = 0; step < 40; step += 1) {
        const roll = next()
        const act = acts.find(([limit]) => roll < limit)
        // The gate is there only while the agent is being asked.
        if ((act !== acts[1] && act !== acts[3]) || (await live())) await act?.[1]()
        for (const follower of followers)
          if (next() < 0.3) await follower.cut().then(() => follower.connect())
        if (next() < 0.3) await sleep(next() * 120)
      }
      await chat.stop()
      await holdsTogether(chat)
      const last = (await chat.log()).at(-1)?.id
      for (const follower of followers) {
        await follower.cut()
        await follower.connect()
        if (last) await eventually(() => follower.events.findLast(({ id }) => id !== null)?.id === last)
        follower.check()
        const stored = (await chat.read()).data.messages.at(-1)?.content ?? ''
        expect(textOf(follower.events)).toBe(stored)
      }
    },
    60_000,
  )

  it('many senders at once make one run at a time, each message once', async () => {
    const chat = await chatWith(await makeWorld(), { name: 'Echo', kind: 'echo' })
    const answers = await Promise.all(Array.from({ length: 30 }, (_, i) => chat.post({ content: `m${i}` })))
    const texts = await Promise.all(answers.map((answer) => answer.text()))
    const taken = answers.filter(({ status }) => status === 200).length
    expect(taken).toBeGreaterThan(0)
    expect(answers.every(({ status }) => status === 200 || status === 409)).toBe(true)
    expect(texts.join('').match(/"type":"done"/g)).toHaveLength(taken)
    expect((await chat.read()).data.messages).toHaveLength(taken * 2)
    await holdsTogether(chat)
  })
})

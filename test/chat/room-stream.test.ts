import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { streamOver } from '../../src/domains/chat/room/readers/stream'
import { DELETED } from '../../src/domains/chat/room/refusal'
import { GONE } from '../../src/domains/realtime/rights'
import { call, callJson, makeWorld } from '../world'
import { chatAt, chatWith, type Event, EventReader, eventually, gatedChat, sleep, textOf } from './kit'

const echo = { name: 'Echo', kind: 'echo' }
const idNumbers = (events: Event[]) =>
  events.flatMap(({ id }) => (id === null ? [] : [Number(id.split('-')[1])]))

describe('following a chat', () => {
  it('begins with a snapshot that carries its cursor, then shows what happens', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    const reader = await chat.follow()
    expect(await reader.next()).toEqual({
      id: 'e1-0',
      type: 'snapshot',
      data: { cursor: 'e1-0', title: null, run: null, messages: [], complete: true },
    })
    expect(reader.retry).toBe(2000)
    const sent = await chat.exchange('Hello there')
    await reader.until('done')
    const types = reader.seen.map(({ type }) => type).filter((type) => type !== 'message')
    expect(types).toEqual(['snapshot', 'message.created', 'message.created', 'title', 'done'])
    expect(idNumbers(reader.seen)).toEqual(reader.seen.map((_, i) => i))
    expect(reader.seen[1]?.data).toMatchObject({ role: 'user', content: 'Hello there', status: 'complete' })
    expect(reader.seen[2]?.data).toMatchObject({ role: 'assistant', content: '', status: 'streaming' })
    // The sender’s own stream shows the same events.
    const ids = new Set(sent.map(({ id }) => id))
    expect(reader.seen.filter(({ id }) => ids.has(id))).toEqual(sent)
    await reader.leave()
  })

  it('has the headers of an event stream', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    const answer = await chat.stream()
    expect(answer.headers.get('Content-Type')).toMatch(/^text\/event-stream/)
    expect(answer.headers.get('Cache-Control')).toBe('no-cache, no-transform')
    expect(answer.headers.get('Content-Encoding')).toBe('identity')
    expect(answer.headers.get('X-Accel-Buffering')).toBe('no')
    await answer.body?.cancel()
  })

  it('joins in the middle of an answer by one snapshot and then deltas', async () => {
    const { chat, gate } = await gatedChat()
    const sender = await chat.send('Hello')
    await gate.say('one ', 'two ')
    await sender.until('message')
    await sleep(80)
    const late = await chat.follow()
    const snapshot = await late.next()
    expect(snapshot).toMatchObject({
      type: 'snapshot',
      data: {
        run: { id: expect.any(String), message_id: expect.any(String) },
        messages: [{ content: 'Hello' }, { content: 'one two ', status: 'streaming' }],
      },
    })
    expect(snapshot?.id).toBe(snapshot?.data.cursor)
    await gate.say('three ', 'four')
    await gate.end()
    await Promise.all([sender.rest(), late.until('done')])
    expect(textOf(late.seen)).toBe('one two three four')
    expect((await chat.read()).data.messages[1]?.content).toBe('one two three four')
  })

  it('gives everyone the same events', async () => {
    const chat = await chatAt(`${env.RECEIVER_URL}/upstream/slow?n=30`)
    const readers = await Promise.all(Array.from({ length: 10 }, () => chat.follow()))
    await chat.exchange('Hello')
    await Promise.all(readers.map((reader) => reader.until('done')))
    for (const reader of readers) expect(reader.seen).toEqual(readers[0]?.seen)
    expect(textOf(readers[0]?.seen ?? [])).toBe((await chat.read()).data.messages[1]?.content)
  })
})

describe('resuming', () => {
  it('gives every event after the cursor once, in order, from any place in the middle of an answer', async () => {
    const { chat, gate } = await gatedChat()
    const whole = await chat.follow()
    const sender = await chat.send('Hello')
    for (let i = 0; i < 8; i += 1) {
      await gate.say(`word${i} `)
      await sleep(60)
    }
    const so_far = await Promise.all(
      ['e1-0', 'e1-1', 'e1-3', 'e1-5', 'e1-7'].map(async (cursor) => ({
        cursor,
        reader: await chat.follow(cursor),
      })),
    )
    for (let i = 8; i < 12; i += 1) {
      await gate.say(`word${i} `)
      await sleep(30)
    }
    await gate.end()
    await sender.rest()
    await whole.until('done')
    for (const { cursor, reader } of so_far) {
      await reader.until('done')
      const at = whole.seen.findIndex(({ id }) => id === cursor)
      expect(reader.seen).toEqual(whole.seen.slice(at + 1))
    }
  })

  it('loses and repeats nothing however often a reader is cut off', async () => {
    const chat = await chatAt(`${env.RECEIVER_URL}/upstream/slow?n=60`)
    const events: Event[] = []
    const sending = chat.exchange('Hello')
    let cursor: string | undefined = 'e1-0'
    for (let cuts = 0; events.at(-1)?.type !== 'done'; cuts += 1) {
      const reader = await chat.follow(cursor)
      for (let i = 0; i < 1 + (cuts % 4) && events.at(-1)?.type !== 'done'; i += 1) {
        const event = await reader.next()
        if (event) events.push(event)
      }
      cursor = events.at(-1)?.id ?? cursor
      await reader.leave()
    }
    await sending
    expect(idNumbers(events)).toEqual(events.map((_, i) => i + 1))
    expect(textOf(events)).toBe((await chat.read()).data.messages[1]?.content)
  })

  it('at the end gives nothing but what comes next', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    const last = (await chat.exchange('one')).at(-1)?.id ?? ''
    const reader = await chat.follow(last)
    await chat.exchange('two')
    expect((await reader.next())?.type).toBe('message.created')
  })

  it('takes the parameter, and the header before it', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    await chat.exchange('one')
    const by = async (headers: Record<string, string>, query: string) =>
      (await new EventReader((await chat.stream(headers, query)).body).next())?.id
    expect(await by({}, '?last_event_id=e1-2')).toBe('e1-3')
    expect(await by({ 'Last-Event-ID': 'e1-1' }, '?last_event_id=e1-2')).toBe('e1-2')
    expect(await by({ 'Last-Event-ID': '' }, '?last_event_id=e1-2')).toBe('e1-3')
  })

  it.each(['e2-3', 'e9-1', 'e1-500'])(
    'from a cursor that is not of this log (%s) is one reset',
    async (cursor) => {
      const chat = await chatWith(await makeWorld(), echo)
      await chat.exchange('one')
      const reader = await chat.follow(cursor)
      const reset = await reader.next()
      expect(reset).toMatchObject({
        type: 'reset',
        data: { messages: [{ content: 'one' }, { content: 'one' }] },
      })
      await chat.exchange('two')
      await reader.until('done')
      expect(reader.seen.filter(({ type }) => type === 'reset' || type === 'snapshot')).toHaveLength(1)
      expect(reader.seen[1]?.type).toBe('message.created')
    },
  )

  it('from before what is kept is one reset', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    await chat.exchange('one two three')
    await chat.inObject((object) => {
      const { conversation, log } = object.furnish(chat.ids)
      conversation.compact(log, Date.now())
    })
    expect((await (await chat.follow('e1-2')).next())?.type).toBe('reset')
    const last = (await chat.log()).at(-1)?.id ?? ''
    const reader = await chat.follow(last)
    await chat.exchange('four')
    expect((await reader.next())?.type).toBe('message.created')
  })

  it('catches up on much more than a queue holds', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    for (let i = 0; i < 6; i += 1) await chat.exchange(`${i} ${'y'.repeat(100_000)}`)
    const reader = await chat.follow('e1-0')
    const events: Event[] = []
    while (events.filter(({ type }) => type === 'done').length < 6) {
      const event = await reader.next()
      if (event) events.push(event)
    }
    expect(idNumbers(events)).toEqual(events.map((_, i) => i + 1))
    expect(events.some(({ type }) => type === 'reset')).toBe(false)
    expect(reader.longest).toBeLessThanOrEqual(4096)
  })

  it('after a reset with a long answer goes on to its whole text', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    const text = 'a long answer, '.repeat(3000)
    await chat.exchange(text)
    const reader = await chat.follow('e5-1')
    await eventually(async () => {
      await reader.next()
      return textOf(reader.seen).length >= text.length
    })
    expect(textOf(reader.seen)).toBe(text)
    expect(reader.seen.at(-1)?.id).toBe((await chat.log()).at(-1)?.id)
    expect(reader.longest).toBeLessThanOrEqual(4096)
  })
})

describe('refused before it opens', () => {
  it('by status: no credential, another’s chat, no chat, a wrong cursor', async () => {
    const world = await makeWorld()
    const chat = await chatWith(world, echo)
    const status = async (token: string, path = `${chat.path}/stream`, headers = {}) => {
      const answer = await call('GET', path, { token, headers })
      const { status } = answer
      if (status === 200) await answer.body?.cancel()
      return status
    }
    expect(await status('nonsense')).toBe(401)
    expect(await status(world.developer.token)).toBe(404)
    expect(await status((await makeWorld()).admin.token)).toBe(404)
    expect(await status(world.member.token, `/api/v1/chats/${crypto.randomUUID()}/stream`)).toBe(404)
    expect(await status(world.member.token, `${chat.path}/stream?last_event_id=x`)).toBe(422)
    expect(await status(world.member.token, `${chat.path}/stream`, { 'Last-Event-ID': 'x' })).toBe(400)
    expect(await status(world.admin.token)).toBe(200)
    const key = await callJson<{ key: string }>('POST', '/api/v1/auth/api-keys', {
      token: world.admin.token,
      body: { name: 'no chats', scopes: ['agents:read'] },
    })
    expect((await call('GET', `${chat.path}/stream`, { key: key.data.key })).status).toBe(403)
  })

  it('stores nothing for a guessed id', async () => {
    const world = await makeWorld()
    const id = crypto.randomUUID()
    for (const path of ['stream', 'events'])
      await call('GET', `/api/v1/chats/${id}/${path}`, { token: world.admin.token })
    await call('POST', `/api/v1/chats/${id}/stop`, { token: world.admin.token })
    const tables = await runInDurableObject(env.CHATS.getByName(`${world.tenant.id}/${id}`), (_, state) =>
      state.storage.sql
        .exec(`select name from sqlite_master where name not like '\\_%' escape '\\'`)
        .toArray(),
    )
    expect(tables).toEqual([])
  })
})

describe('rights', () => {
  it('are looked at again: who has lost them gets nothing more', async () => {
    const world = await makeWorld()
    const { chat, gate } = await gatedChat(world)
    const sender = await chat.send('Hello')
    await gate.say('one ')
    const reader = await chat.follow()
    const admin = new EventReader((await chat.stream({}, '', world.admin.token)).body)
    await Promise.all([reader.next(), admin.next(), sender.until('message')])
    await callJson('DELETE', `/api/v1/auth/sessions/${world.member.session_id}`, {
      token: world.member.token,
    })
    await sleep(5200)
    await gate.say('secret ')
    await gate.end()
    expect(JSON.stringify(await reader.rest())).not.toContain('secret')
    expect(JSON.stringify(await sender.rest())).not.toContain('secret')
    await admin.until('done')
    expect(textOf(admin.seen)).toBe('one secret ')
  }, 20_000)

  it('are found before the first event after a while of quiet', async () => {
    const world = await makeWorld()
    const chat = await chatWith(world, echo)
    const reader = await chat.follow()
    await reader.next()
    await chat.forget()
    await callJson('DELETE', `/api/v1/auth/sessions/${world.member.session_id}`, {
      token: world.member.token,
    })
    const admin = await call('POST', `${chat.path}/messages`, {
      token: world.admin.token,
      body: { content: 'x' },
    })
    await admin.text()
    expect(await reader.rest()).toEqual([])
  })
})

describe('a stream over a socket', () => {
  const pair = () => {
    const { 0: client, 1: server } = new WebSocketPair()
    server.accept()
    const heard: string[] = []
    const closed = new Promise<void>((resolve) => server.addEventListener('close', () => resolve()))
    server.addEventListener('message', ({ data }) => void heard.push(String(data)))
    const event = (n: number, size = 100) => {
      const data = JSON.stringify({ type: 'message', data: { content: 'x'.repeat(size) } })
      server.send(new TextEncoder().encode(`id: e1-${n}\ndata: ${data}\n\n`))
    }
    return { client, server, heard, closed, event }
  }

  it('writes comments while nothing happens', async () => {
    const { client, event } = pair()
    const reader = new EventReader(streamOver(client, null, { commentMs: 10 }))
    event(1)
    await reader.next()
    await sleep(60)
    event(2)
    await reader.next()
    expect(reader.comments.length).toBeGreaterThan(0)
  })

  it('closes the socket when the client has gone', async () => {
    const { client, closed } = pair()
    const reader = new EventReader(streamOver(client, null, { commentMs: 10 }))
    await reader.leave()
    await closed
  })

  it('ends when the object closes the socket, with all that was sent before', async () => {
    const { client, server, event } = pair()
    const reader = new EventReader(streamOver(client))
    event(1)
    event(2)
    server.close(DELETED.code, DELETED.reason)
    expect((await reader.rest()).map(({ id }) => id)).toEqual(['e1-1', 'e1-2'])
  })

  it('gives nothing of what still waits to who has lost the right to it', async () => {
    const { client, server, event } = pair()
    const reader = new EventReader(streamOver(client))
    for (let i = 1; i <= 10; i += 1) event(i)
    await sleep(50)
    server.close(GONE.code, GONE.reason)
    await sleep(50)
    // Only what was on its way to the reader already.
    expect((await reader.rest()).map(({ id }) => id).length).toBeLessThanOrEqual(1)
  })

  it('asks for more when all was taken', async () => {
    const { client, server, heard, event } = pair()
    const reader = new EventReader(streamOver(client))
    for (let i = 1; i <= 3; i += 1) event(i)
    server.send('pause')
    await sleep(20)
    expect(heard).toEqual([])
    for (let i = 1; i <= 3; i += 1) await reader.next()
    await eventually(() => heard.length)
    expect(heard).toEqual(['more'])
  })

  it('drops what a slow reader has no room for, and asks for the chat as it stands', async () => {
    const { client, server, heard, event } = pair()
    const reader = new EventReader(streamOver(client, null, { queueBytes: 2000 }))
    for (let i = 1; i <= 100; i += 1) event(i)
    await sleep(50)
    expect(heard).toEqual([])
    const next = reader.next()
    await eventually(() => heard.length)
    expect(heard).toEqual(['snapshot'])
    event(101)
    server.send('fresh')
    event(200)
    event(201)
    expect([(await next)?.id, (await reader.next())?.id]).toEqual(['e1-200', 'e1-201'])
  })
})

describe('a slow reader', () => {
  it('does not hold up the others, and is brought to the chat as it stands', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    const slow = await chat.follow()
    const fast = await chat.follow()
    await slow.next()
    const texts = Array.from({ length: 8 }, (_, i) => `${i} ${'z'.repeat(90_000)}`)
    const started = Date.now()
    for (const text of texts) {
      const sent = chat.exchange(text)
      await fast.until('done')
      await sent
    }
    expect(Date.now() - started).toBeLessThan(4000)
    expect(textOf(fast.seen)).toBe(texts.at(-1))
    await eventually(async () => {
      const event = await slow.next()
      return event?.type === 'reset' || null
    })
    await eventually(async () => {
      if (textOf(slow.seen) === texts.at(-1)) return true
      await slow.next()
      return false
    })
    expect(slow.seen.filter(({ type }) => type === 'done').length).toBeLessThan(8)
    const bytes = slow.chunks.reduce((sum, chunk) => sum + chunk.bytes, 0)
    expect(bytes).toBeLessThan(8 * 90_000)
  }, 20_000)

  it('of its own run gets all of it, at its own pace', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    const text = 'abcdefghi '.repeat(12_000)
    const reader = await chat.send(text)
    await eventually(async () => (await chat.read()).data.messages[1]?.status === 'complete')
    const events = await reader.rest()
    expect(textOf(events)).toBe(text)
    expect(events.at(-1)?.type).toBe('done')
    expect(idNumbers(events)).toEqual([...new Set(idNumbers(events))].sort((a, b) => a - b))
  })
})

import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import type { UpstreamEvent } from '../../src/domains/chat/agents/upstreams/upstream'
import { TIMINGS } from '../../src/domains/chat/room/runs/run'
import { call, callJson, makeWorld } from '../world'
import { chatAt, chatWith, EventReader, eventually, gatedChat, openChat, sleep, textOf } from './kit'

const upstream = (path: string) => `${env.RECEIVER_URL}/upstream/${path}`
const TEXT = 'Hi there! How can I help you?'
const json = { Accept: 'application/json' }

describe('sending a message', () => {
  it('streams the answer in the documented wire format, with ids', async () => {
    const chat = await chatAt(upstream('slow?n=8'))
    const answer = await chat.post({ content: 'Hello' }, { Accept: 'text/event-stream' })
    expect(answer.status).toBe(200)
    expect(answer.headers.get('Content-Type')).toMatch(/^text\/event-stream/)
    expect(answer.headers.get('Cache-Control')).toBe('no-cache, no-transform')
    expect(answer.headers.get('Content-Encoding')).toBe('identity')
    expect(answer.headers.get('X-Accel-Buffering')).toBe('no')
    const reader = new EventReader(answer.body)
    const events = await reader.rest()
    expect(reader.retry).toBe(2000)
    expect(events.map(({ type }) => type).filter((type) => type !== 'message')).toEqual(['status', 'done'])
    expect(events.length).toBeGreaterThan(3)
    expect(textOf(events)).toBe('word0 word1 word2 word3 word4 word5 word6 word7 ')
    const numbers = events.map(({ id }) => Number(/^e1-(\d+)$/.exec(id ?? '')?.[1]))
    expect(numbers).toEqual([...numbers].sort((a, b) => a - b))
    expect(new Set(numbers).size).toBe(numbers.length)
    const status = events[0]?.data
    expect(Object.keys(status ?? {})).toEqual(['description', 'level', 'done'])
    expect(status).toMatchObject({ level: 'info', done: false })
    expect(events.at(-1)?.data).toEqual({
      message: 'Stream completed',
      message_id: expect.any(String),
      run_id: expect.any(String),
      finish: 'stop',
      usage: {
        prompt_tokens: null,
        completion_tokens: null,
        time_to_first_token_ms: expect.any(Number),
        duration_ms: expect.any(Number),
      },
    })
  })

  it('writes each event by itself, in at most 4 KiB, so that the guide’s reader can parse what it reads', async () => {
    const chat = await chatWith(await makeWorld(), { name: 'Echo', kind: 'echo' })
    const text = 'long answer € '.repeat(1500)
    const reader = await chat.send(text)
    const events = await reader.rest()
    expect(events.length).toBeGreaterThan(8)
    expect(reader.longest).toBeLessThanOrEqual(4096)
    for (const { text } of reader.chunks) {
      for (const line of text.split('\n')) if (line.startsWith('data: ')) JSON.parse(line.slice(6))
    }
    expect(textOf(events)).toBe(text)
    expect((await chat.read()).data.messages[1]?.content).toBe(text)
  })

  it('keeps both messages, linked, and makes a title of the first exchange', async () => {
    const chat = await chatAt(upstream('sse'))
    await chat.exchange('Where is my *order*?')
    await chat.exchange('And now?')
    const { data } = await chat.read()
    expect(data.title).toBe('Where is my order?')
    expect(data.messages.map(({ role, content, status }) => ({ role, content, status }))).toEqual([
      { role: 'user', content: 'Where is my *order*?', status: 'complete' },
      { role: 'assistant', content: TEXT, status: 'complete' },
      { role: 'user', content: 'And now?', status: 'complete' },
      { role: 'assistant', content: TEXT, status: 'complete' },
    ])
    const ids = data.messages.map(({ id }) => id)
    expect(data.messages.map(({ parent_id }) => parent_id)).toEqual([null, ...ids.slice(0, 3)])
  })

  it('tells the agent the whole conversation', async () => {
    const key = crypto.randomUUID()
    const chat = await chatAt(upstream(`sse?key=${key}&text=Sure`))
    await chat.exchange('first')
    await chat.exchange('second')
    const seen = (await (await fetch(upstream(`requests/${key}`))).json()) as {
      body: string
      headers: Record<string, string>
    }[]
    const { messages, sessionId, chatInput } = JSON.parse(seen[1]?.body ?? '')
    expect(messages.map(({ role, content }: Record<string, string>) => [role, content])).toEqual([
      ['user', 'first'],
      ['assistant', 'Sure'],
      ['user', 'second'],
    ])
    expect([sessionId, chatInput]).toEqual([chat.id, 'second'])
    expect(seen[1]?.headers['x-causeway-run-id']).toBe((await chat.read()).data.messages[3]?.run_id)
  })

  it('waits and answers both messages where JSON is preferred', async () => {
    const chat = await chatAt(upstream('sse'))
    const { status, data } = await callJson('POST', `${chat.path}/messages`, {
      token: chat.person.token,
      body: { content: 'Hello' },
      headers: json,
    })
    expect(status).toBe(200)
    expect(data).toMatchObject({
      run_id: expect.any(String),
      finish: 'stop',
      messages: [
        { role: 'user', content: 'Hello', status: 'complete' },
        { role: 'assistant', content: TEXT, status: 'complete' },
      ],
    })
  })

  it('answers at once with the run where that is preferred, and goes on', async () => {
    const { chat, gate } = await gatedChat()
    const answer = await chat.post({ content: 'Hello' }, { Prefer: 'respond-async' })
    expect(answer.status).toBe(202)
    expect(answer.headers.get('Preference-Applied')).toBe('respond-async')
    const { data } = (await answer.json()) as { data: Record<string, string> }
    expect(data).toEqual({ run_id: expect.any(String), message_id: expect.any(String), status: 'streaming' })
    await gate.say('Later')
    await gate.end()
    const done = await eventually(async () =>
      (await chat.read()).data.messages.find(
        ({ id, status }) => id === data.message_id && status === 'complete',
      ),
    )
    expect(done).toMatchObject({ content: 'Later', run_id: data.run_id })
  })

  it('goes on when the sender leaves', async () => {
    const { chat, gate } = await gatedChat()
    const reader = await chat.send('Hello')
    await gate.say('one ')
    await reader.until('message')
    await reader.leave()
    for (const word of ['two ', 'three ', 'four']) {
      await gate.say(word)
      await sleep(60)
    }
    await gate.end()
    const answer = await eventually(async () =>
      (await chat.read()).data.messages.find(
        ({ role, status }) => role === 'assistant' && status === 'complete',
      ),
    )
    expect(answer?.content).toBe('one two three four')
  })

  it('takes an API key of the owner, and of an admin', async () => {
    const world = await makeWorld()
    const chat = await chatWith(world, { name: 'Echo', kind: 'echo' })
    const answer = await call('POST', `${chat.path}/messages`, {
      key: world.apiKey,
      body: { content: 'by key' },
      headers: json,
    })
    expect(answer.status).toBe(200)
  })
})

describe('the same message again', () => {
  it('gives the same run from its start, while it goes on and afterwards', async () => {
    const { chat, gate } = await gatedChat()
    const first = await chat.send('Hello', { client_message_id: 'mine-1' })
    await gate.say('one ')
    await first.until('message')
    const again = await chat.post({ content: 'Hello', client_message_id: 'mine-1' })
    expect(again.status).toBe(200)
    expect(again.headers.get('Idempotency-Replayed')).toBe('true')
    const second = new EventReader(again.body)
    await second.until('message')
    await gate.say('two')
    await gate.end()
    await Promise.all([first.rest(), second.rest()])
    const third = await chat.exchange('Hello', { client_message_id: 'mine-1' })
    expect(second.seen).toEqual(first.seen)
    expect(third).toEqual(first.seen)
    expect((await chat.read()).data.messages).toHaveLength(2)
  })

  it('may be named by an idempotency key', async () => {
    const key = crypto.randomUUID()
    const chat = await chatAt(upstream(`sse?key=${key}`))
    const headers = { 'Idempotency-Key': 'key-1' }
    const first = await new EventReader((await chat.post({ content: 'Hello' }, headers)).body).rest()
    const again = await chat.post({ content: 'Hello' }, { 'X-Idempotency-Key': 'key-1' })
    expect(again.headers.get('Idempotency-Replayed')).toBe('true')
    expect(await new EventReader(again.body).rest()).toEqual(first)
    expect(await (await fetch(upstream(`requests/${key}`))).json()).toHaveLength(1)
    const waited = await chat.post({ content: 'Hello' }, { ...headers, ...json })
    expect(waited.headers.get('Idempotency-Replayed')).toBe('true')
    expect(((await waited.json()) as { data: object }).data).toMatchObject({
      messages: [{}, { content: TEXT }],
    })
  })

  it('is one message however many ask at once', async () => {
    const { chat, gate } = await gatedChat()
    const asked = Array.from({ length: 20 }, () => chat.send('Hello', { client_message_id: 'once' }))
    await gate.say('one ')
    await gate.end()
    const all = await Promise.all((await Promise.all(asked)).map((reader) => reader.rest()))
    for (const events of all) expect(events).toEqual(all[0])
    expect((await chat.read()).data.messages).toHaveLength(2)
  })

  it('is refused where it says something else', async () => {
    const chat = await chatAt(upstream('sse'))
    await chat.exchange('Hello', { client_message_id: 'mine' })
    const { status, error } = await callJson('POST', `${chat.path}/messages`, {
      token: chat.person.token,
      body: { content: 'Something else', client_message_id: 'mine' },
    })
    expect([status, error.code]).toEqual([422, 'idempotency_key_reused'])
    expect((await chat.read()).data.messages).toHaveLength(2)
  })

  it('still gives its run when the frames of that day are gone', async () => {
    const chat = await chatWith(await makeWorld(), { name: 'Echo', kind: 'echo' })
    const content = 'tenletters'.repeat(1000)
    const first = await chat.exchange(content, { client_message_id: 'old' })
    await chat.inObject((object) => {
      const { conversation, log } = object.furnish(chat.ids)
      conversation.compact(log, Date.now())
    })
    const later = await chat.exchange(content, { client_message_id: 'old' })
    expect(textOf(later)).toBe(textOf(first))
    expect(later.at(-1)).toEqual(first.at(-1))
  })
})

describe('a message is refused', () => {
  it('while another is being answered', async () => {
    const { chat, gate } = await gatedChat()
    const reader = await chat.send('Hello')
    const { status, error } = await callJson('POST', `${chat.path}/messages`, {
      token: chat.person.token,
      body: { content: 'Me too' },
    })
    expect([status, error.code]).toEqual([409, 'run_in_progress'])
    await gate.say('done')
    await gate.end()
    await reader.rest()
    expect(error.details.run_id).toBe((await chat.read()).data.messages[1]?.run_id)
    expect((await chat.read()).data.messages).toHaveLength(2)
  })

  it.each([
    [{}, 'content'],
    [{ content: '' }, 'content'],
    [{ content: ' \n\t' }, 'content'],
    [{ content: 7 }, 'content'],
    [{ content: 'x'.repeat(128 * 1024 + 1) }, 'content'],
    [{ content: '€'.repeat(64 * 1024) }, 'content'],
    [{ content: 'x', client_message_id: '' }, 'client_message_id'],
    [{ content: 'x', client_message_id: 'x'.repeat(256) }, 'client_message_id'],
    [{ content: 'x', role: 'system' }, 'role'],
    [{ content: 'x', attachments: ['x'] }, 'attachments.0'],
  ])('where a field is wrong (%#)', async (body, field) => {
    const world = await makeWorld()
    const chat = await chatWith(world, { name: 'Echo', kind: 'echo' })
    const { status, error } = await callJson('POST', `${chat.path}/messages`, {
      token: chat.person.token,
      body,
    })
    expect([status, error.code]).toEqual([422, 'validation_failed'])
    expect(Object.keys(error.details.fields ?? {})).toEqual([field])
    expect((await chat.read()).data.messages).toEqual([])
  })

  it('where the body or a header is malformed', async () => {
    const chat = await chatWith(await makeWorld(), { name: 'Echo', kind: 'echo' })
    const path = `${chat.path}/messages`
    const token = chat.person.token
    const asJson = { 'Content-Type': 'application/json' }
    expect((await call('POST', path, { token, raw: '{', headers: asJson })).status).toBe(400)
    expect((await call('POST', path, { token, raw: 'hello' })).status).toBe(415)
    expect((await call('POST', path, { token, raw: 'x'.repeat(2 ** 20 + 1), headers: asJson })).status).toBe(
      413,
    )
    const long = { 'Idempotency-Key': 'x'.repeat(256) }
    expect((await call('POST', path, { token, body: { content: 'x' }, headers: long })).status).toBe(400)
  })

  it('without the scope, or for a chat that is not there for the caller', async () => {
    const world = await makeWorld()
    const other = await makeWorld()
    const chat = await chatWith(world, { name: 'Echo', kind: 'echo' })
    const as = async (token: string, id = chat.id) =>
      (
        await callJson('POST', `/api/v1/chats/${id}/messages`, {
          token,
          body: { content: 'x' },
          headers: json,
        })
      ).status
    expect(await as(world.viewer.token)).toBe(403)
    expect(await as(world.developer.token)).toBe(404)
    expect(await as(other.admin.token)).toBe(404)
    expect(await as(world.member.token, crypto.randomUUID())).toBe(404)
    expect(await as(world.member.token, 'nonsense')).toBe(422)
    expect(await as('wrong')).toBe(401)
    expect(await as(world.admin.token)).toBe(200)
  })

  it('by an inactive agent with its next message, and by one that was deleted', async () => {
    const world = await makeWorld()
    const chat = await chatWith(world, { name: 'Echo', kind: 'echo' })
    const agent = `/api/v1/agents/${chat.agentId}`
    const send = async () =>
      (
        await callJson('POST', `${chat.path}/messages`, {
          token: world.member.token,
          body: { content: 'x' },
          headers: json,
        })
      ).status
    expect(await send()).toBe(200)
    await callJson('PATCH', agent, { token: world.admin.token, body: { is_active: false } })
    expect(await send()).toBe(409)
    expect((await chat.read()).status).toBe(200)
    await callJson('PATCH', agent, { token: world.admin.token, body: { is_active: true } })
    expect(await send()).toBe(200)
    await callJson('DELETE', agent, { token: world.admin.token })
    expect(await send()).toBe(409)
    expect((await chat.read()).data.messages).toHaveLength(4)
  })
})

describe('an agent that fails', () => {
  it.each([
    ['status?code=500', 'upstream_status'],
    ['html', 'upstream_html'],
    ['empty', 'upstream_empty'],
    ['redirect', 'upstream_redirect'],
    ['reset', 'upstream_unreachable'],
  ])('(%s) ends the run with one error and the chat goes on', async (path, code) => {
    const chat = await chatAt(upstream(path))
    const events = await chat.exchange('Hello')
    expect(events.filter(({ type }) => type === 'done' || type === 'error')).toHaveLength(1)
    const { messages } = (await chat.read()).data
    expect(events.at(-1)).toMatchObject({
      type: 'error',
      data: {
        code,
        message: expect.any(String),
        retryable: expect.any(Boolean),
        message_id: messages[1]?.id,
      },
    })
    expect(messages[1]).toMatchObject({ status: 'failed', content: '', metadata: { error: { code } } })
    expect((await chat.exchange('Again')).at(-1)?.type).toBe('error')
  })

  it('keeps what had come', async () => {
    const { chat, gate } = await gatedChat()
    const reader = await chat.send('Hello')
    await gate.say('one ', 'two ')
    await reader.until('message')
    await gate.reset()
    await reader.rest()
    expect(reader.seen.at(-1)).toMatchObject({ type: 'error', data: { code: 'upstream_reset' } })
    expect(textOf(reader.seen)).toBe('one two ')
    expect((await chat.read()).data.messages[1]).toMatchObject({ status: 'failed', content: 'one two ' })
  })

  it('is a 502 for who waits, and again the same for who asks again', async () => {
    const chat = await chatAt(upstream('status?code=500'))
    for (let i = 0; i < 2; i += 1) {
      const { status, error } = await callJson('POST', `${chat.path}/messages`, {
        token: chat.person.token,
        body: { content: 'Hello', client_message_id: 'c' },
        headers: json,
      })
      expect([status, error.code, error.details.reason]).toEqual([502, 'upstream_failed', 'upstream_status'])
    }
    expect((await chat.read()).data.messages).toHaveLength(2)
  })
})

describe('stopping', () => {
  it('keeps the text so far before it answers, from any tab, any number of times', async () => {
    const { chat, gate } = await gatedChat()
    const reader = await chat.send('Hello')
    await gate.say('one ', 'two ')
    await reader.until('message')
    await eventually(async () => (await chat.read()).data.messages[1]?.content === 'one two ')
    const first = await chat.stop({})
    expect(first).toMatchObject({ status: 200, data: { stopped: true } })
    expect((await chat.read()).data.messages[1]).toMatchObject({ status: 'stopped', content: 'one two ' })
    expect((await chat.stop()).data).toEqual({ stopped: false, run_id: null, message_id: null })
    await reader.rest()
    expect(reader.seen.at(-1)).toMatchObject({
      type: 'done',
      data: { finish: 'stopped', run_id: first.data.run_id },
    })
    expect(textOf(reader.seen)).toBe('one two ')
    const next = await chat.send('Again')
    await gate.say('fresh')
    await gate.end()
    await next.rest()
    expect((await chat.read()).data.messages[3]).toMatchObject({ status: 'complete', content: 'fresh' })
  })

  it('ends the call of the agent', async () => {
    const key = crypto.randomUUID()
    const chat = await chatAt(upstream(`slow?key=${key}&n=500`))
    const reader = await chat.send('Hello')
    await reader.until('message')
    await chat.stop()
    await eventually(async () => {
      const seen = (await (await fetch(upstream(`requests/${key}`))).json()) as { aborted: boolean }[]
      return seen[0]?.aborted
    })
  })

  it('is for the run it names', async () => {
    const { chat, gate } = await gatedChat()
    const reader = await chat.send('Hello')
    await gate.say('one')
    await reader.until('message')
    const run_id = crypto.randomUUID()
    expect((await chat.stop({ run_id })).data).toMatchObject({ stopped: false, run_id })
    expect((await chat.read()).data.messages[1]?.status).toBe('streaming')
    expect((await chat.stop({ run_id: 'x' })).status).toBe(422)
    expect((await chat.stop({ other: 1 })).status).toBe(422)
    const own = (await chat.read()).data.messages[1]?.run_id
    expect((await chat.stop({ run_id: own })).data).toMatchObject({ stopped: true, run_id: own })
  })

  it('is for who may write to the chat', async () => {
    const world = await makeWorld()
    const chat = await chatWith(world, { name: 'Echo', kind: 'echo' })
    expect((await chat.stop({}, world.viewer.token)).status).toBe(403)
    expect((await chat.stop({}, world.developer.token)).status).toBe(404)
    expect((await chat.stop({}, (await makeWorld()).admin.token)).status).toBe(404)
  })
})

describe('the log', () => {
  it('is read page by page, each entry once', async () => {
    const chat = await chatAt(upstream('slow?n=30'))
    const events = await chat.exchange('Hello')
    const whole = await chat.log()
    expect(await chat.log(3)).toEqual(whole)
    expect(whole.map(({ type }) => type).slice(0, 3)).toEqual([
      'message.created',
      'message.created',
      'status',
    ])
    expect(whole.filter(({ type }) => ['status', 'message', 'done'].includes(type))).toMatchObject(events)
    expect(whole.map(({ id }) => id)).toEqual(whole.map((_, i) => `e1-${i + 1}`))
    expect(textOf(whole)).toBe((await chat.read()).data.messages[1]?.content)
  })

  it('holds what an event on the wire is too small for', async () => {
    const chat = await chatWith(await makeWorld(), { name: 'Echo', kind: 'echo' })
    const content = 'word '.repeat(5000)
    await chat.exchange(content)
    expect((await chat.log())[0]?.data.content).toBe(content)
  })

  it('answers one reset with the whole chat where it can’t be read on', async () => {
    const chat = await chatAt(upstream('sse'))
    await chat.exchange('Hello')
    for (const after of ['e1-999', 'e2-1', 'e9-9']) {
      const page = await callJson<unknown[]>('GET', `${chat.path}/events?after=${after}`, {
        token: chat.person.token,
      })
      expect(page.data).toMatchObject([
        { type: 'reset', data: { complete: true, messages: [{ content: 'Hello' }, { content: TEXT }] } },
      ])
    }
  })

  it('refuses what is no cursor, and who may not read', async () => {
    const world = await makeWorld()
    const chat = await chatWith(world, { name: 'Echo', kind: 'echo' })
    const as = async (token: string, query = '') =>
      (await callJson('GET', `${chat.path}/events${query}`, { token })).status
    expect(await as(world.member.token, '?after=nonsense')).toBe(422)
    expect(await as(world.member.token, '?limit=0')).toBe(422)
    expect(await as(world.member.token, '?other=1')).toBe(422)
    expect(await as(world.viewer.token)).toBe(404)
    expect(await as(world.admin.token)).toBe(200)
    expect(await as((await makeWorld()).admin.token)).toBe(404)
  })
})

describe('the way to the agent', () => {
  it('takes no look at D1 while the copy of agent and rights is young', async () => {
    const world = await makeWorld()
    const chat = await chatWith(world, { name: 'Echo', kind: 'echo' })
    await chat.exchange('warm')
    const looks = await chat.inObject(async (object) => {
      const room = object.furnish(chat.ids, {
        timings: TIMINGS,
        upstreamOf: () =>
          async function* (): AsyncGenerator<UpstreamEvent> {
            yield { kind: 'delta', text: 'ok' }
          },
      })
      const caller = {
        key: 'k',
        kind: 'user' as const,
        id: world.member.user.id,
        user_id: world.member.user.id,
        session_id: null,
        role: 'member',
        scopes: ['chats:read', 'chats:write'],
      }
      const order = { caller, traceparent: '', input: { kind: 'send' as const, content: 'x' } }
      const counted: number[] = []
      let found = 0
      const find = room.access.find.bind(room.access)
      room.access.find = () => {
        found += 1
        return find()
      }
      for (let i = 0; i < 3; i += 1) {
        const { run } = await room.send(order)
        counted.push(found)
        await room.exchange(caller, run.id)
      }
      return counted
    })
    expect(looks).toEqual([1, 1, 1])
  })

  it('serves chats of several people without mixing them up', async () => {
    const world = await makeWorld()
    const mine = await chatWith(world, { name: 'Echo', kind: 'echo' })
    const others = await openChat(world, world.developer, mine.agentId)
    await Promise.all([mine.exchange('mine'), others.exchange('theirs')])
    expect((await mine.read()).data.messages.map(({ content }) => content)).toEqual(['mine', 'mine'])
    expect((await others.read()).data.messages.map(({ content }) => content)).toEqual(['theirs', 'theirs'])
  })
})

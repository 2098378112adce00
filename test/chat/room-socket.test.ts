import { evictDurableObject } from 'cloudflare:test'
import { describe, expect, it } from 'vitest'
import { call, callJson, makePlatformAdmin, makeWorld } from '../world'
import { chatWith, gatedChat, Socket, sleep, textOf } from './kit'

const echo = { name: 'Echo', kind: 'echo' }

function socketOf(answer: Response): Socket {
  if (!answer.webSocket) throw new Error(`no socket: ${answer.status}`)
  return new Socket(answer.webSocket)
}

describe('a socket to a chat', () => {
  it('shows the stream’s events as {id, type, data}', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    const stream = await chat.follow()
    const socket = await chat.socket()
    await Promise.all([stream.next(), socket.until('snapshot')])
    await chat.exchange('Hello there')
    await Promise.all([stream.until('done'), socket.until('done')])
    expect(socket.seen).toEqual(stream.seen)
    expect(Object.keys(socket.seen[0] ?? {})).toEqual(['id', 'type', 'data'])
  })

  it('takes a message, as the route does', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    const socket = await chat.socket()
    socket.send('message', { content: 'by socket', client_message_id: 'c1' })
    await socket.until('done')
    const { messages } = (await chat.read()).data
    expect(messages.map(({ content }) => content)).toEqual(['by socket', 'by socket'])
    expect(messages[0]?.metadata).toEqual({ client_message_id: 'c1' })
    // Sent again, it is the same run: nothing happens.
    socket.send('message', { content: 'by socket', client_message_id: 'c1' })
    socket.send('nonsense')
    await socket.until('error')
    expect((await chat.read()).data.messages).toHaveLength(2)
  })

  it('stops a run', async () => {
    const { chat, gate } = await gatedChat()
    const socket = await chat.socket()
    socket.send('message', { content: 'Hello' })
    await gate.say('one ')
    await socket.until('message')
    socket.send('stop')
    expect(await socket.until('done')).toMatchObject({ data: { finish: 'stopped' } })
    expect((await chat.read()).data.messages[1]).toMatchObject({ status: 'stopped', content: 'one ' })
  })

  it('resumes from a cursor, when it opens or later', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    await chat.exchange('one two three')
    const whole = await chat.log()
    const opened = await chat.socket('?last_event_id=e1-2')
    await opened.until('done')
    expect(opened.seen.map(({ id }) => id)).toEqual(whole.slice(2).map(({ id }) => id))
    const later = await chat.socket()
    await later.until('snapshot')
    later.send('resume', { last_event_id: 'e1-1' })
    await later.until('done')
    expect(later.seen.slice(1).map(({ id }) => id)).toEqual(whole.slice(1).map(({ id }) => id))
    later.send('resume', { last_event_id: 'e7-1' })
    expect(await later.until('reset')).toMatchObject({ data: { cursor: whole.at(-1)?.id } })
  })

  it('answers a ping while it sleeps', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    const socket = await chat.socket()
    socket.ws.send('ping')
    await socket.until('pong')
  })

  it('sleeps with the object and goes on when something happens', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    await chat.exchange('before')
    const socket = await chat.socket()
    const stream = await chat.follow()
    await Promise.all([socket.until('snapshot'), stream.next()])
    await evictDurableObject(chat.stub)
    await chat.exchange('after')
    await Promise.all([socket.until('done'), stream.until('done')])
    expect(textOf(socket.seen)).toBe('after')
    expect(textOf(stream.seen)).toBe('after')
    const ids = socket.seen.map(({ id }) => Number(id?.split('-')[1]))
    expect(ids).toEqual(ids.map((_, i) => (ids[0] ?? 0) + i))
    await evictDurableObject(chat.stub)
    socket.send('message', { content: 'woken by a frame' })
    await socket.until('done')
    expect((await chat.read()).data.messages).toHaveLength(6)
  }, 15_000)
})

describe('a frame is refused', () => {
  it.each([
    ['nonsense', 'malformed_json', undefined],
    ['[]', 'validation_failed', ['body']],
    ['{"type":"dance"}', 'validation_failed', ['type']],
    ['{"data":{}}', 'validation_failed', ['type']],
    ['{"type":"message"}', 'validation_failed', ['data']],
    ['{"type":"message","data":{"content":" "}}', 'validation_failed', ['data.content']],
    ['{"type":"message","data":{"content":"x","role":"system"}}', 'validation_failed', ['data.role']],
    ['{"type":"message","data":{"content":"x"},"to":1}', 'validation_failed', ['to']],
    ['{"type":"stop","data":{"run_id":"x"}}', 'validation_failed', ['data.run_id']],
    ['{"type":"resume","data":{"last_event_id":"x"}}', 'validation_failed', ['data.last_event_id']],
  ])('by an error frame that says what is wrong (%s)', async (frame, code, fields) => {
    const chat = await chatWith(await makeWorld(), echo)
    const socket = await chat.socket()
    socket.ws.send(frame)
    const { id, data } = await socket.until('error')
    expect(id).toBeUndefined()
    expect(data).toMatchObject({ code, message: expect.any(String), retryable: false })
    if (fields) expect(Object.keys((data.details as { fields: object }).fields)).toEqual(fields)
    socket.send('message', { content: 'still open' })
    await socket.until('done')
    expect((await chat.read()).data.messages).toHaveLength(2)
  })

  it('also where it is bytes, or while another run goes on', async () => {
    const { chat, gate } = await gatedChat()
    const socket = await chat.socket()
    socket.ws.send(new Uint8Array([1, 2, 3]))
    expect(await socket.until('error')).toMatchObject({ data: { code: 'malformed_json' } })
    socket.send('message', { content: 'one' })
    socket.send('message', { content: 'two' })
    expect(await socket.until('error')).toMatchObject({ data: { code: 'run_in_progress' } })
    await gate.say('x')
    await gate.end()
    await socket.until('done')
  })

  it('after it was counted, as a request with the same mistake is', async () => {
    const world = await makeWorld({ rate_limits: { messages_per_minute: 2, requests_per_minute: 20 } })
    const chat = await chatWith(world, echo)
    const socket = await chat.socket()
    const refusal = async (type: string, data: object) => {
      socket.send(type, data)
      return (await socket.until('error')).data
    }
    for (const data of [{}, { content: ' ' }])
      expect(await refusal('message', data)).toMatchObject({ code: 'validation_failed' })
    expect(await refusal('message', {})).toMatchObject({
      code: 'rate_limited',
      details: { window: 'messages', limit: 2 },
    })
    // What the agent and the chat took to make is counted too.
    const seen: unknown[] = []
    for (let i = 0; i < 20; i++) seen.push((await refusal('stop', { run_id: 'x' })).code)
    expect(new Set(seen)).toEqual(new Set(['validation_failed', 'rate_limited']))
    // To begin again is to be sent the chat anew.
    socket.send('resume')
    expect((await socket.until('error', 'snapshot')).data).toMatchObject({ code: 'rate_limited' })
  })

  it('counted where the sender’s requests are: of the platform at home', async () => {
    const world = await makeWorld({ rate_limits: { messages_per_minute: 2 } })
    const chat = await chatWith(world, echo)
    const headers = { Upgrade: 'websocket', 'X-Target-Tenant-ID': world.tenant.id }
    const { token } = await makePlatformAdmin()
    const socket = socketOf(await call('GET', `${chat.path}/ws`, { token, headers }))
    for (let i = 0; i < 4; i++) {
      socket.send('message', {})
      expect((await socket.until('error')).data).toMatchObject({ code: 'validation_failed' })
    }
  })

  it('beyond the own limits of the API key that the ticket was made with', async () => {
    const world = await makeWorld()
    const chat = await chatWith(world, echo)
    const { data } = await callJson<{ key: string }>('POST', '/api/v1/auth/api-keys', {
      token: world.admin.token,
      body: { name: 'few', scopes: ['chats:read', 'chats:write', 'chats:admin'], limits: { per_minute: 3 } },
    })
    const ticket = await callJson<{ ticket: string }>('POST', '/api/v1/realtime/ticket', { key: data.key })
    const path = `${chat.path}/ws?ticket=${ticket.data.ticket}`
    const socket = socketOf(await call('GET', path, { headers: { Upgrade: 'websocket' } }))
    const codes: unknown[] = []
    for (let i = 0; i < 3; i++) {
      socket.send('stop', { run_id: 'x' })
      codes.push((await socket.until('error')).data)
    }
    expect(codes).toMatchObject([
      { code: 'validation_failed' },
      { code: 'validation_failed' },
      { code: 'rate_limited', details: { window: 'api_key_minute', limit: 3 } },
    ])
  })

  it('without the scope to write', async () => {
    const world = await makeWorld()
    const chat = await chatWith(world, echo)
    const { data } = await callJson<{ key: string }>('POST', '/api/v1/auth/api-keys', {
      token: world.admin.token,
      body: { name: 'reads', scopes: ['chats:read', 'chats:admin'] },
    })
    const answer = await call('GET', `${chat.path}/ws`, { key: data.key, headers: { Upgrade: 'websocket' } })
    const ws = answer.webSocket
    if (!ws) throw new Error('no socket')
    const heard = Promise.withResolvers<Record<string, unknown>>()
    ws.addEventListener('message', ({ data }) => {
      const event = JSON.parse(String(data))
      if (event.type === 'error') heard.resolve(event.data)
    })
    ws.accept()
    ws.send(JSON.stringify({ type: 'message', data: { content: 'x' } }))
    expect(await heard.promise).toMatchObject({ code: 'insufficient_scope' })
    expect((await chat.read()).data.messages).toEqual([])
  })

  it('with a close where it is over 64 KiB', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    const socket = await chat.socket()
    socket.send('message', { content: 'x'.repeat(64 * 1024) })
    expect((await socket.closed).code).toBe(4413)
    expect((await chat.read()).data.messages).toEqual([])
  })

  it('with a close where there are more than 50 in a second', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    const polite = await chat.socket()
    for (let i = 0; i < 50; i += 1) polite.send('stop')
    await sleep(50)
    expect(polite.ws.readyState).toBe(WebSocket.OPEN)
    const rude = await chat.socket()
    for (let i = 0; i < 60; i += 1) rude.send('stop')
    expect((await rude.closed).code).toBe(4429)
  })

  it('with a close where more wait than are kept, because one takes long', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    const socket = await chat.socket()
    await socket.until('snapshot')
    await chat.inObject((object) => {
      object.furnish(chat.ids).rights.settle = () => new Promise(() => {})
    })
    for (let second = 0; second < 3; second += 1) {
      for (let i = 0; i < 40; i += 1) socket.send('stop')
      await sleep(1_050)
    }
    expect((await socket.closed).code).toBe(4429)
  })
})

describe('the way in', () => {
  it('is an upgrade, by who may read the chat', async () => {
    const world = await makeWorld()
    const chat = await chatWith(world, echo)
    const status = async (
      token: string,
      headers: Record<string, string> = { Upgrade: 'websocket' },
      query = '',
    ) => {
      const answer = await call('GET', `${chat.path}/ws${query}`, { token, headers })
      answer.webSocket?.accept()
      answer.webSocket?.close()
      return answer.status
    }
    expect(await status(world.member.token)).toBe(101)
    expect(await status(world.admin.token)).toBe(101)
    expect(await status(world.member.token, {})).toBe(400)
    expect(await status(world.member.token, { Upgrade: 'h2c' })).toBe(400)
    expect(await status(world.member.token, undefined, '?last_event_id=x')).toBe(422)
    expect(await status('nonsense')).toBe(401)
    expect(await status(world.developer.token)).toBe(404)
    expect(await status((await makeWorld()).admin.token)).toBe(404)
  })

  it('by cookie is for allowed origins only', async () => {
    const world = await makeWorld()
    const chat = await chatWith(world, echo)
    const status = async (Origin: string) => {
      const headers = { Upgrade: 'websocket', Cookie: `access_token=${world.member.token}`, Origin }
      const answer = await call('GET', `${chat.path}/ws`, { headers })
      answer.webSocket?.accept()
      answer.webSocket?.close()
      return answer.status
    }
    expect(await status('http://localhost:3000')).toBe(101)
    expect(await status('https://evil.example')).toBe(403)
    expect(await status('null')).toBe(403)
  })
})

describe('rights on a socket', () => {
  it('end it: 4401 with its session, 4403 with the right to the chat', async () => {
    const world = await makeWorld()
    const { chat, gate } = await gatedChat(world)
    const member = await chat.socket()
    const admin = await chat.socket('', world.admin.token)
    await Promise.all([member.until('snapshot'), admin.until('snapshot')])
    await callJson('DELETE', `/api/v1/auth/sessions/${world.member.session_id}`, {
      token: world.member.token,
    })
    await chat.forget()
    admin.send('message', { content: 'secret' })
    expect((await member.closed).code).toBe(4401)
    expect(JSON.stringify(member.seen)).not.toContain('secret')
    await gate.say('x')
    await gate.end()
    await admin.until('done')
    await callJson('DELETE', chat.path, { token: world.admin.token })
    expect((await admin.closed).code).toBe(4403)
  })

  it('are asked before a frame is taken', async () => {
    const world = await makeWorld()
    const chat = await chatWith(world, echo)
    const socket = await chat.socket()
    await socket.until('snapshot')
    await callJson('DELETE', `/api/v1/auth/sessions/${world.member.session_id}`, {
      token: world.member.token,
    })
    await chat.forget()
    socket.send('message', { content: 'too late' })
    expect((await socket.closed).code).toBe(4401)
    expect(
      (await callJson<{ messages: unknown[] }>('GET', chat.path, { token: world.admin.token })).data.messages,
    ).toEqual([])
  })

  it('of a key end with the key, of a user with the suspension', async () => {
    const world = await makeWorld()
    const chat = await chatWith(world, echo)
    const made = await callJson<{ id: string; key: string }>('POST', '/api/v1/auth/api-keys', {
      token: world.admin.token,
      body: { name: 'short-lived', scopes: ['chats:read', 'chats:write', 'chats:admin'] },
    })
    const answer = await call('GET', `${chat.path}/ws`, {
      key: made.data.key,
      headers: { Upgrade: 'websocket' },
    })
    const closed = new Promise<number>((resolve) =>
      answer.webSocket?.addEventListener('close', ({ code }) => resolve(code)),
    )
    answer.webSocket?.accept()
    await callJson('DELETE', `/api/v1/auth/api-keys/${made.data.id}`, { token: world.admin.token })
    await chat.forget()
    await chat.exchange('Hello')
    expect(await closed).toBe(4401)
  })
})

describe('a ticket', () => {
  const ticketOf = async (token: string, headers: Record<string, string> = {}) =>
    (await callJson<{ ticket: string }>('POST', '/api/v1/realtime/ticket', { token, headers })).data.ticket

  const open = (path: string, ticket: string) =>
    call('GET', `${path}/ws?ticket=${ticket}`, { headers: { Upgrade: 'websocket' } })

  it('opens a socket or a stream once, for who may read the chat', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    const ticket = await ticketOf(chat.person.token)
    const opened = await open(chat.path, ticket)
    expect(opened.status).toBe(101)
    opened.webSocket?.accept()
    opened.webSocket?.close()
    const again = await open(chat.path, ticket)
    expect(again.status).toBe(401)
    expect(await again.json()).toMatchObject({ error: { code: 'invalid_token' } })
    const stream = await call('GET', `${chat.path}/stream?ticket=${await ticketOf(chat.person.token)}`)
    expect(stream.status).toBe(200)
    await stream.body?.cancel()
    expect((await open(chat.path, await ticketOf(chat.world.viewer.token))).status).toBe(404)
  })

  it('is no credential anywhere else, and none after its login has ended', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    const ticket = await ticketOf(chat.person.token)
    expect((await call('GET', `${chat.path}?ticket=${ticket}`)).status).toBe(401)
    await callJson('POST', '/api/v1/auth/logout', { token: chat.person.token })
    expect((await open(chat.path, ticket)).status).toBe(401)
    expect((await open(chat.path, 'rt_none')).status).toBe(401)
  })
})

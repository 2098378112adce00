import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { callJson, makeWorld, type World } from '../world'
import { chatWith, gatedChat, sleep, type TestChat, textOf } from './kit'
import { Place } from './schedules/place'
import { expectWhole, truthOf } from './schedules/truth'

// What no client of ours would send: it is refused in the documented way, and the chat is as it was before, for who sent
// it and for who looks on.

let world: World
beforeAll(async () => {
  world = await makeWorld({ plan: 'enterprise' })
})

/** Does something to a chat with one exchange in it; the log must be the same after it, and the next message be answered. */
async function unharmed(act: (chat: TestChat) => Promise<void>): Promise<void> {
  const chat = await chatWith(world, { name: 'Echo', kind: 'echo' })
  await chat.exchange('Before')
  const onlooker = await chat.follow()
  await onlooker.until('snapshot')
  const before = await chat.log()
  await act(chat)
  expect(await chat.log()).toEqual(before)
  expect(textOf(await chat.exchange('After'))).toBe('After')
  await onlooker.until('done')
  const shown = onlooker.seen.filter(({ type }) => type === 'message.created')
  expect(shown.map(({ data }) => data.role)).toEqual(['user', 'assistant'])
  expect(onlooker.seen.some(({ type }) => type === 'reset')).toBe(false)
  await onlooker.leave()
  const place = new Place(chat.world, chat.person, chat.id, chat.agentId)
  expectWhole(place, await truthOf(place, 50))
}

const fieldsOf = (details: unknown): string[] => Object.keys((details as { fields: object }).fields)

describe('a message', () => {
  it.each([
    ['over 128 KiB', { content: 'x'.repeat(128 * 1024 + 1) }, 422, ['content']],
    ['over 128 KiB in bytes alone', { content: '漢'.repeat(50_000) }, 422, ['content']],
    ['of nothing', { content: ' \n' }, 422, ['content']],
    ['that is no text', { content: { text: 'x' } }, 422, ['content']],
    ['with fields that there are not', { content: 'x', role: 'system' }, 422, ['role']],
    ['below one that is not there', { content: 'x', parent_id: crypto.randomUUID() }, 422, ['parent_id']],
    [
      'with a name that is too long',
      { content: 'x', client_message_id: 'n'.repeat(256) },
      422,
      ['client_message_id'],
    ],
  ])('%s is refused by its field', (_, body, status, fields) =>
    unharmed(async (chat) => {
      const answer = await callJson('POST', `${chat.path}/messages`, { token: chat.person.token, body })
      expect(answer.status).toBe(status)
      expect(answer.error.code).toBe('validation_failed')
      expect(fieldsOf(answer.error.details)).toEqual(fields)
    }),
  )

  it('over what a body may have is 413', () =>
    unharmed(async (chat) => {
      const answer = await chat.post({ content: 'x'.repeat(1024 * 1024) })
      expect(answer.status).toBe(413)
      expect(await answer.json()).toMatchObject({ error: { code: 'body_too_large' } })
    }))

  it('to an archived chat is 409, by every way there is', () =>
    unharmed(async (chat) => {
      const archive = (is_archived: boolean) =>
        callJson('PATCH', chat.path, { token: chat.person.token, body: { is_archived } })
      const socket = await chat.socket()
      await archive(true)
      const answer = await chat.post({ content: 'Hello' })
      expect(answer.status).toBe(409)
      expect(await answer.json()).toMatchObject({ error: { code: 'chat_archived' } })
      socket.send('message', { content: 'Hello' })
      expect((await socket.until('error')).data).toMatchObject({ code: 'chat_archived' })
      await archive(false)
      socket.ws.close()
    }))

  it('while a run goes on is 409 and disturbs nothing of it', async () => {
    const { chat, gate } = await gatedChat(world)
    const sender = await chat.send('Hello')
    await gate.say('one ')
    await sender.until('message')
    const refused = await Promise.all(Array.from({ length: 20 }, (_, n) => chat.post({ content: `m${n}` })))
    for (const answer of refused) {
      expect(answer.status).toBe(409)
      expect(await answer.json()).toMatchObject({ error: { code: 'run_in_progress' } })
    }
    await gate.say('two')
    await gate.end()
    await sender.rest()
    expect(textOf(sender.seen)).toBe('one two')
    expect((await chat.read()).data.messages.map(({ content }) => content)).toEqual(['Hello', 'one two'])
  })
})

describe('a cursor', () => {
  it.each(['e2-3', 'e999999999-1', 'e1-999999999999999', 'e0-2', 'e2-0'])(
    'that was never given (%s) is answered by one reset',
    (cursor) =>
      unharmed(async (chat) => {
        const reader = await chat.follow(cursor)
        const socket = await chat.socket(`?last_event_id=${cursor}`)
        const [first, other] = [await reader.next(), await socket.until('reset', 'snapshot', 'message')]
        expect(first?.type).toBe('reset')
        expect(other).toEqual(first)
        await reader.leave()
        socket.ws.close()
        const page = await callJson<{ type: string }[]>('GET', `${chat.path}/events?after=${cursor}`, {
          token: chat.person.token,
        })
        expect(page.data.map(({ type }) => type)).toEqual(['reset'])
        expect(page.meta.next_cursor).toBeNull()
      }),
  )

  it.each(['', 'e1', 'e1-', '1-1', 'e-1-1', 'e1-1;', 'e1-99999999999999999999', '\u0000'])(
    'that is none (%j) is refused by its field',
    (cursor) =>
      unharmed(async (chat) => {
        const answer = await chat.stream({}, `?last_event_id=${encodeURIComponent(cursor)}`)
        expect(answer.status).toBe(422)
        const { error } = await answer.json<{ error: { details: unknown } }>()
        expect(fieldsOf(error.details)).toEqual(['last_event_id'])
      }),
  )
})

describe('a socket', () => {
  it('that sends garbage is told so each time, and stays open', () =>
    unharmed(async (chat) => {
      const socket = await chat.socket()
      const garbage = [
        '',
        '{',
        'null',
        '"x"',
        '[[[[',
        '{"type":"__proto__"}',
        '{"type":"constructor","data":{}}',
      ]
      for (const frame of [...garbage, '\u0000'.repeat(1000), new Uint8Array(2000)]) {
        socket.ws.send(frame)
        const { data } = await socket.until('error')
        expect(['malformed_json', 'validation_failed']).toContain(data.code)
      }
      socket.ws.send('ping')
      await socket.until('pong')
      socket.ws.close()
    }))

  it.each([
    ['over 64 KiB', 4413, (ws: WebSocket) => ws.send(`{"type":"${'x'.repeat(64 * 1024)}"}`)],
    ['over 64 KiB of bytes', 4413, (ws: WebSocket) => ws.send(new Uint8Array(64 * 1024 + 1))],
    [
      'more than 50 times a second',
      4429,
      (ws: WebSocket) => {
        for (let n = 0; n < 200; n += 1) ws.send('{"type":"ack","data":{"last_event_id":"e1-1"}}')
      },
    ],
  ] as const)('that sends %s is closed with %i', (_, code, send) =>
    unharmed(async (chat) => {
      const socket = await chat.socket()
      await socket.until('snapshot')
      send(socket.ws)
      expect((await socket.closed).code).toBe(code)
    }),
  )

  it('that sends nothing is told everything, and costs the chat nothing', () =>
    unharmed(async (chat) => {
      const silent = await chat.socket()
      await silent.until('snapshot')
      await sleep(300)
      expect(silent.ws.readyState).toBe(WebSocket.OPEN)
      // No timer of its own: the object could sleep.
      const rows = await chat.inObject((_, state) => [
        ...state.storage.sql.exec("select name from alarms where name = 'run'"),
      ])
      expect(rows).toEqual([])
      silent.ws.close()
    }))

  it('without an upgrade, or without a credential, is none', () =>
    unharmed(async (chat) => {
      const plain = await callJson('GET', `${chat.path}/ws`, { token: chat.person.token })
      expect(plain.status).toBe(400)
      const nobody = await callJson('GET', `${chat.path}/ws`, { headers: { Upgrade: 'websocket' } })
      expect(nobody.status).toBe(401)
      expect(await env.CHATS.getByName(chat.name).ping()).toBe('pong')
    }))
})

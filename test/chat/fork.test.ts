import { describe, expect, it } from 'vitest'
import { newId } from '../../src/lib/ids'
import { callJson, makeWorld } from '../world'
import { chatWith, eventually, gatedChat, openChat, type ReadChat, TestChat } from './kit'

type Forked = ReadChat & {
  user_id: string
  agent_id: string
  tags: string[]
  metadata: Record<string, unknown>
  forked_from: { chat_id: string; message_id: string } | null
}
type Msg = ReadChat['messages'][number] & { timestamp: string }

const echo = { name: 'Echo', kind: 'echo' }
const echoing = async (more: Record<string, unknown> = {}) => chatWith(await makeWorld(), echo, more)
const texts = (messages: { content: string }[]) => messages.map(({ content }) => content)

const fork = (chat: TestChat, body: Record<string, unknown>, token = chat.person.token) =>
  callJson<Forked>('POST', `${chat.path}/fork`, { token, body })

const messagesOf = async (chat: TestChat) => (await chat.read()).data.messages as Msg[]

/** The chat that a fork made. */
const made = (chat: TestChat, { id, agent_id }: Forked, person = chat.person) =>
  new TestChat(chat.world, person, id, agent_id)

describe('a fork', () => {
  it('is a chat of its own with what was said up to a message', async () => {
    const chat = await echoing({ title: 'Parcels', tags: ['post'], metadata: { order: 'A-17' } })
    await chat.exchange('one', { client_message_id: 'c1' })
    await chat.exchange('two')
    const before = await messagesOf(chat)
    const message_id = before[1]?.id ?? ''
    const { status, data, headers } = await fork(chat, { message_id })
    expect(status).toBe(201)
    expect(headers.get('Location')).toBe(`/api/v1/chats/${data.id}`)
    expect(data).toMatchObject({
      ...{ title: 'Parcels (fork)', tags: ['post'], metadata: { order: 'A-17' } },
      ...{ user_id: chat.person.user.id, agent_id: chat.agentId, message_count: 2 },
      forked_from: { chat_id: chat.id, message_id },
    })
    const other = made(chat, data)
    const copied = await messagesOf(other)
    expect(texts(copied)).toEqual(['one', 'one'])
    expect(copied.map(({ role, status, timestamp }) => [role, status, timestamp])).toEqual(
      before.slice(0, 2).map(({ role, status, timestamp }) => [role, status, timestamp]),
    )
    for (const { id } of copied) expect(before.map((one) => one.id)).not.toContain(id)
    expect(copied[1]).toMatchObject({ parent_id: copied[0]?.id, run_id: null, metadata: { finish: 'stop' } })
    expect(copied[0]?.metadata).toEqual({})
    await other.exchange('three', { client_message_id: 'c1' })
    expect(texts(await messagesOf(other))).toEqual(['one', 'one', 'three', 'three'])
    expect(texts(await messagesOf(chat))).toEqual(['one', 'one', 'two', 'two'])
    expect(
      (await callJson<Forked>('GET', chat.path, { token: chat.person.token })).data.forked_from,
    ).toBeNull()
  })

  it('takes the branch of the message, whichever is shown, and none of what was thought of it', async () => {
    const chat = await echoing()
    await chat.exchange('old')
    const [question, answer] = (await messagesOf(chat)) as [Msg, Msg]
    await callJson('POST', `${chat.path}/feedback`, {
      token: chat.person.token,
      body: { message_id: answer.id, rating: 'up' },
    })
    await callJson('PATCH', `${chat.path}/messages/${question.id}`, {
      token: chat.person.token,
      body: { content: 'new' },
      headers: { Accept: 'application/json' },
    })
    const { data } = await fork(chat, { message_id: answer.id, title: 'Mine' })
    expect(data.title).toBe('Mine')
    const copied = await messagesOf(made(chat, data))
    expect(texts(copied)).toEqual(['old', 'old'])
    for (const message of copied) expect(message).not.toHaveProperty('feedback')
    expect(texts(await messagesOf(chat))).toEqual(['new', 'new'])
  })

  it('of a fork is told from it by no longer title', async () => {
    const chat = await echoing({ title: 'x'.repeat(200) })
    await chat.exchange('a')
    const message_id = (await messagesOf(chat))[1]?.id ?? ''
    const first = await fork(chat, { message_id })
    expect(first.data.title).toBe(`${'x'.repeat(193)} (fork)`)
    const again = made(chat, first.data)
    const second = await fork(again, { message_id: (await messagesOf(again))[0]?.id ?? '' })
    expect(second.data).toMatchObject({ title: `${'x'.repeat(193)} (fork)`, message_count: 1 })
  })

  it('has answers of any length whole, also after the object was away', async () => {
    const chat = await echoing()
    await chat.exchange('q')
    const [, answer] = (await messagesOf(chat)) as [Msg, Msg]
    const long = 'ä😀"'.repeat(300_000)
    await chat.inObject((object) => {
      const { room } = object as unknown as { room: { log: { append: (...args: unknown[]) => void } } }
      for (let at = 0; at < long.length; at += 400_000)
        room.log.append(Date.now(), 'message.updated', {
          id: answer.id,
          ...(at === 0 ? { content: long.slice(0, 400_000) } : { added: long.slice(at, at + 400_000) }),
        })
    })
    const { status, data } = await fork(chat, { message_id: answer.id })
    expect(status).toBe(201)
    const other = made(chat, data)
    await other.forget()
    expect((await messagesOf(other))[1]?.content).toBe(long)
  })

  it('may go on with another agent, and must where its own is no more', async () => {
    const chat = await echoing()
    await chat.exchange('a')
    const message_id = (await messagesOf(chat))[1]?.id ?? ''
    const other = await chatWith(chat.world, { ...echo, name: 'Other' })
    const moved = await fork(chat, { message_id, agent_id: other.agentId })
    expect(moved).toMatchObject({ status: 201, data: { agent_id: other.agentId } })
    const { admin } = chat.world
    await callJson('DELETE', `/api/v1/agents/${chat.agentId}`, { token: admin.token })
    expect(await fork(chat, { message_id })).toMatchObject({ status: 409, error: { code: 'agent_inactive' } })
    expect((await fork(chat, { message_id, agent_id: other.agentId })).status).toBe(201)
    // The chat itself can be read, and takes no message.
    expect(texts(await messagesOf(chat))).toEqual(['a', 'a'])
    const sent = await chat.post({ content: 'b' })
    expect(sent.status).toBe(409)
    expect(await sent.json()).toMatchObject({ error: { code: 'agent_inactive' } })
    expect(texts(await messagesOf(chat))).toEqual(['a', 'a'])
  })

  it('is for who may read the chat, and is theirs', async () => {
    const chat = await echoing()
    await chat.exchange('a')
    const message_id = (await messagesOf(chat))[1]?.id ?? ''
    const { developer } = chat.world
    expect((await fork(chat, { message_id }, developer.token)).status).toBe(404)
    await callJson('PUT', `${chat.path}/shares`, {
      token: chat.person.token,
      body: { user_id: developer.user.id, role: 'viewer' },
    })
    const { status, data } = await fork(chat, { message_id }, developer.token)
    expect(status).toBe(201)
    expect(data.user_id).toBe(developer.user.id)
    expect((await made(chat, data).read()).status).toBe(404)
    expect(texts(await messagesOf(made(chat, data, developer)))).toEqual(['a', 'a'])
  })

  it('is refused for a message that is not there or still written, and for a wrong body', async () => {
    const { chat, gate } = await gatedChat()
    const sender = await chat.send('go')
    await gate.say('a')
    const [question, answer] = (await messagesOf(chat)) as [Msg, Msg]
    expect(await fork(chat, { message_id: answer.id })).toMatchObject({
      status: 409,
      error: { code: 'run_in_progress' },
    })
    expect((await fork(chat, { message_id: question.id })).status).toBe(201)
    for (const [body, field] of [
      [{ message_id: newId(Date.now()) }, 'message_id'],
      [{ message_id: answer.id, agent_id: newId(Date.now()) }, 'agent_id'],
      [{ message_id: 'x' }, 'message_id'],
      [{}, 'message_id'],
      [{ message_id: question.id, title: '' }, 'title'],
    ] as const) {
      const { status, error } = await fork(chat, body)
      expect(status).toBe(422)
      expect(Object.keys(error.details?.fields ?? {})).toEqual([field])
    }
    await gate.end()
    await sender.rest()
    const other = await openChat(chat.world, chat.person, chat.agentId)
    expect((await fork(other, { message_id: question.id })).status).toBe(422)
  })
})

describe('a chat’s line in lists', () => {
  it('counts what people think of its answers', async () => {
    const chat = await echoing()
    await chat.exchange('a')
    const message_id = (await messagesOf(chat))[1]?.id ?? ''
    const rated = async (rating: string | null, token: string, up: number, down: number) => {
      await callJson('POST', `${chat.path}/feedback`, { token, body: { message_id, rating } })
      await eventually(async () => {
        const { data } = await callJson<{ ratings_up: number; ratings_down: number }[]>(
          'GET',
          '/api/v1/chats',
          {
            token: chat.person.token,
          },
        )
        return data[0]?.ratings_up === up && data[0].ratings_down === down
      })
    }
    await rated('up', chat.person.token, 1, 0)
    await rated('down', chat.world.admin.token, 1, 1)
    await rated('down', chat.person.token, 0, 2)
    await rated(null, chat.person.token, 0, 1)
  })
})

import { describe, expect, it } from 'vitest'
import { chatWith, type Event, gatedChat, openChat } from '../chat/kit'
import { callJson, makeWorld } from '../world'
import { Client, type Frame } from './socket'

const echo = { name: 'Echo', kind: 'echo' }

/** The chat’s own events, out of the frames of its channel. */
const eventsOf = (frames: Frame[]) =>
  frames.filter(({ type }) => type === 'chat_event').map(({ data }) => data as unknown as Event)

async function until(client: Client, type: string): Promise<Event> {
  for (;;) {
    const { data } = await client.next('chat_event')
    if (data?.type === type) return data as unknown as Event
  }
}

describe('chats:{chat_id}', () => {
  it('says what the chat’s own socket says, with the same ids', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    const [client, socket] = [await Client.of(chat.person.token), await chat.socket()]
    expect(await client.subscribe(`chats:${chat.id}`)).toMatchObject({ channel: `chats:${chat.id}` })
    await socket.until('snapshot')
    await chat.exchange('Hello there')
    const done = await socket.until('done')
    await expect.poll(() => eventsOf(client.seen).at(-1)).toEqual(done)
    expect(eventsOf(client.seen)).toEqual(socket.seen)
    expect(client.seen.at(-1)).toMatchObject({ id: done.id, channel: `chats:${chat.id}` })
    expect(client.seen.at(-1)?.timestamp).toMatch(/^\d{4}-.*Z$/)
  })

  it('resumes after an id, in the middle of an answer too, and begins anew after one that is not known', async () => {
    const { chat, gate } = await gatedChat()
    const channel = `chats:${chat.id}`
    const reader = await chat.send('Hello')
    await gate.say('one ')
    const seen = await reader.until('message')
    const client = await Client.of(chat.person.token)
    await client.subscribe(channel, seen.id ?? '')
    await gate.say('two ')
    await gate.end()
    expect(await until(client, 'message')).toMatchObject({ data: { content: 'two ' } })
    const { id } = await until(client, 'done')
    client.send({ type: 'unsubscribe', channel })
    await client.next('unsubscribed')
    await client.subscribe(channel, 'e9-1')
    expect(await until(client, 'reset')).toMatchObject({ data: { cursor: id } })
  })

  it('is for who may read the chat', async () => {
    const world = await makeWorld()
    const chat = await chatWith(world, echo)
    const other = await chatWith(await makeWorld(), echo)
    const stranger = await Client.of(world.viewer.token)
    for (const id of [chat.id, other.id, crypto.randomUUID()]) {
      stranger.send({ type: 'subscribe', channel: `chats:${id}` })
      expect(await stranger.next('error')).toMatchObject({ code: 'not_found' })
    }
    const share = { user_id: world.viewer.user.id }
    await callJson('PUT', `${chat.path}/shares`, { token: chat.person.token, body: share })
    await stranger.subscribe(`chats:${chat.id}`)
    await callJson('DELETE', `${chat.path}/shares`, { token: chat.person.token })
    expect(await stranger.end()).toBe(4403)
  })

  it('is too slow with 256 KiB that were not acknowledged, and goes on by acknowledging', {
    timeout: 30_000,
  }, async () => {
    const { chat, gate } = await gatedChat()
    const channel = `chats:${chat.id}`
    const [silent, careful] = [await Client.of(chat.person.token), await Client.of(chat.person.token)]
    let bytes = 0
    careful.socket.addEventListener('message', ({ data }) => {
      const { id } = JSON.parse(`${data}`) as Frame
      bytes += `${data}`.length
      if (!id || bytes < 32 * 1024) return
      bytes = 0
      careful.send({ type: 'ack', channel, id })
    })
    await Promise.all([silent.subscribe(channel), careful.subscribe(channel)])
    const answer = await chat.send('Tell me everything')
    for (let i = 0; i < 10; i++) await gate.say('word '.repeat(8_000))
    await gate.end()
    await answer.rest()
    expect(await silent.end(15_000)).toBe(4409)
    const last = (await chat.log()).at(-1)
    await expect.poll(() => eventsOf(careful.seen).at(-1)?.id, { timeout: 10_000 }).toBe(last?.id)
    expect(careful.closed).toBeNull()
  })
})

describe('inbox:{user_id}', () => {
  it('says which chats changed and what is unread in them, and what was said meanwhile', async () => {
    const world = await makeWorld()
    const { member } = world
    const chat = await chatWith(world, echo)
    await chat.exchange('before')
    const client = await Client.of(member.token)
    const channel = `inbox:${member.user.id}`
    await client.subscribe(channel)
    await expect
      .poll(async () => (await client.next('inbox')).data?.chats, { timeout: 5_000 })
      .toEqual([expect.objectContaining({ chat_id: chat.id, unread_count: 1, message_count: 2 })])
    await callJson('POST', `${chat.path}/read`, { token: member.token })
    const read = await client.next('inbox')
    expect(read.data).toEqual({
      chats: [expect.objectContaining({ chat_id: chat.id, unread_count: 0 })],
      removed: [],
    })
    client.socket.close()
    await chat.exchange('after')
    const again = await Client.of(member.token)
    expect(await again.subscribe(channel, read.id)).toMatchObject({ resumed: true })
    await expect
      .poll(() => again.seen.findLast(({ type }) => type === 'inbox')?.data)
      .toMatchObject({ chats: [{ chat_id: chat.id, unread_count: 1, message_count: 4 }] })
  })

  it('tells of chats that come, are shared, renamed, unshared and deleted', async () => {
    const world = await makeWorld()
    const { member, viewer } = world
    const chat = await chatWith(world, echo)
    const client = await Client.of(viewer.token)
    await client.subscribe(`inbox:${viewer.user.id}`)
    expect((await client.next('inbox')).data).toEqual({ chats: [], removed: [] })
    const token = member.token
    await callJson('PUT', `${chat.path}/shares`, { token, body: { user_id: viewer.user.id } })
    expect((await client.next('inbox')).data).toMatchObject({ chats: [{ chat_id: chat.id }] })
    await callJson('PATCH', chat.path, { token, body: { title: 'Plans' } })
    expect((await client.next('inbox')).data).toMatchObject({ chats: [{ title: 'Plans' }] })
    await callJson('DELETE', `${chat.path}/shares`, { token })
    expect((await client.next('inbox')).data).toEqual({ chats: [], removed: [chat.id] })
    const own = await Client.of(token)
    await own.subscribe(`inbox:${member.user.id}`)
    await own.next('inbox')
    const second = await openChat(world, member, chat.agentId)
    expect((await own.next('inbox')).data).toMatchObject({ chats: [{ chat_id: second.id, unread_count: 0 }] })
    await callJson('DELETE', second.path, { token })
    expect((await own.next('inbox')).data).toEqual({ chats: [], removed: [second.id] })
  })

  it('is one’s own, or anybody’s with chats:admin', async () => {
    const world = await makeWorld()
    const { member, viewer, admin } = world
    const other = (await makeWorld()).member
    const client = await Client.of(viewer.token)
    client.send({ type: 'subscribe', channel: `inbox:${member.user.id}` })
    expect(await client.next('error')).toMatchObject({ code: 'insufficient_scope' })
    const boss = await Client.of(admin.token)
    await boss.subscribe(`inbox:${member.user.id}`)
    boss.send({ type: 'subscribe', channel: `inbox:${other.user.id}` })
    expect(await boss.next('error')).toMatchObject({ code: 'not_found' })
  })

  it('has nothing new in a fork for who made it', async () => {
    const world = await makeWorld()
    const chat = await chatWith(world, echo)
    await chat.exchange('one')
    const { token } = world.member
    const message_id = (await chat.read()).data.messages[1]?.id
    const fork = await callJson<{ id: string }>('POST', `${chat.path}/fork`, { token, body: { message_id } })
    expect(fork.status).toBe(201)
    await callJson('POST', `${chat.path}/read`, { token })
    await expect
      .poll(async () => (await callJson('GET', '/api/v1/chats/inbox', { token })).data)
      .toEqual({ chats: [], unread_count: 0 })
    const own = await callJson('POST', `/api/v1/chats/${fork.data.id}/read`, { token, body: { seq: 0 } })
    expect(own.data).toMatchObject({ unread_count: 0 })
  })

  it('stands at GET /chats/inbox too', async () => {
    const world = await makeWorld()
    const chat = await chatWith(world, echo)
    await chat.exchange('one')
    const inbox = (token: string) =>
      callJson<Record<string, unknown>>('GET', '/api/v1/chats/inbox', { token })
    await expect.poll(async () => (await inbox(world.member.token)).data).toMatchObject({ unread_count: 1 })
    expect((await inbox(world.viewer.token)).data).toEqual({ chats: [], unread_count: 0 })
    await callJson('PUT', `${chat.path}/shares`, {
      token: world.member.token,
      body: { user_id: world.viewer.user.id },
    })
    expect((await inbox(world.viewer.token)).data).toMatchObject({
      unread_count: 2,
      chats: [{ chat_id: chat.id, user_id: world.member.user.id }],
    })
    await callJson('PATCH', chat.path, { token: world.member.token, body: { is_archived: true } })
    for (const { token } of [world.member, world.viewer])
      expect((await inbox(token)).data).toEqual({ chats: [], unread_count: 0 })
  })
})

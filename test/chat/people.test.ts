import { evictDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, it, vi } from 'vitest'
import { ChatRoom } from '../../src/domains/chat/room/object'
import { call, callJson, makePerson, makeWorld, type Person } from '../world'
import { chatWith, type Event, eventually, gatedChat, type Socket, sleep, type TestChat } from './kit'

const echo = { name: 'Echo', kind: 'echo' }

/** A chat that the viewer and the developer of its tenant share: the one reads it, the other writes too. */
async function shared(more: Record<string, unknown> = echo) {
  const world = await makeWorld()
  const chat = await chatWith(world, more)
  for (const [person, role] of [
    [world.viewer, 'viewer'],
    [world.developer, 'editor'],
  ] as const) {
    const body = { user_id: person.user.id, role }
    await callJson('PUT', `${chat.path}/shares`, { token: chat.person.token, body })
  }
  return { world, chat, owner: world.member, viewer: world.viewer, editor: world.developer }
}

const idOf = (person: Person) => person.user.id
const joined = (chat: TestChat, person: Person, query = '') => chat.socket(query, person.token)

const usersOf = (event: Event) => [...(event.data.users as string[])].sort()
const sorted = (...people: Person[]) => people.map(idOf).sort()

const markRead = (chat: TestChat, person: Person, body?: unknown) =>
  callJson<{ seq: number; unread_count: number }>('POST', `${chat.path}/read`, {
    token: person.token,
    ...(body === undefined ? {} : { body }),
  })

const reads = async (chat: TestChat) =>
  (
    await callJson<{ user_id: string; seq: number }[]>('GET', `${chat.path}/reads`, {
      token: chat.person.token,
    })
  ).data

const countOf = (socket: Socket, type: string) => socket.seen.filter((event) => event.type === type).length

describe('presence', () => {
  it('tells who comes and who goes, each user once, whatever they are connected by', async () => {
    const { chat, owner, viewer } = await shared()
    const mine = await joined(chat, owner)
    await mine.until('snapshot')
    const theirs = await joined(chat, viewer)
    const both = await mine.until('presence')
    expect(both).not.toHaveProperty('id')
    expect(both.data.count).toBe(2)
    expect(usersOf(both)).toEqual(sorted(owner, viewer))
    expect(usersOf(await theirs.until('presence'))).toEqual(sorted(owner, viewer))
    // Another tab of one who is there is news to nobody but itself.
    const tab = await chat.stream({}, '', viewer.token)
    expect(tab.status).toBe(200)
    theirs.ws.close()
    await sleep(1_300)
    expect(countOf(mine, 'presence')).toBe(1)
    await tab.body?.cancel()
    expect(await mine.until('presence')).toMatchObject({ data: { count: 1, users: [idOf(owner)] } })
  })

  it('says nothing to who is alone, and comes back to nobody', async () => {
    const { chat, owner } = await shared()
    const before = await joined(chat, owner)
    await before.until('snapshot')
    before.ws.close()
    await eventually(() => chat.inObject((_, state) => state.getWebSockets().length === 0))
    // That the user left has just been said.
    await sleep(1_100)
    const after = await joined(chat, owner)
    await after.until('snapshot')
    await sleep(1_300)
    expect(countOf(after, 'presence')).toBe(0)
  })

  it('says nothing of a page that is loaded anew', async () => {
    const { chat, owner, viewer } = await shared()
    const mine = await joined(chat, owner)
    const before = await joined(chat, viewer)
    await mine.until('presence')
    before.ws.close()
    await eventually(() => chat.inObject((_, state) => state.getWebSockets().length === 1))
    const after = await joined(chat, viewer)
    await after.until('presence')
    await sleep(1_300)
    expect(countOf(mine, 'presence')).toBe(1)
  })

  it('outlasts the object’s sleep', async () => {
    const { chat, owner, viewer, editor } = await shared()
    const mine = await joined(chat, owner)
    const theirs = await joined(chat, viewer)
    await mine.until('presence')
    await evictDurableObject(chat.stub)
    const third = await joined(chat, editor)
    expect(usersOf(await third.until('presence'))).toEqual(sorted(owner, viewer, editor))
    expect(await mine.until('presence')).toMatchObject({ data: { count: 3 } })
    await evictDurableObject(chat.stub)
    // What wakes it is the very end that is told of.
    theirs.ws.close()
    expect(usersOf(await mine.until('presence'))).toEqual(sorted(owner, editor))
  })

  it('is told to nobody who has lost the right to read', async () => {
    const { chat, owner, viewer, editor } = await shared()
    const theirs = await joined(chat, viewer)
    const mine = await joined(chat, owner)
    await mine.until('presence')
    const token = owner.token
    await callJson('DELETE', `${chat.path}/shares?user_id=${idOf(viewer)}`, { token })
    expect((await theirs.closed).code).toBe(4403)
    const before = countOf(theirs, 'presence')
    await joined(chat, editor)
    await eventually(
      () => usersOf(mine.seen.at(-1) as Event).length === 2 && mine.seen.at(-1)?.data.count === 2,
    )
    expect(countOf(theirs, 'presence')).toBe(before)
  })

  it('does not count who was sent away on coming', async () => {
    const { chat, owner, viewer, editor } = await shared()
    const token = owner.token
    const before = await joined(chat, viewer)
    await before.until('snapshot')
    await callJson('DELETE', `${chat.path}/shares?user_id=${idOf(viewer)}`, { token })
    expect((await before.closed).code).toBe(4403)
    // D1 lets them in again, and the object has not heard of it.
    await env.DB.prepare(
      `insert into chat_shares (tenant_id, chat_id, subject, role, created_at, updated_at)
       select tenant_id, chat_id, ?, role, created_at, updated_at from chat_shares where chat_id = ? limit 1`,
    )
      .bind(`user:${idOf(viewer)}`, chat.id)
      .run()
    expect((await (await joined(chat, viewer)).closed).code).toBe(4403)
    const mine = await joined(chat, owner)
    await mine.until('snapshot')
    await joined(chat, editor)
    expect(usersOf(await mine.until('presence'))).toEqual(sorted(owner, editor))
  })

  it('begins again for who is let in again', async () => {
    const { chat, owner, viewer } = await shared()
    const before = await joined(chat, viewer)
    await before.until('snapshot')
    await callJson('DELETE', `${chat.path}/shares?user_id=${idOf(viewer)}`, { token: owner.token })
    expect((await before.closed).code).toBe(4403)
    const body = { user_id: idOf(viewer), role: 'viewer' }
    await callJson('PUT', `${chat.path}/shares`, { token: owner.token, body })
    const mine = await joined(chat, owner)
    const again = await joined(chat, viewer)
    expect(usersOf(await again.until('presence'))).toEqual(sorted(owner, viewer))
    expect(usersOf(await mine.until('presence'))).toEqual(sorted(owner, viewer))
  })
})

describe('typing', () => {
  it('is told to the others, ends by itself, and with the message', { timeout: 15_000 }, async () => {
    const { chat, owner, editor } = await shared()
    const [mine, theirs] = [await joined(chat, owner), await joined(chat, editor)]
    await mine.until('presence')
    theirs.send('typing')
    const told = await mine.until('typing')
    expect(told).toEqual({
      type: 'typing',
      data: { user_id: idOf(editor), typing: true, expires_in_ms: 6_000 },
    })
    theirs.send('typing')
    expect(await mine.until('typing')).toMatchObject({ data: { typing: false } })
    expect(countOf(mine, 'typing')).toBe(2)
    theirs.send('typing')
    await mine.until('typing')
    theirs.send('message', { content: 'there it is' })
    expect(await mine.until('typing')).toMatchObject({ data: { typing: false } })
    expect(countOf(theirs, 'typing')).toBe(0)
    await mine.until('done')
  })

  it('may be said without a socket, and taken back; who comes meanwhile is told', async () => {
    const { chat, owner, editor, viewer } = await shared()
    const mine = await joined(chat, owner)
    await mine.until('snapshot')
    const path = `${chat.path}/typing`
    const { token } = editor
    expect((await call('POST', path, { token })).status).toBe(204)
    expect(await mine.until('typing')).toMatchObject({ data: { user_id: idOf(editor), typing: true } })
    const late = await joined(chat, viewer)
    expect(await late.until('typing')).toMatchObject({ data: { user_id: idOf(editor), typing: true } })
    expect((await call('POST', path, { token, body: { typing: false } })).status).toBe(204)
    expect(await mine.until('typing')).toMatchObject({ data: { typing: false } })
  })

  it('is for who may write', async () => {
    const { chat, owner, viewer } = await shared()
    const theirs = await joined(chat, viewer)
    theirs.send('typing')
    expect(await theirs.until('error')).toMatchObject({ data: { code: 'insufficient_scope' } })
    const { status, error } = await callJson('POST', `${chat.path}/typing`, {
      token: owner.token,
      body: { typing: 'yes' },
    })
    expect([status, Object.keys((error.details as { fields: object }).fields)]).toEqual([422, ['typing']])
  })
})

describe('a receipt', () => {
  it('is in the log, once for each message that was read', async () => {
    const { chat, owner, viewer } = await shared()
    const mine = await joined(chat, owner)
    await chat.exchange('one')
    const done = await mine.until('done')
    const seq = Number(done.id?.split('-')[1])
    const { status, data } = await markRead(chat, viewer)
    expect([status, data]).toEqual([200, { seq, unread_count: 0 }])
    const event = await mine.until('read')
    expect(event.data).toEqual({ reads: [{ user_id: idOf(viewer), seq }] })
    expect((await chat.log()).at(-1)).toMatchObject({ id: event.id, type: 'read', data: event.data })
    // Again, or further back, it is nothing new.
    await markRead(chat, viewer)
    await markRead(chat, viewer, { seq: 1 })
    expect((await chat.log()).filter(({ type }) => type === 'read')).toHaveLength(1)
    expect(await reads(chat)).toContainEqual(expect.objectContaining({ user_id: idOf(viewer), seq }))
  })

  it('counts what is unread: whole messages, and none of one’s own', async () => {
    const { chat, owner, viewer } = await shared()
    await chat.exchange('one')
    await chat.exchange('two')
    const first = (await chat.log()).find(({ type }) => type === 'done')
    const seq = Number(first?.id?.split('-')[1])
    expect((await markRead(chat, viewer, { seq })).data).toEqual({ seq, unread_count: 2 })
    expect((await markRead(chat, viewer, { seq: seq - 1 })).data).toEqual({ seq, unread_count: 2 })
    // Who asks has read all before it; the answer came later.
    const before = await callJson<{ seq: number; unread_count: number }>('POST', `${chat.path}/read`, {
      token: owner.token,
      body: { seq: 0 },
    })
    expect(before.data.unread_count).toBe(1)
  })

  it('of a hundred readers takes a row or two of the log', async () => {
    const world = await makeWorld()
    const { chat, gate } = await gatedChat(world)
    await callJson('PUT', `${chat.path}/shares`, { token: chat.person.token, body: { scope: 'tenant' } })
    const reader = await chat.send('Hello')
    await gate.say('all of you')
    await gate.end()
    await reader.rest()
    const head = Number((await chat.log()).at(-1)?.id?.split('-')[1])
    await chat.inObject(async (object) => {
      const { people } = object.furnish(chat.ids)
      const users = Array.from({ length: 100 }, () => crypto.randomUUID())
      await Promise.all(users.map((user) => people.receipts.mark(user, head)))
    })
    const rows = await chat.inObject((_, state) =>
      state.storage.sql.exec(`select first, last from log where type = 'read'`).toArray(),
    )
    expect(rows.length).toBeLessThanOrEqual(2)
    const read = (await chat.log()).filter(({ type }) => type === 'read')
    expect(read.flatMap(({ data }) => data.reads as object[])).toHaveLength(100)
    // Each entry is an event of at most 4 KiB.
    for (const { data } of read) expect(JSON.stringify(data).length).toBeLessThan(3_900)
    await eventually(async () => {
      const query = 'select count(*) as n from chat_reads where tenant_id = ? and chat_id = ?'
      const row = await env.DB.prepare(query).bind(world.tenant.id, chat.id).first<{ n: number }>()
      return row?.n === 101
    })
  })

  it.each([
    [{ seq: 1_000_000 }, 'seq'],
    [{ seq: -1 }, 'seq'],
    [{ seq: 'e1-4' }, 'seq'],
    [{ message_id: 'x' }, 'message_id'],
  ])('is refused with %j', async (body, field) => {
    const { chat, viewer } = await shared()
    await chat.exchange('one')
    const { status, error } = await markRead(chat, viewer, body)
    expect([status, Object.keys((error.details as { fields: object }).fields)]).toEqual([422, [field]])
    const socket = await joined(chat, viewer)
    socket.send('read', body)
    expect(await socket.until('error')).toMatchObject({ data: { code: 'validation_failed' } })
    expect((await chat.read()).data.messages).toHaveLength(2)
  })

  it('is for who may read the chat', async () => {
    const world = await makeWorld()
    const chat = await chatWith(world, echo)
    const stranger = await makePerson(world.tenant, 'member')
    for (const [method, path] of [
      ['POST', 'read'],
      ['GET', 'reads'],
      ['POST', 'typing'],
    ] as const)
      expect((await call(method, `${chat.path}/${path}`, { token: stranger.token })).status).toBe(404)
  })

  it('of a chat where nothing was said stores nothing', async () => {
    const { chat, viewer } = await shared()
    expect((await markRead(chat, viewer)).data).toEqual({ seq: 0, unread_count: 0 })
    expect(await reads(chat)).toEqual([])
    const tables = await chat.inObject((_, state) =>
      state.storage.sql.exec(`select name from sqlite_master where name = 'log'`).toArray(),
    )
    expect(tables).toEqual([])
  })
})

describe('an idle chat', () => {
  it('with a hundred sockets runs nothing, sleeps, and wakes for all of them', {
    timeout: 60_000,
  }, async () => {
    const { chat, owner, viewer } = await shared()
    const sockets = await Promise.all(
      Array.from({ length: 100 }, (_, i) => joined(chat, i % 2 ? owner : viewer)),
    )
    await Promise.all(sockets.map((socket) => socket.until('snapshot')))
    // Bytes that passed are told within a second or two, and who is there was told at once.
    await sleep(3_000)
    await evictDurableObject(chat.stub)
    const before = sockets.map(({ seen }) => seen.length)
    const furnished = vi.spyOn(ChatRoom.prototype, 'furnish')
    await sleep(2_000)
    expect(furnished).toHaveBeenCalledTimes(0)
    expect(sockets.map(({ seen }) => seen.length)).toEqual(before)
    await chat.exchange('good morning')
    await Promise.all(sockets.map((socket) => socket.until('done')))
    expect(furnished).toHaveBeenCalledTimes(1)
    furnished.mockRestore()
  })
})

import { abortAllDurableObjects, runDurableObjectAlarm } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { CATALOGUE } from '../../src/domains/events/catalogue'
import { callJson, makeWorld } from '../world'
import { chatAt, chatWith, eventually, gatedChat, sleep, type TestChat } from './kit'

const echo = { name: 'Echo', kind: 'echo' }

type EventRow = { id: string; type: string; data: string; subject: string | null; origin: string | null }

const events = async (chat: TestChat, type = 'chat.%') =>
  (
    await env.DB.prepare(
      'select * from events where tenant_id = ? and type like ? and origin is not null order by seq',
    )
      .bind(chat.world.tenant.id, type)
      .all<EventRow>()
  ).results

const row = (chat: TestChat) =>
  env.DB.prepare('select * from chats where id = ?').bind(chat.id).first<Record<string, unknown>>()

const settled = (chat: TestChat) =>
  eventually(() =>
    chat.inObject(
      (object) => (object as unknown as { room: { outbox: { empty: boolean } } }).room.outbox.empty,
    ),
  )

describe('the index in D1', () => {
  it('follows the chat', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    await chat.exchange('What is the time?')
    await settled(chat)
    const last = (await chat.log()).at(-1)
    expect(await row(chat)).toMatchObject({
      title: 'What is the time?',
      message_count: 2,
      last_seq: Number(last?.id?.split('-')[1]),
      version: 1,
    })
    const { last_message_at, last_activity_at, updated_at } = (await row(chat)) ?? {}
    expect([last_activity_at, updated_at]).toEqual([last_message_at, last_message_at])
    expect(
      await chat.inObject((_, state) => state.storage.sql.exec('select * from outbox').toArray()),
    ).toEqual([])
  })

  it('is caught up by the alarm when D1 was away', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    type Inner = { room: { outbox: { send(rows: unknown): Promise<void> } } }
    const real = await chat.inObject((object) => {
      const { outbox } = (object as unknown as Inner).room
      const { send } = outbox
      outbox.send = () => Promise.reject(new Error('D1 is away'))
      const restore = () => {
        outbox.send = send
      }
      return { restore }
    })
    await chat.exchange('Hello')
    await chat.exchange('Again')
    await sleep(50)
    expect(await row(chat)).toMatchObject({ message_count: 0, title: null })
    expect(await events(chat)).toEqual([])
    const due = await chat.inObject((_, state) => state.storage.getAlarm())
    expect((due ?? Number.POSITIVE_INFINITY) - Date.now()).toBeLessThan(10_000)
    await chat.inObject(() => real.restore())
    await eventually(async () => (await row(chat))?.message_count === 4, 12_000)
    expect((await events(chat)).map(({ type }) => type)).toEqual([
      'chat.message.created',
      'chat.message.created',
      'chat.run.completed',
      'chat.message.created',
      'chat.message.created',
      'chat.run.completed',
    ])
  }, 20_000)
})

describe('events of a chat', () => {
  it('tell of each message and of the run’s end, in the catalogue’s shape', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    await chat.exchange('Hello')
    await settled(chat)
    const found = await events(chat)
    expect(found.map(({ type, origin }) => [type, origin])).toEqual([
      ['chat.message.created', `${chat.name}#1`],
      ['chat.message.created', `${chat.name}#2`],
      ['chat.run.completed', `${chat.name}#3`],
    ])
    for (const { type, data } of found)
      CATALOGUE[type as keyof typeof CATALOGUE].data.strict().parse(JSON.parse(data))
    const { messages } = (await chat.read()).data
    expect(JSON.parse(found[0]?.data ?? '')).toMatchObject({
      chat_id: chat.id,
      message_id: messages[0]?.id,
      user_id: chat.world.member.user.id,
      role: 'user',
      content: 'Hello',
    })
    expect(JSON.parse(found[2]?.data ?? '')).toMatchObject({ message_id: messages[1]?.id, finish: 'stop' })
    expect(found[0]?.subject).toBe(chat.world.member.user.id)
  })

  it('tell of a failure', async () => {
    const chat = await chatAt(`${env.RECEIVER_URL}/upstream/status?code=500`)
    await chat.exchange('Hello')
    await settled(chat)
    const found = await events(chat)
    expect(found.map(({ type }) => type)).toEqual(['chat.message.created', 'chat.run.failed'])
    expect(JSON.parse(found[1]?.data ?? '')).toMatchObject({
      code: 'upstream_status',
      agent_id: chat.agentId,
    })
  })

  it('hold a long message as far as an event can', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    await chat.exchange('\u0001'.repeat(100_000))
    await settled(chat)
    expect((await events(chat)).map(({ type }) => type)).toEqual([
      'chat.message.created',
      'chat.message.created',
      'chat.run.completed',
    ])
  })

  it('come once, whatever is delivered twice', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    type Inner = { room: { outbox: { send(rows: unknown[]): Promise<void> } } }
    await chat.inObject((object) => {
      const { outbox } = (object as unknown as Inner).room
      const send = outbox.send.bind(outbox)
      outbox.send = async (rows) => {
        await send(rows)
        await send(rows)
      }
    })
    await chat.exchange('Hello')
    await settled(chat)
    expect(await events(chat)).toHaveLength(3)
  })

  it('survive the object being killed before they were delivered', async () => {
    const { chat, gate } = await gatedChat()
    type Inner = { room: { outbox: { send(rows: unknown): Promise<void> } } }
    await chat.inObject((object) => {
      ;(object as unknown as Inner).room.outbox.send = () => new Promise(() => {})
    })
    const sender = await chat.send('Hello')
    await gate.say('one ')
    await sender.until('message')
    await sleep(300)
    await abortAllDurableObjects()
    expect(await events(chat)).toEqual([])
    await eventually(async () => (await events(chat)).length === 3, 10_000)
    expect((await events(chat)).map(({ type }) => type)).toEqual([
      'chat.message.created',
      'chat.message.created',
      'chat.run.failed',
    ])
    expect(await row(chat)).toMatchObject({ message_count: 2, title: 'Hello' })
  }, 20_000)
})

describe('alarms of a chat', () => {
  it('keep the object awake while a run goes on, and not after', async () => {
    const { chat, gate } = await gatedChat()
    const sender = await chat.send('Hello')
    await gate.say('one ')
    await sender.until('message')
    await settled(chat)
    const alarm = () => chat.inObject((_, state) => state.storage.getAlarm())
    await eventually(async () => ((await alarm()) ?? 0) > Date.now() + 25_000)
    await chat.inObject((_, state) => state.storage.sql.exec('update alarms set due = 0'))
    expect(await runDurableObjectAlarm(chat.stub)).toBe(true)
    expect((await alarm()) ?? 0).toBeGreaterThan(Date.now() + 25_000)
    await gate.end()
    await sender.rest()
    await settled(chat)
    // What is left is a day away: the text’s frames are joined then.
    await eventually(async () => ((await alarm()) ?? 0) > Date.now() + 23 * 3600_000)
  })

  it('join the frames of an answer after a day', async () => {
    const chat = await chatAt(`${env.RECEIVER_URL}/upstream/slow?n=20`)
    await chat.exchange('Hello')
    await settled(chat)
    const before = await chat.read()
    await chat.inObject((_, state) => {
      state.storage.sql.exec(`update alarms set due = 0 where name = 'compact'`)
      state.storage.sql.exec('update runs set ended_at = ended_at - 24 * 3600 * 1000')
    })
    await runDurableObjectAlarm(chat.stub)
    const types = (await chat.log()).map(({ type }) => type)
    expect(types.filter((type) => type === 'message')).toHaveLength(1)
    expect((await chat.read()).data.messages).toEqual(before.data.messages)
    expect(await chat.inObject((_, state) => state.storage.getAlarm())).toBeNull()
  })
})

describe('deleting a chat', () => {
  const tables = (chat: TestChat) =>
    chat.inObject((_, state) =>
      state.storage.sql
        .exec(`select name from sqlite_master where name not like '\\_%' escape '\\'`)
        .toArray(),
    )

  it('deletes what its object holds, and its alarm; what happened is still announced', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    await chat.exchange('Hello')
    const reader = await chat.follow()
    await reader.next()
    const { status } = await callJson('DELETE', chat.path, { token: chat.person.token })
    expect(status).toBe(204)
    expect(await reader.rest()).toEqual([])
    expect(await tables(chat)).toEqual([])
    expect(await chat.inObject((_, state) => state.storage.getAlarm())).toBeNull()
    expect(await row(chat)).toBeNull()
    expect(await events(chat)).toHaveLength(3)
    expect((await chat.read()).status).toBe(404)
    expect((await chat.post({ content: 'x' })).status).toBe(404)
    expect((await chat.stream()).status).toBe(404)
    expect((await callJson('DELETE', chat.path, { token: chat.person.token })).status).toBe(404)
    expect(await tables(chat)).toEqual([])
  })

  it('stops a run that goes on', async () => {
    const { chat, gate } = await gatedChat()
    const sender = await chat.send('Hello')
    await gate.say('one ')
    await sender.until('message')
    await callJson('DELETE', chat.path, { token: chat.person.token })
    expect((await sender.rest()).at(-1)).toMatchObject({ type: 'done', data: { finish: 'stopped' } })
    expect(await tables(chat)).toEqual([])
    expect((await events(chat)).at(-1)?.type).toBe('chat.run.completed')
  })

  it('tells the sender how the run ended, behind what it has still to take', async () => {
    const { chat, gate } = await gatedChat()
    const sender = await chat.send('Hello')
    await gate.say('one ')
    await eventually(async () => (await chat.read()).data.messages[1]?.content === 'one ')
    await callJson('DELETE', chat.path, { token: chat.person.token })
    const last = (await sender.rest()).at(-1)
    expect(last).toMatchObject({ type: 'done', data: { finish: 'stopped' } })
  })

  it('is finished by the alarm where nobody came to tell the object', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    await chat.exchange('Hello')
    await settled(chat)
    await chat.inObject((object) => object.tell(chat.ids, 'expectRemoval'))
    await env.DB.prepare('delete from chats where id = ?').bind(chat.id).run()
    await chat.inObject((_, state) =>
      state.storage.sql.exec(`update alarms set due = 0 where name = 'removal'`),
    )
    await runDurableObjectAlarm(chat.stub)
    expect(await tables(chat)).toEqual([])
  })

  it('leaves the chat alone where it was not carried out', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    await chat.exchange('Hello')
    await settled(chat)
    const stale = await callJson('DELETE', chat.path, {
      token: chat.person.token,
      headers: { 'If-Match': '"v9"' },
    })
    expect(stale.status).toBe(412)
    await chat.inObject((_, state) =>
      state.storage.sql.exec(`update alarms set due = 0 where name = 'removal'`),
    )
    await runDurableObjectAlarm(chat.stub)
    expect((await chat.read()).data.messages).toHaveLength(2)
    const names = await chat.inObject((_, state) =>
      state.storage.sql.exec('select name from alarms').toArray(),
    )
    expect(names).toEqual([{ name: 'compact' }])
  })

  it('is for its user and for admins', async () => {
    const world = await makeWorld()
    const chat = await chatWith(world, echo)
    for (const [token, status] of [
      [world.viewer.token, 403],
      [world.developer.token, 404],
      [(await makeWorld()).admin.token, 404],
      [world.admin.token, 204],
    ] as const)
      expect((await callJson('DELETE', chat.path, { token })).status).toBe(status)
  })
})

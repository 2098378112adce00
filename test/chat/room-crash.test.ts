import { abortAllDurableObjects, evictDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { callJson, makeWorld } from '../world'
import { chatAt, chatWith, EventReader, gatedChat, sleep, type TestChat, textOf } from './kit'
import { Place } from './schedules/place'
import { expectWhole, truthOf } from './schedules/truth'

const placeOf = (chat: TestChat) => new Place(chat.world, chat.person, chat.id, chat.agentId)

/** Looks whether the log is whole and the messages are what it comes to. */
async function holdsTogether(chat: TestChat): Promise<void> {
  const place = placeOf(chat)
  expectWhole(place, await truthOf(place, 50))
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

describe('an object that is evicted in mid-answer', () => {
  it('ends the run as interrupted and brings all who follow to that, over the sockets they have', async () => {
    const { chat, gate } = await gatedChat()
    const [socket, reader] = [await chat.socket(), await chat.follow()]
    socket.acknowledging()
    expect((await chat.post({ content: 'Hello' }, { Prefer: 'respond-async' })).status).toBe(202)
    await gate.say('one ', 'two ')
    await Promise.all([socket.until('message'), reader.until('message')])
    await sleep(400)
    await placeOf(chat).evict()
    const { messages } = (await chat.read()).data
    expect(messages[1]).toMatchObject({ content: 'one two ', status: 'interrupted' })
    const [told, shown] = await Promise.all([socket.until('reset'), reader.until('reset')])
    expect(told.id).toMatch(/^e2-/)
    expect(shown).toEqual(told)
    expect((told.data.messages as { status: string }[]).at(-1)?.status).toBe('interrupted')
    // The same connections go on.
    await chat.forget()
    const again = await chat.send('Again')
    await gate.say('fresh')
    await gate.end()
    await Promise.all([again.rest(), socket.until('done'), reader.until('done')])
    expect(textOf(reader.seen)).toBe('fresh')
    await holdsTogether(chat)
    socket.ws.close()
    await reader.leave()
  })

  it('answers to its end where the runtime can wait, and is gone then with nothing lost', async () => {
    const { chat, gate } = await gatedChat()
    const [socket, reader] = [await chat.socket(), await chat.follow()]
    expect((await chat.post({ content: 'Hello' }, { Prefer: 'respond-async' })).status).toBe(202)
    await gate.say('one ')
    await Promise.all([socket.until('message'), reader.until('message')])
    await chat.inObject((object) => Reflect.set(object, 'life', 'first'))
    const evicted = evictDurableObject(chat.stub)
    await gate.say('two')
    await gate.end()
    await Promise.all([socket.until('done'), reader.until('done'), evicted])
    expect(await chat.inObject((object) => Reflect.get(object, 'life'))).toBeUndefined()
    expect(textOf(socket.seen)).toBe('one two')
    expect(textOf(reader.seen)).toBe('one two')
    expect((await chat.read()).data.messages[1]).toMatchObject({ content: 'one two', status: 'complete' })
    await holdsTogether(chat)
    socket.ws.close()
    await reader.leave()
  })
})

describe('an agent that goes on talking after the kill', () => {
  it('is not heard any more, and the next message is answered by itself', async () => {
    const chat = await chatAt(`${env.RECEIVER_URL}/upstream/slow?n=60`)
    const sender = await chat.send('Hello')
    for (let words = 0; words < 5; words += 1) await sender.until('message')
    await sleep(300)
    await abortAllDurableObjects()
    const before = await chat.log()
    expect(before.at(-1)).toMatchObject({ type: 'error', data: { code: 'interrupted' } })
    await sleep(500)
    expect(await chat.log()).toEqual(before)
    const kept = (await chat.read()).data.messages[1]?.content ?? ''
    const whole = textOf(await chat.exchange('Again'))
    expect(whole.startsWith(kept) && whole !== kept).toBe(true)
    const messages = (await chat.read()).data.messages.map(({ status, content }) => ({ status, content }))
    expect(messages).toEqual([
      { status: 'complete', content: 'Hello' },
      { status: 'interrupted', content: kept },
      { status: 'complete', content: 'Again' },
      { status: 'complete', content: whole },
    ])
    await holdsTogether(chat)
  })
})

describe('tabs that stop at the same time', () => {
  it('stop one run once, with its text kept before any of them is answered', async () => {
    const { chat, gate } = await gatedChat()
    const sockets = await Promise.all(Array.from({ length: 4 }, () => chat.socket()))
    const sender = await chat.send('Hello')
    await gate.say('one ', 'two ')
    await sender.until('message')
    await sleep(100)
    for (const socket of sockets) socket.send('stop')
    const stops = await Promise.all(
      Array.from({ length: 12 }, async () => {
        const { data } = await chat.stop()
        const { status, content } = (await chat.read()).data.messages[1] ?? {}
        return { ...data, status, content }
      }),
    )
    expect(stops.filter(({ stopped }) => stopped).length).toBeLessThanOrEqual(1)
    for (const { status, content } of stops)
      expect({ status, content }).toEqual({ status: 'stopped', content: 'one two ' })
    for (const socket of sockets) await socket.until('done')
    const ends = (await chat.log()).filter(({ type }) => type === 'done' || type === 'error')
    expect(ends.map(({ data }) => data.finish)).toEqual(['stopped'])
    expect(ends[0]).toMatchObject({ ...(await sender.rest()).at(-1) })
    // Nobody was told of a second end, nor that there was nothing to stop.
    for (const socket of sockets) {
      expect(socket.seen.filter(({ type }) => type === 'done' || type === 'error')).toHaveLength(1)
      socket.ws.close()
    }
    await holdsTogether(chat)
  })
})

describe('who loses access in the middle of an answer', () => {
  it('is told nothing later than five seconds after, though nobody said so', {
    timeout: 30_000,
  }, async () => {
    const { chat, gate } = await gatedChat()
    const { developer } = chat.world
    const shared = await callJson('PUT', `${chat.path}/shares`, {
      token: chat.person.token,
      body: { user_id: developer.user.id, role: 'viewer' },
    })
    expect(shared.status).toBe(200)
    const socket = await chat.socket('', developer.token)
    const reader = new EventReader((await chat.stream({}, '', developer.token)).body)
    const times: number[] = []
    socket.ws.addEventListener('message', () => void times.push(Date.now()))
    const reading = reader.rest().then((events) => events.filter(({ type }) => type === 'message').length)
    const sender = await chat.send('Hello')
    await gate.say('0 ')
    await sender.until('message')
    await socket.until('message')
    // Behind the service’s back: its own way tells the chat at once.
    await env.DB.prepare('delete from chat_shares where chat_id = ?').bind(chat.id).run()
    const lost = Date.now()
    let words = 1
    for (; Date.now() < lost + 6_500; words += 1) {
      await gate.say(`${words} `)
      await sleep(100)
    }
    expect((await socket.closed).code).toBe(4403)
    expect(Math.max(...times) - lost).toBeLessThanOrEqual(5_000)
    expect(times.filter((at) => at > lost).length).toBeGreaterThan(0)
    expect(await reading).toBeLessThan(words)
    await gate.end()
    await sender.rest()
    const all = Array.from({ length: words }, (_, n) => `${n} `).join('')
    expect((await chat.read()).data.messages[1]?.content).toBe(all)
  })
})

describe('whatever happens', () => {
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

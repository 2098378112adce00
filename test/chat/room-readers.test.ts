import { describe, expect, it, vi } from 'vitest'
import type { Caller } from '../../src/domains/chat/room/caller'
import { frameOf } from '../../src/domains/chat/room/log/protocol'
import { Pipe, STUCK_MS } from '../../src/domains/chat/room/readers/pipe'
import { RunReader } from '../../src/domains/chat/room/readers/run-reader'
import { isLoss, Rights } from '../../src/domains/realtime/rights'
import { callJson, makeWorld } from '../world'
import { chatWith, eventually, gatedChat, sleep, textOf } from './kit'

const caller = (key: string): Caller => ({
  key,
  kind: 'user',
  id: key,
  user_id: key,
  session_id: null,
  role: 'member',
  scopes: ['chats:read'],
})

describe('a pipe', () => {
  const bytes = (n: number) => new Uint8Array(n)

  function piped(limit = 100) {
    const { readable, writable } = new IdentityTransformStream()
    const told = { drained: 0, gone: 0 }
    const events = { drained: () => void told.drained++, gone: () => void told.gone++ }
    return { pipe: new Pipe(writable.getWriter(), events, limit), reader: readable.getReader(), told }
  }

  it('takes what fits, never waits, and says when all was read', async () => {
    const { pipe, reader, told } = piped()
    expect(pipe.offer(bytes(60))).toBe(true)
    expect(pipe.offer(bytes(60))).toBe(true)
    expect(pipe.offer(bytes(60))).toBe(false)
    expect(pipe.fits(40)).toBe(true)
    expect((await reader.read()).value?.byteLength).toBe(60)
    expect((await reader.read()).value?.byteLength).toBe(60)
    await sleep(5)
    expect(told).toEqual({ drained: 1, gone: 0 })
    expect(pipe.idle).toBe(true)
  })

  it('closes after what waits, or drops it', async () => {
    const first = piped()
    first.pipe.offer(bytes(10))
    first.pipe.offer(bytes(20))
    first.pipe.close()
    expect(first.pipe.offer(bytes(30))).toBe(true)
    const sizes: number[] = []
    for (let one = await first.reader.read(); !one.done; one = await first.reader.read())
      sizes.push(one.value.byteLength)
    expect(sizes).toEqual([10, 20])
    await sleep(5)
    expect(first.told.gone).toBe(1)

    const second = piped()
    second.pipe.offer(bytes(10))
    second.pipe.offer(bytes(20))
    second.pipe.drop()
    second.pipe.close()
    expect((await second.reader.read()).value?.byteLength).toBe(10)
    expect((await second.reader.read()).done).toBe(true)
  })

  it('tells once that its reader has gone', async () => {
    const { pipe, reader, told } = piped()
    await reader.cancel()
    pipe.offer(bytes(10))
    pipe.offer(bytes(10))
    await sleep(20)
    expect(told.gone).toBe(1)
    expect(pipe.offer(bytes(1000))).toBe(true)
  })

  it('gives up a reader that takes nothing for a minute', async () => {
    const { pipe, told } = piped()
    pipe.offer(bytes(10))
    pipe.check(Date.now() + STUCK_MS - 1000)
    expect(told.gone).toBe(0)
    pipe.check(Date.now() + STUCK_MS + 1000)
    expect(told.gone).toBe(1)
  })
})

describe('rights', () => {
  it('are looked up together, and again only when they are old', async () => {
    const asked: string[][] = []
    const rights = new Rights<Caller>(async (callers) => {
      asked.push(callers.map(({ key }) => key))
      return new Map(callers.map((one) => [one.key, one]))
    }, 50)
    const both = [caller('a'), caller('b')]
    expect(rights.of('a', Date.now())).toBeNull()
    await Promise.all([rights.refresh(both), rights.refresh(both), rights.settle(caller('a'))])
    expect(asked).toEqual([['a', 'b']])
    expect(rights.of('b', Date.now())).toMatchObject({ key: 'b' })
    await sleep(60)
    expect(rights.of('b', Date.now())).toBeNull()
    await rights.settle(caller('b'))
    expect(asked).toEqual([['a', 'b'], ['b']])
  })

  it('are gone for who is not found, and stay so whatever the front door remembers', async () => {
    const rights = new Rights<Caller>(async () => new Map())
    rights.admit(caller('a'), Date.now() - 10_000)
    const verdict = await rights.settle(caller('a'))
    expect(isLoss(verdict) && verdict.code).toBe(4401)
    rights.admit(caller('a'), Date.now())
    expect(await rights.settle(caller('a'))).toEqual(verdict)
  })

  it('that were forgotten are none that were looked up, or verified, before', async () => {
    const { promise: held, resolve: release } = Promise.withResolvers<void>()
    const answers = ['before', 'after'].map((role) => ({ ...caller('a'), role }))
    const rights = new Rights<Caller>(async () => {
      const answer = answers.shift() ?? caller('a')
      if (answer.role === 'before') await held
      return new Map([['a', answer]])
    })
    const { count } = rights
    const first = rights.refresh([caller('a')])
    rights.forget()
    const second = rights.refresh([caller('a')])
    release()
    await first
    expect(rights.of('a', Date.now())).toBeNull()
    await second
    expect(rights.of('a', Date.now())).toMatchObject({ role: 'after' })
    rights.admit(caller('a'), Date.now(), count)
    expect(rights.of('a', Date.now())).toBeNull()
    rights.admit(caller('a'), Date.now())
    expect(rights.of('a', Date.now())).toMatchObject({ role: 'member' })
  })

  it('that can’t be looked up hold everything back until they can', async () => {
    const chat = await chatWith(await makeWorld(), { name: 'Echo', kind: 'echo' })
    const reader = await chat.follow()
    await reader.next()
    await chat.forget()
    type Inner = { room: { access: { lookUp: unknown } } }
    const away = vi.fn(() => Promise.reject(new Error('D1 is away')))
    const restore = await chat.inObject((object) => {
      const { access } = (object as unknown as Inner).room
      const { lookUp } = access
      access.lookUp = away
      return { now: () => Object.assign(access, { lookUp }) }
    })
    const admin = chat.world.admin.token
    const sent = await chat.post({ content: 'Hello' }, {}, admin)
    expect(await sent.text()).toContain('"type":"done"')
    const next = reader.next()
    expect(await Promise.race([next, sleep(200).then(() => 'nothing')])).toBe('nothing')
    expect(away).toHaveBeenCalled()
    await chat.inObject(() => void restore.now())
    expect((await next)?.type).toBe('message.created')
    await reader.until('done')
    expect(textOf(reader.seen)).toBe('Hello')
  })

  it('are looked at before an answer that took long is handed out', async () => {
    const { chat, gate } = await gatedChat()
    const { member } = chat.world
    const waiting = chat.post({ content: 'Hello' }, { Accept: 'application/json' })
    await gate.say('secret')
    await callJson('DELETE', `/api/v1/auth/sessions/${member.session_id}`, { token: member.token })
    // As five seconds later.
    await chat.inObject((object) => {
      const { known } = (object as unknown as { room: { rights: { known: Map<string, unknown> } } }).room
        .rights
      known.clear()
    })
    await gate.end()
    const answer = await waiting
    expect(answer.status).toBe(401)
    expect(answer.headers.get('WWW-Authenticate')).toMatch(/^Bearer error=/)
    expect(await answer.text()).not.toContain('secret')
  })
})

describe('a run’s reader', () => {
  it('is asked for no more once a frame had no room, until it has taken what waits', async () => {
    let drained = 0
    const events = { wantsMore: () => void drained++, gone: () => {} }
    const reader = new RunReader(caller('u'), { first_seq: 0, last_seq: null }, events, { queueBytes: 8_400 })
    // Longer than what it says that it has room for, as the events of another format may be.
    const frame = (n: number) => frameOf(`e1-${n}`, 'message', { content: 'x'.repeat(4_200) })
    const stream = reader.readable.getReader()
    await eventually(() => reader.take(frame(1)))
    expect([reader.ready(), reader.take(frame(2)), reader.ready()]).toEqual([true, false, false])
    const before = drained
    let read = 0
    while (read < 4_200) read += (await stream.read()).value?.byteLength ?? 0
    const rest = stream.read().catch(() => {})
    await eventually(() => drained > before)
    expect([reader.ready(), reader.take(frame(2))]).toEqual([true, true])
    reader.leave()
    await rest
  })
})

import { describe, expect, it } from 'vitest'
import { frameOf, MAX_EVENT } from '../../src/domains/chat/room/log/protocol'
import { toolEntry } from '../../src/domains/chat/room/log/tool-entry'
import { call, makeWorld } from '../world'
import { EventReader, gatedChat, textOf } from './kit'

const tool = (data: object) => `data: ${JSON.stringify({ type: 'tool', data })}\n\n`

describe('the tools that an agent calls', () => {
  it('are entries of the log, in their place, for all who follow the chat; the sender’s stream has four types', async () => {
    const { chat, gate } = await gatedChat()
    const reader = await chat.follow()
    await reader.next()
    const sender = await chat.send('Where is it?')
    await gate.say('Let me see. ')
    await gate.raw(tool({ id: 'c1', name: 'search', status: 'call', arguments: { q: 'parcel' } }))
    await gate.raw(tool({ id: 'c1', status: 'result', result: ['Köln'] }))
    await gate.say('In Köln.')
    await gate.end()
    const sent = await sender.rest()
    expect(new Set(sent.map(({ type }) => type))).toEqual(new Set(['status', 'message', 'done']))
    expect(textOf(sent)).toBe('Let me see. In Köln.')
    await reader.until('done')
    const order = reader.seen.map(({ type }) => type).filter((type) => ['message', 'tool'].includes(type))
    expect(order).toEqual(['message', 'tool', 'tool', 'message'])
    const tools = [
      { id: 'c1', name: 'search', status: 'call', arguments: { q: 'parcel' } },
      { id: 'c1', name: 'search', status: 'result', result: ['Köln'] },
    ]
    expect(reader.seen.filter(({ type }) => type === 'tool').map(({ data }) => data)).toEqual(tools)
    const log = await chat.log()
    expect(log.filter(({ type }) => type === 'tool').map(({ data }) => data)).toEqual(tools)
    const seqs = log.map(({ id }) => Number(id?.split('-')[1]))
    expect(seqs).toEqual(seqs.map((_, i) => i + 1))
    expect((await chat.read()).data.messages[1]?.content).toBe('Let me see. In Köln.')
    await reader.leave()
  })

  it('are shown to who tests an agent', async () => {
    const world = await makeWorld()
    const { chat, gate } = await gatedChat(world)
    const path = `/api/v1/agents/${chat.agentId}/test`
    const answer = await call('POST', path, { token: world.admin.token, body: { content: 'x' } })
    const all = new EventReader(answer.body).rest()
    await gate.raw(tool({ id: 'c1', name: 'search', status: 'call', arguments: {} }))
    await gate.end()
    expect((await all).map(({ type }) => type)).toEqual(['status', 'tool', 'done'])
  })
})

describe('a tool’s entry', () => {
  const sizeOf = (data: unknown) =>
    frameOf(`e${'9'.repeat(9)}-${'9'.repeat(15)}`, 'tool', data).sse.byteLength
  const of = (more: object) => toolEntry({ kind: 'tool', id: 'c1', name: 'search', status: 'call', ...more })

  it('is whole where it fits into a frame', () => {
    const value = { q: 'x'.repeat(3_000), deep: [{ a: null }, 1, 'ü'] }
    expect(of({ arguments: value })).toEqual({ id: 'c1', name: 'search', status: 'call', arguments: value })
    expect(of({})).toEqual({ id: 'c1', name: 'search', status: 'call' })
  })

  it('is cut to a frame where not, and says so: never inside of a character', () => {
    for (const unit of ['x', 'ü', '€', '👋', '"', '\\', '\n', '\u0001']) {
      const long = unit.repeat(60_000)
      for (const more of [
        { arguments: { q: long } },
        { result: long },
        { arguments: [long], result: { long } },
      ]) {
        const entry = of({ status: 'result', ...more })
        expect(entry.truncated, unit).toBe(true)
        expect(sizeOf(entry), unit).toBeLessThanOrEqual(MAX_EVENT)
        expect(sizeOf(entry), unit).toBeGreaterThan(MAX_EVENT / 2)
        for (const text of [entry.arguments, entry.result])
          if (text !== undefined) expect(String(text).isWellFormed()).toBe(true)
      }
      expect(sizeOf(of({ id: long, name: long, arguments: long })), unit).toBeLessThanOrEqual(MAX_EVENT)
    }
  })
})

import { evictDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { streamOver } from '../../src/domains/chat/room/readers/stream'
import { call, callJson, makeWorld } from '../world'
import { chatWith, EventReader, eventually, openChat, sleep, type TestChat } from './kit'

const echo = { name: 'Echo', kind: 'echo' }
/** What an isolate counted is told some ten seconds later. */
const TOLD_MS = 15_000

type Row = {
  endpoint: string
  requests: number
  request_size_bytes: number
  response_size_bytes: number
}

const received = (reader: EventReader) => reader.chunks.reduce((sum, { bytes }) => sum + bytes, 0)

async function rowsOf(chat: TestChat, what: string): Promise<Row[]> {
  const { data } = await callJson<Row[]>('GET', '/api/v1/usage?group_by=endpoint', {
    token: chat.world.viewer.token,
  })
  return data.filter(({ endpoint }) => endpoint === `/api/v1/chats/:id/${what}`)
}

/** The one row of a route, once it says that so many bytes were sent. */
const rowAt = (chat: TestChat, what: string, bytes: number) =>
  eventually(async () => {
    const [row, ...more] = await rowsOf(chat, what)
    expect(more).toEqual([])
    // Asking is limited too.
    await sleep(400)
    return row?.response_size_bytes === bytes ? row : null
  }, TOLD_MS)

describe('what streams and sockets carry, in usage', () => {
  it('is every byte of an answer that streams, and of what follows the chat', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    const follower = await chat.follow()
    const sender = await chat.send('How many bytes are these words?')
    await sender.rest()
    await follower.until('done')
    await sleep(50)
    // The stream that goes on is counted as it goes.
    expect(await rowAt(chat, 'stream', received(follower))).toMatchObject({ requests: 1 })
    await follower.leave()
    const row = await rowAt(chat, 'messages', received(sender))
    const asked = new TextEncoder().encode('{"content":"How many bytes are these words?"}').byteLength
    expect(row).toMatchObject({ requests: 1, request_size_bytes: asked })
  }, 40_000)

  it('stands by the route that began the run', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    await chat.exchange('one')
    const answer = (await chat.read()).data.messages[1]?.id
    const path = `${chat.path}/messages/${answer}/regenerate`
    const again = await call('POST', path, { token: chat.person.token })
    const reader = new EventReader(again.body)
    await reader.rest()
    const row = await rowAt(chat, 'messages/:message_id/regenerate', received(reader))
    expect(row).toMatchObject({ requests: 1 })
  }, 40_000)

  it('is every byte of a socket’s frames, both ways, also after the object was away', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    const socket = await chat.socket()
    await socket.until('snapshot')
    socket.send('message', { content: 'one two three' })
    await socket.until('done')
    const before = socket.bytes
    expect(await rowAt(chat, 'ws', before)).toMatchObject({ requests: 1 })
    await evictDurableObject(chat.stub as never)
    socket.send('message', { content: 'four' })
    await socket.until('done')
    const sent = ['one two three', 'four'].map((content) =>
      JSON.stringify({ type: 'message', data: { content } }),
    )
    expect(socket.bytes).toBeGreaterThan(before)
    expect(await rowAt(chat, 'ws', socket.bytes)).toMatchObject({
      requests: 1,
      request_size_bytes: sent.join('').length,
    })
  }, 60_000)

  it('has nobody called for a stream that is idle: its comments come with the next event, or its end', async () => {
    const { 0: client, 1: server } = new WebSocketPair()
    server.accept()
    const told: number[] = []
    const reader = new EventReader(
      streamOver(client, null, { commentMs: 5, count: (bytes) => void told.push(bytes) }),
    )
    const reading = reader.next()
    await sleep(60)
    expect(told).toEqual([new TextEncoder().encode('retry: 2000\n\n').byteLength])
    server.send(new TextEncoder().encode('id: e1-1\ndata: {}\n\n'))
    await reading
    const sum = () => told.reduce((a, b) => a + b, 0)
    await eventually(() => sum() > 100)
    expect(told).toHaveLength(2)
    void reader.next().catch(() => {})
    await sleep(30)
    server.close(1000)
    await eventually(() => told.length === 3 && sum() === received(reader))
  })

  it('is no use of the API key that opened the stream', async () => {
    const world = await makeWorld()
    const { data } = await callJson<{ id: string; key: string }>('POST', '/api/v1/auth/api-keys', {
      token: world.admin.token,
      body: { name: 'Silent' },
    })
    const minute = Math.floor(Date.now() / 60_000)
    const line = {
      ...{ minute, caller: data.id, method: 'GET', endpoint: '/api/v1/chats/:id/stream', status: 200 },
      ...{ requests: 0, request_size_bytes: 0, response_size_bytes: 10, latency: {}, last_at: 0 },
    }
    await env.METERS.getByName(world.tenant.id).lease({
      ...{
        isolate: crypto.randomUUID(),
        sequence: 1,
        revision: 0,
        demands: [],
        report: null,
        unleased: null,
      },
      usage: { sequence: 1, lines: [line], samples: [] },
    })
    await sleep(2_500)
    const { data: keys } = await callJson<{ id: string; last_used_at: string | null }[]>(
      ...(['GET', '/api/v1/auth/api-keys', { token: world.admin.token }] as const),
    )
    expect(keys.find(({ id }) => id === data.id)).toMatchObject({ last_used_at: null })
  })
})

describe('what answers cost, in usage', () => {
  type Percentiles = { p50: number | null }
  type Answered = {
    requests: number
    answers?: {
      runs: number
      prompt_tokens: number
      completion_tokens: number
      time_to_first_token_ms: Percentiles
      duration_ms: Percentiles
    }
  }

  const answersOf = async (chat: TestChat, by: string) => {
    const { data } = await callJson<Answered[]>('GET', `/api/v1/usage?group_by=${by}`, {
      token: chat.world.viewer.token,
    })
    return data.flatMap(({ answers }) => answers ?? [])
  }

  it('is counted once a run, with the tokens that the agent told and its times', async () => {
    const url = `${env.RECEIVER_URL}/upstream/openai`
    const agent = { name: 'OpenAI', kind: 'openai', base_url: url, config: { model: 'gpt-test' } }
    const chat = await chatWith(await makeWorld(), agent)
    const events = [...(await chat.exchange('one')), ...(await chat.exchange('two'))]
    const usages = events.flatMap(({ type, data }) =>
      type === 'done' ? [data.usage as { prompt_tokens: number; completion_tokens: number }] : [],
    )
    expect(usages).toHaveLength(2)
    const sum = (of: 'prompt_tokens' | 'completion_tokens') => usages.reduce((all, one) => all + one[of], 0)
    expect(sum('completion_tokens')).toBeGreaterThan(0)
    await eventually(async () => {
      await sleep(200)
      return (await answersOf(chat, 'hour'))[0]?.runs === 2
    }, TOLD_MS)
    for (const by of ['hour', 'minute', 'day', 'endpoint', 'api_key', 'status']) {
      const answers = await answersOf(chat, by)
      const total = (of: 'runs' | 'prompt_tokens' | 'completion_tokens') =>
        answers.reduce((all, one) => all + one[of], 0)
      expect([total('runs'), total('prompt_tokens'), total('completion_tokens')]).toEqual([
        ...[2, sum('prompt_tokens'), sum('completion_tokens')],
      ])
      expect(answers[0]?.duration_ms.p50).toBeGreaterThanOrEqual(
        answers[0]?.time_to_first_token_ms.p50 ?? 1e9,
      )
    }
    const csv = await call('GET', '/api/v1/usage?group_by=endpoint', {
      token: chat.world.viewer.token,
      headers: { Accept: 'text/csv' },
    })
    const lines = (await csv.text()).split('\r\n')
    const line = lines.find((one) => one.startsWith('POST,/api/v1/chats/:id/messages,'))
    expect(line?.split(',').slice(9, 12).map(Number)).toEqual([
      ...[2, sum('prompt_tokens'), sum('completion_tokens')],
    ])
  }, 40_000)

  it('is told again until the Meter has it, and counted once even so', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    await chat.exchange('one')
    const settled = () =>
      chat.inObject(
        (object) => (object as unknown as { room: { outbox: { empty: boolean } } }).room.outbox.empty,
      )
    await eventually(settled)
    // As after a crash before the Meter's answer was noted.
    await chat.inObject((_, state) => void state.storage.sql.exec('update runs set metered = 0'))
    expect(await settled()).toBe(false)
    await chat.forget()
    await eventually(settled)
    await chat.exchange('two')
    await eventually(async () => {
      await sleep(200)
      return (await answersOf(chat, 'hour'))[0]?.runs === 2
    }, TOLD_MS)
  }, 40_000)

  it('is counted under the API key that asked', async () => {
    const world = await makeWorld()
    const { agentId } = await chatWith(world, echo)
    const chat = await openChat(world, world.admin, agentId)
    const { data: key } = await callJson<{ id: string; key: string }>('POST', '/api/v1/auth/api-keys', {
      token: world.admin.token,
      body: { name: 'Bot' },
    })
    const answer = await chat.post({ content: 'x' }, { Accept: 'application/json' }, key.key)
    expect(answer.status).toBe(200)
    const found = await eventually(async () => {
      await sleep(200)
      const { data } = await callJson<(Answered & { api_key_id: string | null })[]>(
        ...(['GET', '/api/v1/usage?group_by=api_key', { token: world.viewer.token }] as const),
      )
      return data.find(({ answers }) => answers !== undefined)
    }, TOLD_MS)
    expect(found).toMatchObject({ api_key_id: key.id, answers: { runs: 1 } })
  }, 40_000)
})

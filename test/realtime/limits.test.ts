import { describe, expect, it } from 'vitest'
import type { LimitUse } from '../../src/domains/metering/limits/schema'
import { AUTH_MS } from '../../src/domains/realtime/connection'
import { call, callJson, makeWorld, newAddress, type World } from '../world'
import { Client } from './socket'

// limits.md: opening a stream or socket is no request, for after a deploy all come back at once.

const from = (address: string) => ({ 'CF-Connecting-IP': address })

async function usedOf(world: World): Promise<number | null | undefined> {
  const { data } = await callJson<{ windows: LimitUse[] }>('GET', '/api/v1/usage/limits', {
    token: world.viewer.token,
  })
  return data.windows.find(({ window }) => window === 'minute')?.used
}

const enter = async (client: Client, token: string) => {
  client.send({ type: 'auth', token: `Bearer ${token}` })
  await client.next('ready')
}

describe('a socket', { timeout: 60_000 }, () => {
  it('is opened by a whole office at once, whose address may have been refused nothing', async () => {
    const { viewer } = await makeWorld()
    const headers = from(newAddress())
    for (let i = 0; i < 120; i++) {
      const client = await Client.open(headers)
      await enter(client, viewer.token)
      client.socket.close(1000)
    }
    // Nothing of it was a public request.
    const answer = await call('GET', '/openapi.json', { headers })
    expect(answer.headers.get('X-RateLimit-Remaining')).toBe('99')
  })

  it('that brings no credential that counts is counted against its address', async () => {
    const headers = from(newAddress())
    for (let i = 0; i < 98; i++) {
      const client = await Client.open(headers)
      client.send({ type: 'auth', token: `Bearer not.a.token${i}` })
      expect(await client.end()).toBe(4401)
    }
    const gone = await Client.open(headers)
    gone.socket.close(1000)
    const plain = await call('GET', '/realtime/ws', { headers })
    expect(plain.status).toBe(400)
    await expect
      .poll(async () => {
        const answer = await call('GET', '/realtime/ws', { headers: { ...headers, Upgrade: 'websocket' } })
        answer.webSocket?.accept()
        answer.webSocket?.close(1000)
        return [answer.status, answer.headers.get('RateLimit-Policy')]
      })
      .toEqual([429, '"public";q=100;w=60'])
  })

  it('may be silent with a hundred of its address, and no more', async () => {
    const headers = from(newAddress())
    const silent: Client[] = []
    for (let i = 0; i < 100; i++) silent.push(await Client.open(headers))
    const open = () => call('GET', '/realtime/ws', { headers: { ...headers, Upgrade: 'websocket' } })
    const refused = await open()
    expect([refused.status, refused.headers.get('Retry-After')]).toEqual([429, String(AUTH_MS / 1_000)])
    expect((await refused.json<{ error: { code: string } }>()).error.code).toBe('rate_limited')
    // Who says who it is for makes room for the next.
    const { viewer } = await makeWorld()
    const [first] = silent
    if (first) await enter(first, viewer.token)
    const next = await open()
    expect(next.status).toBe(101)
    next.webSocket?.accept()
    next.webSocket?.close(1000)
    for (const { socket } of silent) socket.close(1000)
  })

  it('subscribes without using the minute up; what is refused is a request', async () => {
    const world = await makeWorld({ rate_limits: { requests_per_minute: 8 } })
    const inbox = `inbox:${world.admin.user.id}`
    const client = await Client.open()
    await enter(client, world.admin.token)
    for (let i = 0; i < 12; i++) {
      expect((await client.subscribe(inbox)).channel).toBe(inbox)
      client.send({ type: 'unsubscribe', channel: inbox })
      await client.next('unsubscribed')
    }
    expect(await usedOf(world)).toBe(0)
    for (let i = 0; i < 3; i++) {
      client.send({ type: 'subscribe', channel: `chats:${crypto.randomUUID()}` })
      expect((await client.next('error')).code).toBe('not_found')
    }
    expect(await usedOf(world)).toBe(3)
  })

  it('counts against the own limits of the API key that opened it, by a ticket too', async () => {
    const world = await makeWorld()
    const { data: made } = await callJson<{ key: string }>('POST', '/api/v1/auth/api-keys', {
      token: world.admin.token,
      body: { name: 'Partner', limits: { per_minute: 4 } },
    })
    const missing = async (client: Client) => {
      client.send({ type: 'subscribe', channel: `chats:${crypto.randomUUID()}` })
      return client.next('error')
    }
    // The first of the four.
    const { data } = await callJson<{ ticket: string }>('POST', '/api/v1/realtime/ticket', { key: made.key })
    const byTicket = await Client.open()
    byTicket.send({ type: 'auth', ticket: data.ticket })
    await byTicket.next('ready')
    expect((await missing(byTicket)).code).toBe('not_found')
    const byKey = await Client.open()
    await enter(byKey, made.key)
    expect((await missing(byKey)).code).toBe('not_found')
    expect((await missing(byTicket)).code).toBe('not_found')
    for (const client of [byTicket, byKey]) {
      const refused = await missing(client)
      expect([refused.code, refused.message]).toEqual([
        'rate_limited',
        expect.stringContaining('api_key_minute'),
      ])
    }
    const request = await callJson('GET', '/api/v1/chats', { key: made.key })
    expect([request.status, request.error.details.window]).toEqual([429, 'api_key_minute'])
    // Nobody else is held up by it.
    expect((await call('GET', '/api/v1/chats', { key: world.apiKey })).status).toBe(200)
  })

  it('is one request in usage, with the bytes of all frames', async () => {
    const world = await makeWorld()
    const client = await Client.open()
    await enter(client, world.admin.token)
    const sent: string[] = []
    const received: number[] = []
    client.socket.addEventListener('message', ({ data }) => {
      received.push(new TextEncoder().encode(`${data}`).byteLength)
    })
    expect(client.seen).toEqual([])
    const send = (frame: object) => {
      sent.push(JSON.stringify(frame))
      client.send(frame)
    }
    send({ type: 'ping' })
    await client.next('pong')
    send({ type: 'subscribe', channel: `inbox:${world.admin.user.id}` })
    await client.next('inbox')
    const { data } = await callJson<Record<string, unknown>[]>('GET', '/api/v1/usage?group_by=endpoint', {
      token: world.viewer.token,
    })
    const row = data.find(({ endpoint }) => endpoint === '/realtime/ws')
    expect(row).toMatchObject({
      method: 'GET',
      requests: 1,
      errors: 0,
      request_size_bytes: sent.join('').length,
    })
    const said = Number(row?.response_size_bytes) - received.reduce((sum, bytes) => sum + bytes, 0)
    // What it was greeted with, before this test listened.
    expect(said).toBeGreaterThan(100)
    expect(said).toBeLessThan(250)
  })
})

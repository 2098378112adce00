import { describe, expect, it } from 'vitest'
import type { LimitUse } from '../../src/domains/metering/limits/schema'
import { call, callJson, makePlatformAdmin, makeWorld, newAddress } from '../world'

// What is refused before a tenant is known to be asked for: it counts against the address, and against nobody else.

type Tokens = { access_token: string; refresh_token: string }

const from = (address: string) => ({ 'CF-Connecting-IP': address })

async function statuses(count: number, ask: (i: number) => Promise<Response>): Promise<number[]> {
  const seen: number[] = []
  for (let i = 0; i < count; i++) {
    const answer = await ask(i)
    await answer.arrayBuffer()
    seen.push(answer.status)
  }
  return seen
}

const times = (count: number, status: number) => Array.from({ length: count }, () => status)

/** A new company and its admin, logged in. */
async function company() {
  const slug = `f-${crypto.randomUUID().slice(0, 8)}`
  const who = { email: `ada@${slug}.example`, password: 'a long and unusual phrase' }
  const made = await callJson<{ tenant: { id: string } }>('POST', '/api/v1/tenants/onboarding/public', {
    body: { name: 'Fallen', slug, ...who },
  })
  const login = async () => (await callJson<Tokens>('POST', '/api/v1/auth/login', { body: who })).data
  return { id: made.data.tenant.id, login }
}

async function selfHelp(token: string): Promise<LimitUse | undefined> {
  const { data } = await callJson<{ windows: LimitUse[] }>('GET', '/api/v1/usage/limits', { token })
  return data.windows.find(({ window }) => window === 'self_help')
}

describe('a refresh that brings no token', { timeout: 30_000 }, () => {
  it('is a request to /auth without a credential, whatever is wrong with it, on every path', async () => {
    const headers = from(newAddress())
    const type = { ...headers, 'Content-Type': 'application/json' }
    const asks = [
      () => call('POST', '/api/v1/auth/refresh', { headers, body: {} }),
      () => call('POST', '/api/v1/auth/refresh', { headers: type, raw: '{' }),
      () => call('POST', '/api/auth/refresh', { headers, body: {} }),
      () => call('POST', '/api/v2/auth/refresh', { headers, body: { refresh_token: 5 } }),
      () => call('POST', '/api/v1/auth/refresh/', { headers }),
    ]
    const seen = await statuses(10, (i) => asks[i % asks.length]?.() ?? Promise.reject(new Error('none')))
    expect(new Set(seen)).toEqual(new Set([400, 422]))
    for (const ask of asks) {
      const answer = await ask()
      expect([answer.status, answer.headers.get('RateLimit-Policy')]).toEqual([429, '"auth";q=10;w=60'])
    }
    // Whoever has one there is not touched.
    const { refresh_token } = await (await company()).login()
    const good = await call('POST', '/api/v1/auth/refresh', { headers, body: { refresh_token } })
    expect(good.status).toBe(200)
  })
})

describe('a credential that has ended', { timeout: 60_000 }, () => {
  it('uses up nothing of its tenant as a refresh token, and counts against its address', async () => {
    const { login } = await company()
    const [old, now] = [await login(), await login()]
    expect((await call('POST', '/api/v1/auth/logout', { token: old.access_token })).status).toBe(204)
    const before = await selfHelp(now.access_token)
    const headers = from(newAddress())
    const again = () =>
      call('POST', '/api/v1/auth/refresh', { headers, body: { refresh_token: old.refresh_token } })
    expect(await statuses(101, again)).toEqual([...times(100, 401), 429])
    // One more: this very look.
    expect((await selfHelp(now.access_token))?.used).toBe((before?.used ?? 0) + 1)
  })

  it('counts against its address where its tenant is suspended, by every credential of it', async () => {
    const { id, login } = await company()
    const { access_token, refresh_token } = await login()
    const suspended = await call('PATCH', `/api/platform/tenants/${id}`, {
      token: (await makePlatformAdmin()).token,
      body: { status: 'suspended' },
    })
    expect(suspended.status).toBe(200)
    const headers = from(newAddress())
    const asks = [
      () => call('GET', '/api/v1/agents', { headers, token: access_token }),
      () => call('POST', '/api/v1/auth/refresh', { headers, body: { refresh_token } }),
    ]
    const seen = await statuses(100, (i) => asks[i % asks.length]?.() ?? Promise.reject(new Error('none')))
    expect(seen).toEqual(times(100, 403))
    for (const ask of asks) {
      const answer = await ask()
      expect([answer.status, answer.headers.get('RateLimit-Policy')]).toEqual([429, '"public";q=100;w=60'])
    }
    // Others at that address are not touched, nor is who lacks no more than a right.
    const world = await makeWorld()
    const asked = () => call('GET', '/api/platform/tenants', { headers, token: world.viewer.token })
    expect(await statuses(3, asked)).toEqual(times(3, 403))
  })
})

describe('a key at an address that is not its own', { timeout: 30_000 }, () => {
  it('counts against that address, and not against its tenant', async () => {
    const world = await makeWorld({ rate_limits: { requests_per_minute: 3 } })
    const { data } = await callJson<{ key: string }>('POST', '/api/v1/auth/api-keys', {
      token: world.admin.token,
      body: { name: 'bound', allowed_addresses: ['192.0.2.1'] },
    })
    const ask = (address: string) => call('GET', '/api/v1/agents', { headers: from(address), key: data.key })
    const elsewhere = newAddress()
    expect(await statuses(101, () => ask(elsewhere))).toEqual([...times(100, 403), 429])
    expect(await statuses(4, () => ask('192.0.2.1'))).toEqual([200, 200, 200, 429])
  })
})

describe('a stream that is not opened', { timeout: 30_000 }, () => {
  it('is a request as any other', async () => {
    const world = await makeWorld({ rate_limits: { requests_per_minute: 4 } })
    const { token } = world.admin
    const chat = `/api/v1/chats/${crypto.randomUUID()}`
    const asks = [
      () => call('GET', `${chat}/stream`, { token }),
      () => call('GET', `${chat}/ws`, { token, headers: { Upgrade: 'websocket' } }),
      () => call('GET', `${chat}/ws`, { token }),
      () => call('GET', '/api/v1/chats/x/stream', { token }),
    ]
    expect(await statuses(4, (i) => asks[i]?.() ?? Promise.reject(new Error('none')))).toEqual([
      ...[404, 404, 400, 422],
    ])
    for (const ask of asks) {
      const answer = await ask()
      expect([answer.status, answer.headers.get('RateLimit-Policy')]).toEqual([429, '"minute";q=4;w=60'])
    }
  })
})

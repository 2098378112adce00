import { createExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { app } from '../../src/app'
import { limiterCounts } from '../../src/domains/metering/isolate'
import type { Bindings } from '../../src/env'
import { makeWorld, newAddress } from '../world'

// The service of an isolate whose Meters are away. D1 and KV answer.

const throwing = () => Promise.reject(new Error('the Meter is away'))
const hanging = () => new Promise<never>(() => {})

const meters = (answer: () => Promise<never>) => ({
  getByName: () => ({
    lease: answer,
    look: answer,
    streamUse: answer,
    tell: answer,
    pace: answer,
    take: answer,
  }),
})

function isolateWith(over: Record<string, unknown>) {
  const bindings = { ...env, ...over } as unknown as Bindings
  const ask = async (
    method: string,
    path: string,
    init: { token?: string; address?: string; body?: unknown } = {},
  ) => {
    const headers = new Headers({ 'CF-Connecting-IP': init.address ?? newAddress() })
    if (init.token) headers.set('Authorization', `Bearer ${init.token}`)
    if (init.body) headers.set('Content-Type', 'application/json')
    const body = init.body ? JSON.stringify(init.body) : null
    const request = new Request(`http://localhost:8787${path}`, { method, headers, body })
    const started = Date.now()
    const answer = await app.fetch(request, bindings, createExecutionContext())
    const took = Date.now() - started
    return {
      status: answer.status,
      json: await answer.json<{ error?: { details: { window?: string } } }>(),
      took,
      answer,
    }
  }
  return { ask, counts: () => limiterCounts(bindings) }
}

const login = { email: 'nobody@example.com', password: 'a long and unusual phrase', tenant: 'no-such-tenant' }

describe.each([
  ['throws', throwing],
  ['hangs', hanging],
])('a Meter that %s', { timeout: 40_000 }, (_, answer) => {
  it('lets files that are announced together pass by the isolate’s own number', async () => {
    const world = await makeWorld({ rate_limits: { uploads_per_minute: 50 } })
    const { ask } = isolateWith({ METERS: meters(answer) })
    const files = Array.from({ length: 3 }, () => ({ filename: 'a', content_type: 'text/plain', size: 1 }))
    const announce = () => ask('POST', '/api/v1/files/presign', { token: world.admin.token, body: { files } })
    expect((await announce()).status).toBe(201)
    // A tenth of the limit are five.
    const { status, json } = await announce()
    expect([status, json.error?.details.window]).toEqual([429, 'uploads'])
  })

  it('refuses nobody but by the isolate’s own number, and is counted', async () => {
    const world = await makeWorld({ rate_limits: { requests_per_minute: 50 } })
    const { ask, counts } = isolateWith({ METERS: meters(answer) })
    const list = () => ask('GET', '/api/v1/interactions', { token: world.admin.token })
    const first = await list()
    expect(first.status).toBe(200)
    expect(first.took).toBeLessThan(3_000)
    // Known to be silent, it is waited for no more: a tenth of the limit passes.
    for (let i = 1; i < 5; i++) {
      const next = await list()
      expect(next.status).toBe(200)
      expect(next.took).toBeLessThan(500)
    }
    const refused = await list()
    expect([refused.status, refused.json.error?.details.window]).toEqual([429, 'minute'])
    expect(Number(refused.answer.headers.get('Retry-After'))).toBeGreaterThan(30)
    expect(counts().meter_silences).toBeGreaterThan(0)
    expect(counts()).toMatchObject({ admitted_alone: 5, refused_alone: 1 })
  })

  it('leaves the limits unseen: 503', async () => {
    const { admin } = await makeWorld()
    const { ask } = isolateWith({ METERS: meters(answer) })
    const { status, answer: seen } = await ask('GET', '/api/v1/usage/limits', { token: admin.token })
    expect([status, seen.headers.get('Retry-After')]).toEqual([503, '1'])
  })

  it('opens no door to passwords', async () => {
    const { ask, counts } = isolateWith({ ADDRESS_METERS: meters(answer) })
    const address = newAddress()
    const seen: number[] = []
    for (let i = 0; i < 5; i++)
      seen.push((await ask('POST', '/api/v1/auth/login', { address, body: login })).status)
    expect(seen).toEqual([401, 401, 401, 429, 429])
    expect(counts()).toMatchObject({ admitted_alone: 3, refused_alone: 2 })
  })

  it('lets half of what /auth takes pass', async () => {
    const { ask } = isolateWith({ ADDRESS_METERS: meters(answer) })
    const address = newAddress()
    const seen: number[] = []
    for (let i = 0; i < 7; i++)
      seen.push(
        (await ask('POST', '/api/v1/auth/verify-email/confirm', { address, body: { token: 'x' } })).status,
      )
    expect(seen.slice(0, 5)).not.toContain(429)
    expect(seen.slice(5)).toEqual([429, 429])
  })
})

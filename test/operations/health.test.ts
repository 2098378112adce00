import { createExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, it, vi } from 'vitest'
import { app } from '../../src/app'
import { readiness } from '../../src/domains/operations/health/service'
import type { Bindings } from '../../src/env'
import { call } from '../world'

const bindings = env as unknown as Bindings

/** The service with some of its bindings or settings replaced. */
const ask = (path: string, changed: Record<string, unknown>) =>
  app.fetch(
    new Request(`http://localhost:8787${path}`),
    { ...bindings, ...changed },
    createExecutionContext(),
  )

const look = (changed: Record<string, unknown>, now = Date.now()) =>
  readiness({ env: { ...bindings, ...changed } as Bindings, now, requestId: 'req_test' })

const broken = () => Promise.reject(new Error('away'))
const deadDatabase = { prepare: () => ({ run: broken }) }

describe('health', () => {
  it.each(['/health', '/health/live', '/health/'])('%s answers without a credential', async (path) => {
    const answer = await call('GET', path)
    expect(answer.status).toBe(200)
    expect(answer.headers.get('X-Request-ID')).toMatch(/^req_/)
    expect(await answer.json()).toEqual({ status: 'healthy' })
  })

  it.each(['/health/ready', '/ready'])('%s looks at every part', async (path) => {
    const answer = await call('GET', path)
    expect(answer.status).toBe(200)
    const report = await answer.json<Record<string, unknown>>()
    const parts = ['database', 'chats', 'sweeper', 'meters', 'kv', 'queue', 'files']
    expect(report).toEqual({
      status: 'ready',
      healthy: true,
      services: Object.fromEntries(parts.map((part) => [part, 'healthy'])),
      failed_services: [],
      timings_ms: Object.fromEntries(parts.map((part) => [part, expect.any(Number)])),
      timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]{12}Z$/),
    })
  })

  it.each(['/health/kv', '/health/redis'])('%s looks at KV', async (path) => {
    const answer = await call('GET', path)
    expect(answer.status).toBe(200)
    expect(await answer.json()).toMatchObject({ status: 'healthy', timing_ms: expect.any(Number) })
  })

  it('answers HEAD without a body', async () => {
    const answer = await call('HEAD', '/ready')
    expect([answer.status, await answer.text()]).toEqual([200, ''])
  })
})

describe('a part that is down', () => {
  it('is 503 where requests need it, in the shape of every report', async () => {
    const answer = await ask('/health/ready', { DB: deadDatabase })
    expect(answer.status).toBe(503)
    expect(await answer.json()).toMatchObject({
      status: 'not_ready',
      healthy: false,
      services: { database: 'unhealthy', kv: 'healthy' },
      failed_services: ['database'],
    })
  })

  it.each([
    ['kv', { KV: { get: broken } }],
    ['meters', { METERS: { getByName: () => ({ ping: broken }) } }],
    ['queue', { EVENTS_QUEUE: { metrics: broken } }],
    ['files', { FILES: { head: broken } }],
  ])('is degraded where they go on without it: %s', async (part, changed) => {
    const answer = await ask('/ready', changed)
    expect(answer.status).toBe(200)
    expect(await answer.json()).toMatchObject({
      status: 'ready',
      services: { [part]: 'degraded', database: 'healthy' },
      failed_services: [part],
    })
  })

  it('is down, and no exception, where it is not bound at all', async () => {
    expect(await look({ SWEEPER: undefined })).toMatchObject({ healthy: false, failed_services: ['sweeper'] })
  })

  it('says so at /health/kv', async () => {
    const answer = await ask('/health/kv', { KV: { get: broken } })
    expect(answer.status).toBe(503)
    expect(await answer.json()).toMatchObject({ status: 'unhealthy' })
  })

  it('is down when it has not answered within two seconds', async () => {
    vi.useFakeTimers()
    try {
      const report = look({ KV: { get: () => new Promise(() => undefined) } })
      await vi.advanceTimersByTimeAsync(2_000)
      expect(await report).toMatchObject({ services: { kv: 'degraded' }, timings_ms: { kv: 2_000 } })
    } finally {
      vi.useRealTimers()
    }
  })

  it('is asked again after five seconds, and not before', async () => {
    const get = vi.fn(broken)
    const one = { ...bindings, KV: { get } } as unknown as Bindings
    const at = (now: number) => readiness({ env: one, now, requestId: 'req_test' })
    const first = await at(10_000)
    expect(await at(14_999)).toBe(first)
    expect(get).toHaveBeenCalledTimes(1)
    get.mockImplementation(() => Promise.resolve(null) as never)
    expect(await at(15_000)).toMatchObject({ failed_services: [] })
    expect(get).toHaveBeenCalledTimes(2)
  })
})

describe('a misconfigured service', () => {
  const misconfigured = { MASTER_KEY: 'short', ALLOWED_HOSTS: 'elsewhere' }

  it('lives', async () => {
    const answer = await ask('/health/live', misconfigured)
    expect([answer.status, await answer.json()]).toEqual([200, { status: 'healthy' }])
  })

  it('answers everything else with misconfigured, and names no value', async () => {
    for (const path of ['/health', '/ready', '/openapi.json', '/api/v1/auth/me']) {
      const answer = await ask(path, misconfigured)
      const text = await answer.text()
      expect([path, answer.status, JSON.parse(text).error.code]).toEqual([path, 500, 'misconfigured'])
      expect(text).not.toContain('short')
    }
  })
})

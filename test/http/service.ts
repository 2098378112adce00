import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { app } from '../../src/app'
import { newAddress } from '../world'

type Init = { headers?: Record<string, string>; body?: BodyInit; token?: string }

/** The service as it runs with other settings or bindings than the tests' own; `url` is absolute. */
export function serviceWith(overrides: Record<string, unknown>) {
  // One object for all its requests, as an isolate has.
  const bindings = { ...env, ...withSessions(overrides) }
  return async (method: string, url: string, init: Init = {}): Promise<Response> => {
    const headers = new Headers(init.headers)
    if (!headers.has('CF-Connecting-IP')) headers.set('CF-Connecting-IP', newAddress())
    if (init.token) headers.set('Authorization', `Bearer ${init.token}`)
    const context = createExecutionContext()
    const request = new Request(url, { method, headers, body: init.body ?? null, redirect: 'manual' })
    const answer = await app.fetch(request, bindings, context)
    // What follows at once; limiters have timers of many seconds.
    await Promise.race([waitOnExecutionContext(context), scheduler.wait(250)])
    return answer
  }
}

/** A database that a test plays, so that a request's session is that database too. */
export function withSessions<T extends Record<string, unknown>>(overrides: T): T {
  const { DB } = overrides
  if (typeof DB !== 'object' || DB === null || 'withSession' in DB) return overrides
  const session = { ...DB, getBookmark: () => null }
  return { ...overrides, DB: { ...DB, withSession: () => session } }
}

/** Settings that a deployment has. */
export const PRODUCTION = {
  ENVIRONMENT: 'production',
  PUBLIC_URL: 'https://api.example.com',
  MASTER_KEY: '0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f6071',
  ALLOW_PRIVATE_TARGETS: 'false',
}

import { createExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { app } from '../../src/app'
import type { Bindings } from '../../src/env'
import { withSessions } from '../http/service'
import { newAddress } from '../world'

// Several isolates in one test: all that an isolate remembers hangs on its bindings, and each here has its own.

type Init = {
  token?: string | undefined
  key?: string | undefined
  body?: unknown
  headers?: Record<string, string>
}

/** One isolate; `calls` are those of D1, KV and objects that it made, such as `DB.prepare`. */
export class Isolate {
  readonly bindings: Bindings
  readonly calls: string[] = []

  constructor(overrides: Partial<Record<keyof Bindings, unknown>> = {}) {
    const own = { ...env, ...withSessions(overrides) } as unknown as Record<string, object>
    for (const name of ['DB', 'KV', 'METERS', 'SWEEPER']) own[name] = this.watched(name, own[name] ?? {})
    this.bindings = own as unknown as Bindings
  }

  async ask(method: string, path: string, { token, key, body, ...init }: Init): Promise<Response> {
    const headers = new Headers({ 'CF-Connecting-IP': newAddress(), ...init.headers })
    if (token) headers.set('Authorization', `Bearer ${token}`)
    if (key) headers.set('X-API-Key', key)
    if (body !== undefined) headers.set('Content-Type', 'application/json')
    const request = new Request(`http://localhost:8787${path}`, {
      method,
      headers,
      body: body === undefined ? null : JSON.stringify(body),
    })
    return app.fetch(request, this.bindings, createExecutionContext())
  }

  /** A request that reads nothing but who is calling. */
  knock(credential: { token?: string; key?: string }): Promise<Response> {
    return this.ask('GET', '/api/v1/webhooks/event-types?built_in=true', credential)
  }

  private watched(name: string, target: object): object {
    return new Proxy(target, {
      get: (_, property) => {
        const value: unknown = Reflect.get(target, property, target)
        if (typeof value !== 'function') return value
        return (...args: unknown[]) => {
          this.calls.push(`${name}.${String(property)}`)
          return Reflect.apply(value, target, args)
        }
      },
    })
  }
}

/** Meters as they are while they are away: every call of `how` ends so. */
export const metersThat = (how: () => Promise<never>) => ({ getByName: () => ({ lease: how, tell: how }) })

export const throwing = () => Promise.reject(new Error('the Meter is away'))
export const hanging = () => new Promise<never>(() => undefined)

import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { type Bindings, settingsOf } from '../../src/env'
import { Problem } from '../../src/lib/problem'
import { askProvider, type ProviderRequest, retryAfterMs } from '../../src/lib/provider-fetch'
import { PRODUCTION } from '../http/service'
import { speechServer } from '../voice/voices/kit'

const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`
const settings = settingsOf(env as unknown as Bindings)
const GEORGE = '/v1/voices/JBFqnCBsd6RMkjVDRZzb'

function account(own = false) {
  const server = speechServer()
  const provider = { name: 'elevenlabs', options: {}, own, ...server }
  const ask = (request: Partial<ProviderRequest> = {}) =>
    askProvider({ settings, traceparent }, provider, {
      ...{ path: GEORGE, headers: { 'xi-api-key': server.api_key } },
      ...request,
    })
  const refusal = async (request: Partial<ProviderRequest> = {}): Promise<Problem> => {
    const error = await ask(request).catch((thrown: unknown) => thrown)
    if (!(error instanceof Problem)) throw new Error(`no refusal: ${JSON.stringify(error)}`)
    return error
  }
  return { server, ask, refusal, provider }
}

describe('asking a provider', { timeout: 60_000 }, () => {
  it('answers with JSON or bytes, and passes the trace on', async () => {
    const { server, ask } = account()
    const { status, body } = await ask()
    expect([status, body]).toMatchObject([200, { voice_id: 'JBFqnCBsd6RMkjVDRZzb' }])
    const path = '/v1/text-to-speech/JBFqnCBsd6RMkjVDRZzb'
    const spoken = await ask({ method: 'POST', path, json: { text: 'x' }, as: 'bytes' })
    expect([spoken.body, spoken.bytes.length]).toEqual([null, 64])
    expect((await server.asked()).map(({ headers }) => headers.traceparent)).toEqual([
      traceparent,
      traceparent,
    ])
  })

  it('asks again after 429, 5xx, a lost connection and silence, and not sooner than it is told', async () => {
    for (const fault of [{ status: 429 }, { status: 503 }, { drop: true }, { hang: true }]) {
      const { server, ask } = account()
      await server.fail({ ...fault, times: 2 })
      expect((await ask({ timeout_ms: 2_000 })).status).toBe(200)
      expect((await server.asked()).length).toBe(3)
    }
    const { server, ask } = account()
    await server.fail({ status: 429, headers: { 'Retry-After': '2' } })
    const began = Date.now()
    await ask()
    expect(Date.now() - began).toBeGreaterThan(1_950)
  })

  it('gives up after three tries, or where it would have to wait beyond its time', async () => {
    const { server, refusal } = account()
    await server.fail({ status: 500, times: 3 })
    expect(await refusal()).toMatchObject({
      ...{ code: 'provider_failed', status: 502, retryable: true },
      details: { provider: 'elevenlabs', status: 500, said: 'no such luck' },
    })
    await server.fail({ status: 429, headers: { 'Retry-After': '600' } })
    expect((await refusal()).headers).toEqual({ 'Retry-After': '600' })
    expect((await server.asked()).length).toBe(4)
    await server.fail({ hang: true, times: 3 })
    const silent = await refusal({ timeout_ms: 100 })
    expect([silent.message, silent.details.status]).toEqual(['The provider elevenlabs took too long', null])
  })

  it('does once what must not be done twice, but after 429', async () => {
    for (const fault of [{ status: 500 }, { drop: true }, { hang: true }]) {
      const { server, refusal } = account()
      await server.fail(fault)
      await refusal({ once: true, timeout_ms: 500 })
      expect((await server.asked()).length).toBe(1)
    }
    const { server, ask } = account()
    await server.fail({ status: 429 })
    expect((await ask({ once: true })).status).toBe(200)
    expect((await server.asked()).length).toBe(2)
  })

  it('says what a provider refuses, in its own words and without the key', async () => {
    const { server, refusal, ask } = account()
    const wrong = 'a-key-that-is-wrong'
    const { message } = await refusal({ headers: { 'xi-api-key': server.api_key.slice(1) } })
    expect(message).toContain('answered 401: Invalid API key: ')
    for (const json of [
      { detail: [{ msg: `has ${server.api_key} in it` }] },
      { errors: [{ title: `has ${server.api_key} in it` }] },
      { error: { message: `has ${server.api_key} in it` } },
    ]) {
      await server.fail({ status: 422, json })
      expect(await refusal()).toMatchObject({
        ...{ code: 'provider_refused', retryable: false },
        details: { status: 422, said: 'has ******** in it' },
      })
    }
    expect((await ask({ path: '/v1/voices/nobody', meant: [400] })).status).toBe(400)
    await server.fail({ status: 400, json: { detail: `${'x'.repeat(500)}${wrong}` } })
    expect((await refusal()).details.said).toBe('x'.repeat(200))
  })

  it('takes no nonsense, no more than it wants, and follows no redirect', async () => {
    const { server, refusal } = account()
    await server.fail({ text: '<html>' })
    expect((await refusal()).message).toBe('The provider elevenlabs answered 200 with what is no JSON')
    expect((await refusal({ most: 10 })).message).toBe('The provider elevenlabs answered more than 10 bytes')
    await server.fail({ status: 302, headers: { Location: 'http://127.0.0.1:1/' }, json: {} })
    expect(await refusal()).toMatchObject({ code: 'provider_refused', details: { status: 302 } })
  })

  it('goes to no private address for a tenant', async () => {
    const { server, provider } = account(true)
    const production = settingsOf({ ...env, ...PRODUCTION } as unknown as Bindings)
    const ask = (own: boolean) =>
      askProvider({ settings: production, traceparent }, { ...provider, own }, { path: GEORGE })
    await expect(ask(true)).rejects.toMatchObject({
      code: 'provider_refused',
      message: expect.stringContaining('base_url'),
    })
    expect(await server.asked()).toEqual([])
    // The operator's is not under these rules.
    await expect(ask(false)).rejects.toMatchObject({ details: { status: 401 } })
  })

  it('reads Retry-After as seconds or a date', () => {
    expect([retryAfterMs('3'), retryAfterMs('0.5'), retryAfterMs(null), retryAfterMs('soon')]).toEqual([
      3000, 500, 0, 0,
    ])
    const later = retryAfterMs(new Date(Date.now() + 60_000).toUTCString())
    expect(later).toBeGreaterThan(50_000)
    expect(retryAfterMs('Thu, 01 Jan 1970 00:00:00 GMT')).toBe(0)
  })
})

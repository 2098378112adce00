import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { neededProvider, providerOf } from '../../src/domains/providers/choose'
import type { ProviderView } from '../../src/domains/providers/schema'
import { encryptUnderDataKey } from '../../src/domains/secrets/data-keys'
import { expectError } from '../http/expect-error'
import { serviceWith } from '../http/service'
import { call, callJson, makeWorld, type World } from '../world'

const PATH = '/api/v1/auth/providers'
const KEY = 'sk_5f0c1d2e3f4a5b6c7d8e9f3f9a'

const set = (world: World, kind: string, body: object, headers: Record<string, string> = {}) =>
  callJson<ProviderView>('PATCH', `${PATH}/${kind}`, { token: world.admin.token, body, headers })
const list = async (world: World, token = world.admin.token) => {
  const { data } = await callJson<ProviderView[]>('GET', PATH, { token })
  return Object.fromEntries(data.map((one) => [one.kind, one]))
}
const fieldsOf = async (world: World, kind: string, body: object) =>
  (await set(world, kind, body)).error?.details.fields
const secretOf = async (world: World, name: string) =>
  (await callJson<{ hosts: string[] }>('GET', `/api/v1/secrets/${name}`, { token: world.admin.token })).data

describe('providers', { timeout: 60_000 }, () => {
  it('are the operator’s, the tenant’s own, or none; of the operator’s nothing is shown', async () => {
    const world = await makeWorld()
    const before = await list(world, world.viewer.token)
    expect(Object.keys(before)).toEqual(['tts', 'ultravox', 'telnyx', 'stripe', 'transcriber'])
    expect(before.ultravox).toMatchObject({ source: 'none', provider: null, kept_as: null, version: 0 })
    expect(before.transcriber).toMatchObject({
      source: 'operator',
      provider: 'openai',
      base_url: null,
      options: {},
    })
    const { status, data, headers } = await set(world, 'tts', {
      api_key: KEY,
      options: { model: 'eleven_v3' },
    })
    expect([status, data, headers.get('ETag')]).toEqual([
      200,
      {
        ...{ tenant_id: world.tenant.id, kind: 'tts', source: 'tenant', provider: 'elevenlabs' },
        ...{
          api_key: '********3f9a',
          base_url: 'https://api.elevenlabs.io',
          options: { model: 'eleven_v3' },
        },
        ...{ kept_as: 'provider_tts', problem: null, version: 1, updated_at: expect.any(String) },
      },
      '"v1"',
    ])
    expect((await list(world, world.viewer.token)).tts).toEqual(data)
    expect((await list(await makeWorld())).tts?.source).toBe('operator')
  })

  it('are used with the tenant’s own key first, wherever that is', async () => {
    const world = await makeWorld()
    const none = await providerOf(world.ctx, 'ultravox')
    expect(none).toBeNull()
    await expect(neededProvider(world.ctx, 'ultravox')).rejects.toMatchObject({
      code: 'provider_not_configured',
    })
    const base_url = `${env.RECEIVER_URL}/speech/x/`
    await set(world, 'ultravox', { api_key: KEY, base_url, options: { model: 'ultravox-v0.7' } })
    expect(await providerOf(world.ctx, 'ultravox')).toEqual({
      ...{ name: 'ultravox', api_key: KEY, own: true, options: { model: 'ultravox-v0.7' } },
      base_url: `${env.RECEIVER_URL}/speech/x`,
    })
    // Credit is bought through the operator's account, whatever a tenant has.
    await set(world, 'stripe', { api_key: KEY })
    expect(await providerOf(world.ctx, 'stripe')).toMatchObject({
      own: false,
      api_key: 'sk_test_of_the_tests',
    })
  })

  it('keep their key as a secret that goes to their host alone, encrypted', async () => {
    const world = await makeWorld()
    await set(world, 'stripe', { provider: 'stripe', api_key: KEY })
    expect(await secretOf(world, 'provider_stripe')).toMatchObject({ hosts: ['api.stripe.com'] })
    const tables = ['secrets', 'providers', 'audit_log', 'idempotency_keys']
    const rows = await env.DB.batch<Record<string, unknown>>(
      tables.map((table) =>
        env.DB.prepare(`select * from ${table} where tenant_id = ?`).bind(world.tenant.id),
      ),
    )
    expect(JSON.stringify(rows.map(({ results }) => results))).not.toContain(KEY)
    expect(rows[0]?.results[0]).toMatchObject({ value: expect.stringMatching(/^k1\./) })
    const audit = rows[2]?.results.map(({ action, after }) => [action, JSON.parse(String(after))])
    expect(audit).toContainEqual([
      'provider.update',
      { provider: 'stripe', base_url: null, options: {}, key: 'set' },
    ])
  })

  it('may have another key, options and address; to another host the key is sent again', async () => {
    const world = await makeWorld()
    const base_url = `${env.RECEIVER_URL}/one`
    await set(world, 'ultravox', { api_key: KEY, base_url })
    const again = 'must be sent again: its key, the secret provider_ultravox, may not go to api.ultravox.ai'
    expect(await fieldsOf(world, 'ultravox', { base_url: null })).toEqual({ api_key: again })
    const moved = await set(world, 'ultravox', { base_url: `${env.RECEIVER_URL}/two` })
    expect(moved.data).toMatchObject({
      version: 2,
      api_key: '********3f9a',
      base_url: `${env.RECEIVER_URL}/two`,
    })
    const rotated = await set(world, 'ultravox', { api_key: 'another-key-of-1234', base_url: null })
    expect(rotated.data).toMatchObject({ version: 3, api_key: '********1234', problem: null })
    expect(await secretOf(world, 'provider_ultravox')).toMatchObject({ hosts: ['api.ultravox.ai'] })
    expect((await set(world, 'ultravox', { api_key: 'short' })).data.api_key).toBe('********')
    const stale = await set(world, 'ultravox', { options: { model: 'x' } }, { 'If-Match': '"v1"' })
    expect([stale.status, stale.error.code]).toEqual([412, 'precondition_failed'])
  })

  it('are removed with their key, and say so where the key is gone', async () => {
    const world = await makeWorld()
    const token = world.admin.token
    await set(world, 'tts', { api_key: KEY })
    const mixed = await fieldsOf(world, 'tts', {
      api_key: null,
      base_url: 'https://example.com',
      options: {},
    })
    expect(mixed).toEqual({ base_url: 'must be left out where the key is removed' })
    // By the secrets' own route the key is another one, may go elsewhere, or is gone.
    await callJson('PUT', '/api/v1/secrets/provider_tts', {
      ...{ token, body: { value: 'a-new-key-of-5678', hosts: ['example.com'] } },
    })
    expect((await list(world)).tts).toMatchObject({
      ...{ api_key: '********5678', source: 'tenant' },
      problem: 'its key, the secret provider_tts, may not go to api.elevenlabs.io',
    })
    await expect(providerOf(world.ctx, 'tts')).rejects.toMatchObject({ code: 'provider_not_configured' })
    expect((await call('DELETE', '/api/v1/secrets/provider_tts', { token })).status).toBe(204)
    expect((await list(world)).tts).toMatchObject({
      api_key: null,
      kept_as: null,
      problem: expect.stringContaining('gone'),
    })
    await expect(providerOf(world.ctx, 'tts')).rejects.toMatchObject({ status: 409 })
    expect(await fieldsOf(world, 'tts', { options: { model: 'x' } })).toEqual({
      api_key: 'must be sent again: its key, the secret provider_tts, is gone',
    })
    expect((await set(world, 'tts', { api_key: KEY })).data.problem).toBeNull()
    const removed = await set(world, 'tts', { api_key: null })
    expect(removed.data).toMatchObject({ source: 'operator', provider: 'simulated', version: 0 })
    await expectError(call('GET', '/api/v1/secrets/provider_tts', { token }), 'not_found')
    const twice = await set(world, 'tts', { api_key: null })
    expect([twice.status, twice.data.source]).toEqual([200, 'operator'])
    expect((await set(world, 'tts', { api_key: null }, { 'If-Match': '"v1"' })).status).toBe(412)
    expect((await set(world, 'tts', { api_key: KEY }, { 'If-Match': '"v0"' })).status).toBe(200)
  })

  it('are one of each kind, set up once by two who do it at once', async () => {
    const world = await makeWorld()
    const both = await Promise.all([
      set(world, 'telnyx', { api_key: KEY }),
      set(world, 'telnyx', { api_key: KEY }),
    ])
    for (const { status } of both) expect([200, 409]).toContain(status)
    expect((await list(world)).telnyx).toMatchObject({ source: 'tenant', problem: null })
    expect((await providerOf(world.ctx, 'telnyx'))?.api_key).toBe(KEY)
  })

  it('are refused with what to do', async () => {
    const world = await makeWorld()
    const refused: [string, object, Record<string, string>][] = [
      ['tts', {}, { api_key: 'must be given: there is no account of your own yet' }],
      ['tts', { provider: 'openai', api_key: KEY }, { provider: 'must be elevenlabs' }],
      ['tts', { api_key: 'with space' }, { api_key: 'must be visible ASCII without spaces' }],
      ['tts', { api_key: KEY, options: { voice: 'x' } }, { 'options.voice': 'must be model' }],
      ['stripe', { api_key: KEY, options: { x: 'x' } }, { 'options.x': 'stripe has no options' }],
      ['tts', { api_key: KEY, options: { model: '' } }, { 'options.model': 'must not be empty' }],
      ['tts', { api_key: KEY, base_url: 'ftp://x' }, { base_url: 'must be an absolute https URL' }],
      [
        'tts',
        { api_key: KEY, base_url: 'https://a.example/?b' },
        { base_url: 'must end with its path, without ? and #' },
      ],
      ['sms', { api_key: KEY }, { kind: 'must be one of tts, ultravox, telnyx, stripe, transcriber' }],
    ]
    for (const [kind, body, fields] of refused)
      expect([body, await fieldsOf(world, kind, body)]).toEqual([body, fields])
  })

  it('are at public https addresses outside development', async () => {
    const world = await makeWorld()
    const strict = serviceWith({ ALLOW_PRIVATE_TARGETS: 'false', ENVIRONMENT: 'staging' })
    const ask = async (base_url: string) => {
      const answer = await strict('PATCH', `http://localhost:8787${PATH}/ultravox`, {
        ...{ token: world.admin.token, headers: { 'Content-Type': 'application/json' } },
        body: JSON.stringify({ api_key: KEY, base_url }),
      })
      return ((await answer.json()) as { error?: { details: { fields: object } } }).error?.details.fields
    }
    for (const url of [
      'http://api.example.com',
      'https://10.0.0.1',
      'https://db.internal',
      'https://169.254.169.254',
    ])
      expect([url, await ask(url)]).toEqual([url, { base_url: expect.stringMatching(/^must/) }])
  })

  it('is not opened where its key was moved from another secret', async () => {
    const world = await makeWorld()
    await set(world, 'tts', { api_key: KEY })
    const elsewhere = await encryptUnderDataKey(
      world.ctx,
      'another',
      `${world.tenant.id}/${crypto.randomUUID()}`,
    )
    await env.DB.prepare("update secrets set value = ? where tenant_id = ? and name = 'provider_tts'")
      .bind(elsewhere, world.tenant.id)
      .run()
    await expect(providerOf(world.ctx, 'tts')).rejects.toThrow()
  })
})

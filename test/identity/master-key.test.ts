import { env } from 'cloudflare:workers'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { resealAll, sealedPurposes } from '../../src/data/sealed'
import { isGenuine } from '../../src/domains/identity/api-keys/genuine'
import { tagSecretOf } from '../../src/domains/identity/api-keys/key'
import { deviceCookie, knownDevice } from '../../src/domains/identity/attempts/device'
import { hashOf, newRefreshToken } from '../../src/domains/identity/sessions/refresh-token'
import { tendKeys } from '../../src/domains/identity/tokens/chores'
import { type Bindings, settingsOf } from '../../src/env'
import { isSealed, Sealer } from '../../src/lib/crypto'
import { iso } from '../../src/lib/ids'
import { expectError } from '../http/expect-error'
import { call, callJson, makePlatformAdmin, makeWorld, requestContext, type World } from '../world'
import { Isolate } from './isolates'

const OLD = settingsOf(env as unknown as Bindings).MASTER_KEY
const NEW = 'dev_another_master_key_for_the_tests_0123456789'
const THIRD = 'dev_yet_another_master_key_for_tests_0123456789'
const under = (MASTER_KEY: string, ...previous: string[]) =>
  new Isolate({ MASTER_KEY, MASTER_KEY_PREVIOUS: previous.join(',') } as never)
const keysOf = (MASTER_KEY: string, ...MASTER_KEY_PREVIOUS: string[]) => ({ MASTER_KEY, MASTER_KEY_PREVIOUS })

let world: World
beforeEach(async () => {
  world = await makeWorld()
})
afterEach(async () => {
  // Other tests find everything under the key that they have.
  await resealAll(env as unknown as Bindings, keysOf(OLD, NEW, THIRD))
  await env.DB.prepare('delete from server_secrets').run()
})

const json = async <T>(answer: Promise<Response>) => ((await (await answer).json()) as { data: T }).data
const row = (sql: string, ...params: unknown[]) =>
  env.DB.prepare(sql)
    .bind(...params)
    .first<Record<string, string>>()

describe('a sealer', () => {
  it('opens what was sealed under each master key it knows, and seals under the one in force', async () => {
    const before = await new Sealer(keysOf(OLD), 'a').seal('secret', 'row')
    const now = new Sealer(keysOf(NEW, OLD), 'a')
    expect(await now.open(before, 'row')).toBe('secret')
    const after = await now.seal('secret', 'row')
    expect(after.startsWith(await now.prefix())).toBe(true)
    expect(before.startsWith(await now.prefix())).toBe(false)
    await expect(new Sealer(keysOf(OLD), 'a').open(after, 'row')).rejects.toThrow()
    expect(await new Sealer(keysOf(OLD, NEW), 'a').open(after, 'row')).toBe('secret')
  })

  it('opens no text of another row, purpose or key, and none that was altered', async () => {
    const sealer = new Sealer(keysOf(OLD), 'a')
    const sealed = await sealer.seal('secret', 'row')
    await expect(sealer.open(sealed, 'other')).rejects.toThrow()
    await expect(new Sealer(keysOf(OLD), 'b').open(sealed, 'row')).rejects.toThrow()
    await expect(new Sealer(keysOf(THIRD, NEW), 'a').open(sealed, 'row')).rejects.toThrow()
    const [version, id, iv, body = ''] = sealed.split('.')
    for (const forged of [
      `${version}.${id}.${iv}.A${body.slice(1) === body ? '' : body.slice(1, -1)}B`,
      `v3.${id}.${iv}.${body}`,
      `${version}.${id}.${iv}`,
      `${version}.AAAAAAAA.${iv}.${body}`,
      '',
    ])
      await expect(sealer.open(forged, 'row')).rejects.toThrow()
    expect([isSealed(sealed), isSealed('{"a":1}'), isSealed('v1.a.b')]).toEqual([true, false, false])
  })

  it('opens what the first version sealed, which named no key', async () => {
    const { deriveKey } = await import('../../src/lib/crypto')
    const raw = await deriveKey(OLD, 'seal:a')
    const key = await crypto.subtle.importKey('raw', raw, 'AES-GCM', false, ['encrypt'])
    const iv = new Uint8Array(12)
    const additionalData = new TextEncoder().encode('row')
    const body = await crypto.subtle.encrypt(
      { name: 'AES-GCM', iv, additionalData },
      key,
      new TextEncoder().encode('x'),
    )
    const text = (bytes: Uint8Array) =>
      btoa(String.fromCharCode(...bytes))
        .replaceAll('+', '-')
        .replaceAll('/', '_')
        .replaceAll('=', '')
    const sealed = `v1.${text(iv)}.${text(new Uint8Array(body))}`
    expect(await new Sealer(keysOf(NEW, OLD), 'a').open(sealed, 'row')).toBe('x')
  })
})

describe('another master key', () => {
  it('loses nothing that was sealed, signed or tagged under the one before, which can go', async () => {
    const token = world.admin.token
    const made = async <T>(path: string, body: object) =>
      (await callJson<T>('POST', path, { token, body })).data
    type Endpoint = { id: string; secret: string }
    const endpoint = await made<Endpoint>('/api/v1/webhooks', {
      ...{ url: 'https://example.com/hook', event_types: ['interaction.created'] },
      headers: { sealed: 'v1.not.ours', Authorization: 'Bearer theirs', 'X-Plain': 'plain' },
    })
    const agent = await made<{ id: string }>('/api/v1/agents', {
      ...{
        name: 'a',
        kind: 'webhook',
        webhook_url: `${env.RECEIVER_URL}/upstream/none`,
        webhook_token: 'a-token-of-theirs',
      },
    })
    const headers = { 'X-Idempotency-Key': crypto.randomUUID() }
    const once = { token, headers, body: { name: 'once' } }
    const first = await callJson<{ key: string }>('POST', '/api/v1/auth/api-keys', once)
    const stored = await row('select webhook_token from agents where id = ?', agent.id)

    // Both keys are known before one takes the other's place, so no isolate meets what it can't open.
    const [waiting, changed] = [under(OLD, NEW), under(NEW, OLD)]
    for (const isolate of [waiting, changed]) {
      expect((await isolate.knock({ token })).status).toBe(200)
      expect((await isolate.knock({ key: world.apiKey })).status).toBe(200)
      const read = isolate.ask('GET', `/api/v1/webhooks/${endpoint.id}/secret`, { token })
      expect(await json(read)).toEqual({ secret: endpoint.secret })
    }
    const byNew = await json<{ key: string }>(
      changed.ask('POST', '/api/v1/auth/api-keys', { token, body: { name: 'new' } }),
    )
    expect((await waiting.knock(byNew)).status).toBe(200)

    const platform = await makePlatformAdmin()
    const reseal = () =>
      json<{ resealed: number; unreadable: number }>(
        changed.ask('POST', '/api/platform/keys/reseal', { token: platform.token }),
      )
    expect((await reseal()).resealed).toBeGreaterThanOrEqual(5)
    expect((await reseal()).resealed).toBe(0)

    const alone = under(NEW)
    expect(await json(alone.ask('GET', `/api/v1/webhooks/${endpoint.id}/secret`, { token }))).toEqual({
      secret: endpoint.secret,
    })
    const kept = await row('select headers from endpoints where id = ?', endpoint.id)
    expect(JSON.parse(kept?.headers ?? '')).toMatchObject({ sealed: 'v1.not.ours', 'X-Plain': 'plain' })
    const again = await row('select webhook_token from agents where id = ?', agent.id)
    expect(again?.webhook_token).not.toBe(stored?.webhook_token)
    const opened = new Sealer(keysOf(NEW), 'agent').open(
      again?.webhook_token ?? '',
      `${world.tenant.id}/${agent.id}/webhook_token`,
    )
    expect(await opened).toBe('a-token-of-theirs')
    const replay = await alone.ask('POST', '/api/v1/auth/api-keys', once)
    expect(replay.headers.get('Idempotency-Replayed')).toBe('true')
    expect((await json<{ key: string }>(Promise.resolve(replay))).key).toBe(first.data.key)
    // Tokens that were signed, and keys that were tagged before.
    for (const credential of [{ token }, { key: world.apiKey }, first.data, byNew])
      expect((await alone.knock(credential)).status).toBe(200)
    const fresh = await json<{ key: string }>(
      alone.ask('POST', '/api/v1/auth/api-keys', { token, body: { name: 'n' } }),
    )
    expect((await alone.knock(fresh)).status).toBe(200)
    const audit = await row(
      "select count(*) as n from audit_log where action = 'master_key.reseal' and actor_id = ?",
      platform.user.id,
    )
    expect(audit?.n).toBe(2)
  })

  it('changes twice, and keys tagged under the first still count', async () => {
    await tendKeys(under(NEW, OLD).bindings, Date.now())
    await tendKeys(under(THIRD, NEW).bindings, Date.now())
    const alone = under(THIRD)
    expect((await alone.knock({ key: world.apiKey })).status).toBe(200)
    expect((await alone.knock({ token: world.admin.token })).status).toBe(200)
    // What kept them is sealed as well.
    const { results } = await env.DB.prepare('select * from server_secrets').all<{ sealed: string }>()
    // Of each master key what tagged its keys, and what sealed its audit logs.
    expect(results.length).toBe(4)
    for (const { sealed } of results) expect(isSealed(sealed)).toBe(true)
    // A forgery under the first key's version is no less one.
    const forged = `${world.apiKey.slice(0, -1)}${world.apiKey.endsWith('a') ? 'b' : 'a'}`
    const caller = requestContext({ env: alone.bindings, settings: settingsOf(alone.bindings) })
    expect([await isGenuine(caller, world.apiKey), await isGenuine(caller, forged)]).toEqual([true, false])
  })

  it('whose tags can’t be told from those of one before is found out before that can go', async () => {
    const { version } = await tagSecretOf(OLD)
    const twin = await alike(version)
    const before = await row('select private_sealed from signing_keys limit 1')
    const platform = await makePlatformAdmin()
    const reseal = (isolate: Isolate) =>
      isolate.ask('POST', '/api/platform/keys/reseal', { token: platform.token })
    // While both are named every key counts, and there is no step to the next.
    const changed = under(twin, OLD)
    expect((await changed.knock({ key: world.apiKey })).status).toBe(200)
    await expectError(reseal(changed), 'conflict')
    expect(await row('select private_sealed from signing_keys limit 1')).toEqual(before)
    // Also where the one before went long ago: what it tagged is known by what was kept of it.
    await tendKeys(under(NEW, OLD).bindings, Date.now())
    const later = under(twin, NEW)
    expect((await later.knock({ key: world.apiKey })).status).toBe(200)
    await expectError(reseal(later), 'conflict')
    // Another one is as good as any.
    const done = await reseal(under(THIRD, twin, NEW))
    expect(done.status).toBe(200)
    expect((await under(THIRD).knock({ key: world.apiKey })).status).toBe(200)
  })

  it('is needed by what was not sealed anew: without the one before, nothing opens', async () => {
    const alone = under(NEW)
    const answer = await alone.ask('POST', '/api/v1/auth/refresh', {
      body: { refresh_token: await refreshToken() },
    })
    expect(answer.status).toBe(500)
    await expectError(alone.knock({ key: world.apiKey }), 'invalid_api_key')
  })

  it('ends no session whose client races with itself across the change', async () => {
    const token = await refreshToken()
    const refresh = (isolate: Isolate) =>
      isolate.ask('POST', '/api/v1/auth/refresh', { body: { refresh_token: token } })
    const one = await json<{ refresh_token: string }>(refresh(under(OLD, NEW)))
    const two = await json<{ refresh_token: string }>(refresh(under(NEW, OLD)))
    expect(two.refresh_token).toBe(one.refresh_token)
    const next = await call('POST', '/api/v1/auth/refresh', { body: { refresh_token: one.refresh_token } })
    expect(next.status).toBe(200)
  })

  it('forgets no browser in which somebody logged in, while the one before is named', async () => {
    const cookie = await deviceCookie(keysOf(OLD), undefined, 'account')
    const id = cookie.split('.')[0]
    expect(await knownDevice(keysOf(NEW, OLD), cookie, 'account')).toBe(id)
    expect(
      await knownDevice(keysOf(OLD, NEW), await deviceCookie(keysOf(NEW), cookie, 'account'), 'account'),
    ).toBe(id)
    expect(await knownDevice(keysOf(NEW), cookie, 'account')).toBeNull()
    expect(await knownDevice(keysOf(NEW, OLD), cookie, 'another')).toBeNull()
  })

  it('has the form that MASTER_KEY has', () => {
    for (const keys of ['short', `${NEW},short`])
      expect(() => settingsOf(under(OLD, keys).bindings)).toThrow(/misconfigured/)
    expect(() => settingsOf(under(`${OLD},${NEW}`).bindings)).toThrow(/misconfigured/)
    expect(settingsOf(under(NEW, OLD, THIRD).bindings).MASTER_KEY_PREVIOUS).toEqual([OLD, THIRD])
    expect(settingsOf(under(NEW).bindings).MASTER_KEY_PREVIOUS).toEqual([])
  })

  it('is for platform administrators to seal under', async () => {
    await expectError(
      call('POST', '/api/platform/keys/reseal', { token: world.admin.token }),
      'platform_only',
    )
  })

  it('reaches every column that anything is sealed in', () => {
    const files = import.meta.glob<string>('../../src/**/*.ts', {
      query: '?raw',
      import: 'default',
      eager: true,
    })
    const purposes = Object.entries(files).flatMap(([path, text]) =>
      path.endsWith('/data/sealed.ts')
        ? []
        : [...text.matchAll(/new Sealer\([^,]+, (?:'([^']+)'|(\w+))\)/g)].map(([, literal, name]) => {
            const constant = new RegExp(`const ${name} = '([^']+)'`).exec(text)?.[1]
            return literal ?? constant ?? `${path}: ${name}`
          }),
    )
    const uses = Object.values(files)
      .join('\n')
      .match(/new Sealer\(/g)
    expect(purposes).toHaveLength((uses?.length ?? 0) - 1)
    // Tokens of runs and calls are kept nowhere: who has one made under the last master key is known by it.
    expect([...new Set(purposes)].sort()).toEqual([...sealedPurposes(), 'call-token', 'run-token'].sort())
  })
})

/** A live refresh token of the member, laid down as a login would. */
async function refreshToken(): Promise<string> {
  const token = newRefreshToken()
  await env.DB.prepare(
    'insert into refresh_tokens (tenant_id, hash, session_id, created_at) values (?, ?, ?, ?)',
  )
    .bind(world.tenant.id, await hashOf(token), world.member.session_id, iso(Date.now()))
    .run()
  return token
}

/** A master key that tags keys by the version that another has: one in sixty-one does. */
async function alike(version: string): Promise<string> {
  for (let n = 0; ; n++) {
    const key = `dev_one_of_many_master_keys_for_the_tests_${String(n).padStart(6, '0')}`
    if ((await tagSecretOf(key)).version === version) return key
  }
}

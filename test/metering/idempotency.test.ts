import { env } from 'cloudflare:workers'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { answerOf, claimKey } from '../../src/domains/metering/idempotency/service'
import type { Bindings } from '../../src/env'
import { expectError } from '../http/expect-error'
import { serviceWith } from '../http/service'
import { changeUser } from '../identity/kit'
import { makeReceiver } from '../webhooks/receiver'
import { call, callJson, makePlatformAdmin, makeWorld, requestContext, type World } from '../world'

// http.md: the table of idempotency.

afterEach(() => {
  vi.useRealTimers()
})

const newKey = () => crypto.randomUUID()
const say = (world: World, key: string, text = 'hello', more: { token?: string; key?: string } = {}) =>
  call('POST', '/api/v1/interactions', {
    ...(more.key ? { key: more.key } : { token: more.token ?? world.member.token }),
    headers: { 'X-Idempotency-Key': key },
    body: { text },
  })
const count = async (world: World, table = 'interactions') =>
  env.DB.prepare(`select count(*) as n from ${table} where tenant_id = ?`)
    .bind(world.tenant.id)
    .first<number>('n')
const stored = (key: string) =>
  env.DB.prepare('select * from idempotency_keys where key = ?').bind(key).all<Record<string, unknown>>()
const replayed = (answer: Response) => answer.headers.get('Idempotency-Replayed')

/** Each answer is the first one's, or 409 `idempotency_in_progress`. */
async function expectOneAnswer(answers: Response[], status: number): Promise<void> {
  const bodies = await Promise.all(answers.map((answer) => answer.text()))
  const kept = answers.flatMap((answer, i) => (answer.status === status ? [bodies[i]] : []))
  expect(kept.length).toBeGreaterThan(0)
  expect(new Set(kept).size).toBe(1)
  answers.forEach((answer, i) => {
    if (answer.status === status) return
    expect(bodies[i]).toContain('"code":"idempotency_in_progress"')
    expect(answer.headers.get('Retry-After')).toBe('1')
  })
  expect(answers.filter((answer) => answer.status === status && !replayed(answer)).length).toBe(1)
}

describe('a finished key', () => {
  it('gets the stored answer: status, headers and body, and nothing is done', async () => {
    const world = await makeWorld()
    const key = newKey()
    const first = await say(world, key)
    const again = await say(world, key)
    expect([first.status, replayed(first)]).toEqual([201, null])
    expect([again.status, replayed(again)]).toEqual([201, 'true'])
    expect(await again.text()).toBe(await first.text())
    for (const name of ['Location', 'Content-Type', 'ETag'])
      expect([name, again.headers.get(name)]).toEqual([name, first.headers.get(name)])
    // The answer is the first one's, the ids are of this request.
    expect(again.headers.get('X-Request-ID')).not.toBe(first.headers.get('X-Request-ID'))
    expect(await count(world)).toBe(1)
  })

  it('goes by either name of the header, not by two that differ', async () => {
    const world = await makeWorld()
    const send = (headers: Record<string, string>) =>
      call('POST', '/api/v1/interactions', { token: world.member.token, headers, body: { text: 'a' } })
    const key = newKey()
    expect((await send({ 'X-Idempotency-Key': key })).status).toBe(201)
    expect(replayed(await send({ 'Idempotency-Key': key }))).toBe('true')
    expect(replayed(await send({ 'Idempotency-Key': key, 'X-Idempotency-Key': key }))).toBe('true')
    await expectError(send({ 'Idempotency-Key': key, 'X-Idempotency-Key': 'other' }), 'malformed_header')
    expect(await count(world)).toBe(1)
  })

  it('is any text of 1 to 255 characters', async () => {
    const world = await makeWorld()
    for (const key of ['a', 'x'.repeat(255), "' or 1=1 --", '{"a": [1]}', 'with  two  blanks'])
      expect([replayed(await say(world, key)), replayed(await say(world, key))]).toEqual([null, 'true'])
    await expectError(say(world, 'x'.repeat(256)), 'malformed_header')
    expect(await count(world)).toBe(5)
  })

  it('stands for one request: another method, path, query or body is refused and does nothing', async () => {
    const world = await makeWorld()
    const key = newKey()
    await say(world, key, 'one')
    const headers = { 'X-Idempotency-Key': key }
    const { token } = world.admin
    const mine = (method: string, path: string, body: unknown) =>
      call(method, path, { token: world.member.token, headers, body })
    await expectError(say(world, key, 'two'), 'idempotency_key_reused')
    await expectError(mine('POST', '/api/v1/interactions?x=1', { text: 'one' }), 'idempotency_key_reused')
    await expectError(mine('PATCH', '/api/v1/auth/me', { full_name: 'one' }), 'idempotency_key_reused')
    await expectError(mine('POST', '/api/v1/auth/logout', undefined), 'idempotency_key_reused')
    expect(await count(world)).toBe(1)
    // A read has no use for a key.
    expect((await call('GET', '/api/v1/interactions', { token: world.member.token, headers })).status).toBe(
      200,
    )
    expect((await call('GET', '/api/v1/interactions', { token, headers })).status).toBe(200)
  })

  it('is the caller’s own: another user, key or tenant with the same one is another request', async () => {
    const world = await makeWorld()
    const other = await makeWorld()
    const key = newKey()
    const answers = [
      await say(world, key, 'a'),
      await say(world, key, 'b', { token: world.admin.token }),
      await say(world, key, 'c', { key: world.apiKey }),
      await say(other, key, 'd'),
    ]
    expect(answers.map((answer) => [answer.status, replayed(answer)])).toEqual(Array(4).fill([201, null]))
    expect([await count(world), await count(other)]).toEqual([3, 1])
    expect(replayed(await say(world, key, 'c', { key: world.apiKey }))).toBe('true')
  })

  it('is the same user’s in another session', async () => {
    const world = await makeWorld()
    const key = newKey()
    await say(world, key)
    const row = (await stored(key)).results[0]
    expect(row).toMatchObject({
      tenant_id: world.tenant.id,
      principal: `user:${world.member.user.id}`,
      status: 201,
    })
  })

  it('ends after 24 hours', async () => {
    const world = await makeWorld()
    const key = newKey()
    await say(world, key)
    const age = (ms: number) =>
      env.DB.prepare('update idempotency_keys set created_at = ? where key = ?')
        .bind(new Date(Date.now() - ms).toISOString(), key)
        .run()
    await age(24 * 3600_000 - 60_000)
    expect(replayed(await say(world, key))).toBe('true')
    await age(24 * 3600_000 + 1)
    const fresh = await say(world, key, 'another')
    expect([fresh.status, replayed(fresh)]).toEqual([201, null])
    expect(await count(world)).toBe(2)
    expect(replayed(await say(world, key, 'another'))).toBe('true')
  })
})

describe('fifty identical requests at once', { timeout: 30_000 }, () => {
  const fifty = (send: () => Promise<Response>) => Promise.all(Array.from({ length: 50 }, send))

  it('make one resource and one event', async () => {
    const world = await makeWorld()
    const before = await count(world, 'events')
    const key = newKey()
    await expectOneAnswer(await fifty(() => say(world, key)), 201)
    expect(await count(world)).toBe(1)
    expect(await count(world, 'events')).toBe((before ?? 0) + 1)
  })

  it('are not told that the name is taken by themselves', async () => {
    const { token } = await makePlatformAdmin()
    const slug = `f-${crypto.randomUUID().slice(0, 8)}`
    const headers = { 'X-Idempotency-Key': newKey() }
    const answers = await fifty(() =>
      call('POST', '/api/platform/tenants', { token, headers, body: { name: 'Fifty', slug } }),
    )
    await expectOneAnswer(answers, 201)
  })

  it('remove one resource, and are not told that it was not there', async () => {
    const world = await makeWorld()
    const { data } = await callJson<{ id: string }>('POST', '/api/v1/interactions', {
      token: world.member.token,
      body: { text: 'a' },
    })
    const headers = { 'X-Idempotency-Key': newKey() }
    const path = `/api/v1/interactions/${data.id}`
    await expectOneAnswer(
      await fifty(() => call('DELETE', path, { token: world.member.token, headers })),
      204,
    )
    // Without the key it is gone.
    await expectError(call('DELETE', path, { token: world.member.token }), 'not_found')
  })

  it('change one version, and are not told that it is stale', async () => {
    const world = await makeWorld()
    const headers = { 'X-Idempotency-Key': newKey(), 'If-Match': '"v1"' }
    const answers = await fifty(() =>
      call('PATCH', '/api/v1/auth/me', { token: world.member.token, headers, body: { full_name: 'Once' } }),
    )
    await expectOneAnswer(answers, 200)
    const row = await env.DB.prepare('select version from users where id = ?')
      .bind(world.member.user.id)
      .first()
    expect(row).toEqual({ version: 2 })
  })

  it('revoke one key', async () => {
    const world = await makeWorld()
    const { data } = await callJson<{ id: string }>('POST', '/api/v1/auth/api-keys', {
      token: world.admin.token,
      body: { name: 'a' },
    })
    const headers = { 'X-Idempotency-Key': newKey() }
    const send = () =>
      call('DELETE', `/api/v1/auth/api-keys/${data.id}`, { token: world.admin.token, headers })
    await expectOneAnswer(await fifty(send), 204)
  })
})

describe('an answer with a secret', () => {
  it('is sealed at rest, and replayed in the clear to the same caller alone', async () => {
    const world = await makeWorld()
    const key = newKey()
    const make = (token: string) =>
      callJson<{ id: string; key: string }>('POST', '/api/v1/auth/api-keys', {
        token,
        headers: { 'X-Idempotency-Key': key },
        body: { name: 'kept' },
      })
    const first = await make(world.admin.token)
    const again = await make(world.admin.token)
    expect(again.data).toEqual(first.data)
    expect(again.headers.get('Idempotency-Replayed')).toBe('true')
    const other = await make(world.developer.token)
    expect(other.data.id).not.toBe(first.data.id)
    const rows = (await stored(key)).results
    expect(rows).toHaveLength(2)
    for (const row of rows) {
      expect(row.body).toMatch(/^v2\./)
      expect(JSON.stringify(row)).not.toContain('sk_live')
    }
    // A sealed answer that is moved to another caller does not open.
    await env.DB.prepare(
      'update idempotency_keys set body = (select body from idempotency_keys where key = ?1 and principal = ?2) where key = ?1 and principal = ?3',
    )
      .bind(key, `user:${world.admin.user.id}`, `user:${world.developer.user.id}`)
      .run()
    expect((await make(world.developer.token)).status).toBe(500)
  })
})

describe('a refusal', () => {
  it('that a repeat would get again is kept', async () => {
    const world = await makeWorld()
    const none = '/api/v1/interactions/0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d'
    const json = { 'Content-Type': 'application/json' }
    const large = { text: 'a', metadata: { blob: 'x'.repeat(260 * 1024) } }
    for (const [status, method, path, init] of [
      [422, 'POST', '/api/v1/interactions', { body: { text: '' } }],
      [404, 'DELETE', none, {}],
      [400, 'POST', '/api/v1/interactions', { headers: json, raw: '{' }],
      [415, 'POST', '/api/v1/interactions', { headers: { 'Content-Type': 'text/plain' }, raw: 'x' }],
      [413, 'POST', '/api/v1/interactions', { body: large }],
    ] as const) {
      const key = newKey()
      const send = () =>
        call(method, path, {
          token: world.member.token,
          ...init,
          headers: { ...('headers' in init ? init.headers : {}), 'X-Idempotency-Key': key },
        })
      const first = await send()
      const again = await send()
      expect([first.status, replayed(first), again.status, replayed(again)]).toEqual([
        status,
        null,
        status,
        'true',
      ])
      expect(await again.text()).toBe(await first.text())
    }
  })

  it('of a body that is not read is kept as well, and its key stands for no other', async () => {
    const world = await makeWorld()
    const json = { 'Content-Type': 'application/json' }
    const large = JSON.stringify({ text: 'x'.repeat(1024 * 1024) })
    const chunks = () => new Response(large).body?.pipeThrough(new IdentityTransformStream())
    for (const [status, init] of [
      [413, () => ({ raw: large, headers: { ...json, 'Content-Length': String(large.length) } })],
      [413, () => ({ raw: chunks(), headers: json })],
      [415, () => ({ raw: '{"text":"a"}', headers: { ...json, 'Content-Encoding': 'gzip' } })],
    ] as const) {
      const key = newKey()
      const send = ({ raw, headers }: { raw: BodyInit | undefined; headers: Record<string, string> }) =>
        call('POST', '/api/v1/interactions', {
          token: world.member.token,
          ...(raw === undefined ? {} : { raw }),
          headers: { ...headers, 'X-Idempotency-Key': key },
        })
      const first = await send(init())
      const again = await send(init())
      expect([first.status, replayed(first), again.status, replayed(again)]).toEqual([
        ...[status, null, status, 'true'],
      ])
      expect(await again.text()).toBe(await first.text())
      await expectError(send({ raw: '{"text":"small"}', headers: json }), 'idempotency_key_reused')
    }
  })

  it('that may be gone on the next try is not', async () => {
    const world = await makeWorld({ settings: { service_enabled: false } })
    const key = newKey()
    await expectError(say(world, key), 'service_disabled')
    expect((await stored(key)).results).toEqual([])
    await call('PATCH', '/api/v1/service', { token: world.admin.token, body: { service_enabled: true } })
    const now = await say(world, key)
    expect([now.status, replayed(now)]).toEqual([201, null])

    const stale = newKey()
    const rename = (match: string) =>
      call('PATCH', '/api/v1/auth/me', {
        token: world.member.token,
        headers: { 'X-Idempotency-Key': stale, 'If-Match': match },
        body: { full_name: 'x' },
      })
    await expectError(rename('"v9"'), 'precondition_failed')
    expect((await rename('"v1"')).status).toBe(200)

    for (const [token, code] of [
      ['', 'credential_required'],
      ['nonsense', 'invalid_token'],
      [world.viewer.token, 'insufficient_scope'],
    ] as const) {
      const refused = newKey()
      const headers = { 'X-Idempotency-Key': refused }
      const answer = call('POST', '/api/v1/interactions', {
        ...(token ? { token } : {}),
        headers,
        body: { text: 'a' },
      })
      await expectError(answer, code)
      expect((await stored(refused)).results).toEqual([])
    }
  })

  it('of our own making is not', async () => {
    const world = await makeWorld()
    const key = newKey()
    const batch = () => {
      throw new Error('D1 is away')
    }
    const broken = serviceWith({ DB: { prepare: (sql: string) => env.DB.prepare(sql), batch } })
    const silenced = vi.spyOn(console, 'error').mockImplementation(() => undefined)
    const answer = await broken('POST', 'http://localhost:8787/api/v1/interactions', {
      token: world.member.token,
      headers: { 'X-Idempotency-Key': key, 'Content-Type': 'application/json' },
      body: '{"text":"hello"}',
    })
    silenced.mockRestore()
    await expectError(answer, 'internal_error')
    expect((await say(world, key)).status).toBe(201)
  })
})

describe('who may have a replay', () => {
  it('is asked again: the scope may be gone', async () => {
    const world = await makeWorld()
    const key = await callJson<{ key: string }>('POST', '/api/v1/auth/api-keys', {
      token: world.admin.token,
      body: { name: 'x', scopes: ['interactions:write'] },
    })
    const id = newKey()
    expect((await say(world, id, 'a', { key: key.data.key })).status).toBe(201)
    await changeUser(world.admin.user, { role: 'viewer' })
    vi.useFakeTimers({ toFake: ['Date'] })
    vi.setSystemTime(Date.now() + 10_000)
    const again = await say(world, id, 'a', { key: key.data.key })
    expect(replayed(again)).toBeNull()
    await expectError(again, 'insufficient_scope')
  })

  it('is nobody whose session has ended, or whose tenant is suspended', async () => {
    const world = await makeWorld()
    const key = newKey()
    await say(world, key)
    await call('POST', '/api/v1/auth/logout', { token: world.member.token })
    await expectError(say(world, key), 'token_revoked')
  })
})

describe('public routes', () => {
  const confirm = (address: string, key: string, token = 'x') =>
    call('POST', '/api/v1/auth/verify-email/confirm', {
      headers: { 'X-Idempotency-Key': key, 'CF-Connecting-IP': address },
      body: { token },
    })

  it('keep a key for the address it came from', async () => {
    const key = newKey()
    expect(replayed(await confirm('198.51.100.1', key))).toBeNull()
    expect(replayed(await confirm('198.51.100.1', key))).toBe('true')
    expect(replayed(await confirm('198.51.100.2', key))).toBeNull()
    await expectError(confirm('198.51.100.1', key, 'y'), 'idempotency_key_reused')
  })

  it('login and refresh take no notice of one', async () => {
    const key = newKey()
    const body = { email: 'nobody@example.com', password: 'x', tenant: 'no-such-tenant' }
    const login = () => call('POST', '/api/v1/auth/login', { headers: { 'X-Idempotency-Key': key }, body })
    await expectError(login(), 'invalid_credentials')
    expect((await stored(key)).results).toEqual([])
  })
})

describe('a route that calls something outside', { timeout: 30_000 }, () => {
  /** An endpoint whose receiver takes its time. */
  async function endpoint(delay_ms: number) {
    const world = await makeWorld()
    const receiver = await makeReceiver({ delay_ms })
    const made = await callJson<{ id: string }>('POST', '/api/v1/webhooks', {
      token: world.admin.token,
      body: { url: receiver.url, event_types: ['interaction.created'] },
    })
    expect(made.status).toBe(201)
    const path = `/api/v1/webhooks/${made.data.id}/test`
    const test = (key: string, more: Record<string, string> = {}) =>
      call('POST', path, {
        token: world.admin.token,
        headers: { 'X-Idempotency-Key': key, ...more },
        body: { type: 'interaction.created' },
      })
    return { world, receiver, test, path }
  }

  it('claims the key first: while it runs, others are told to come again', async () => {
    const { receiver, test } = await endpoint(500)
    const key = newKey()
    const first = test(key)
    await scheduler.wait(150)
    const meanwhile = await test(key)
    expect(meanwhile.headers.get('Retry-After')).toBe('1')
    await expectError(meanwhile, 'idempotency_in_progress')
    expect((await first).status).toBe(200)
    const again = await test(key)
    expect([again.status, replayed(again)]).toEqual([200, 'true'])
    expect(await again.text()).toBe(await (await first).text())
    expect(await receiver.seen()).toHaveLength(1)
  })

  it('calls once for fifty at once', async () => {
    const { receiver, test } = await endpoint(50)
    const key = newKey()
    await expectOneAnswer(await Promise.all(Array.from({ length: 50 }, () => test(key))), 200)
    expect(await receiver.seen()).toHaveLength(1)
  })

  it('gives the key back where it failed in a way that a repeat may not', async () => {
    const { world, test, path } = await endpoint(0)
    const key = newKey()
    const prepare = (sql: string) => {
      if (sql.includes('"endpoints"')) throw new Error('D1 is away')
      return env.DB.prepare(sql)
    }
    const broken = serviceWith({ DB: { prepare, batch: (all: D1PreparedStatement[]) => env.DB.batch(all) } })
    const answer = await broken('POST', `http://localhost:8787${path}`, {
      token: world.admin.token,
      headers: { 'X-Idempotency-Key': key, 'Content-Type': 'application/json' },
      body: '{"type":"interaction.created"}',
    })
    await expectError(answer, 'internal_error')
    expect((await stored(key)).results).toEqual([])
    const now = await test(key)
    expect([now.status, replayed(now)]).toEqual([200, null])
  })

  it('a claim whose owner finishes after all, just when it is taken over, is not taken over', async () => {
    const { tenant } = await makeWorld()
    const key = newKey()
    const claim = { tenant_id: tenant.id, principal: 'user:u1', key, fingerprint: 'f', claimed: false }
    const mine = { ...claim, claim: 'mine', finished: false }
    await claimKey(requestContext({ now: Date.now() - 61_000 }), mine)
    const finish = () =>
      env.DB.prepare("update idempotency_keys set status = 200, body = '{}' where key = ?").bind(key).run()
    // The owner is faster than the statement that takes its claim over.
    const late = (statement: D1PreparedStatement): D1PreparedStatement =>
      new Proxy(statement, {
        get: (_, name) => {
          const method: unknown = Reflect.get(statement, name)
          if (typeof method !== 'function') return method
          if (name === 'bind') return (...values: unknown[]) => late(statement.bind(...values))
          return (...given: unknown[]) => finish().then(() => Reflect.apply(method, statement, given))
        },
      })
    const prepare = (sql: string) =>
      sql.startsWith('update') ? late(env.DB.prepare(sql)) : env.DB.prepare(sql)
    const DB = { prepare } as unknown as D1Database
    const other = { ...claim, claim: 'other', finished: false }
    const racing = requestContext({ env: { ...env, DB } as unknown as Bindings })
    await expect(answerOf(racing, other)).rejects.toMatchObject({ code: 'idempotency_in_progress' })
    expect(other.claimed).toBe(false)
    expect((await stored(key)).results[0]).toMatchObject({ claim: 'mine', status: 200 })
    expect(await answerOf(requestContext(), other)).toMatchObject({ status: 200, body: '{}' })
  })

  it('a claim that a crash left behind is free after a minute, and its owner can no longer finish', async () => {
    const { world, receiver, test } = await endpoint(800)
    const key = newKey()
    // The same request id with every attempt, as a client may send it.
    const headers = { 'X-Request-ID': 'the-same-every-time' }
    const slow = test(key, headers)
    await scheduler.wait(200)
    const claim = (await stored(key)).results[0]
    expect(claim?.status).toBeNull()
    const age = (ms: number) =>
      env.DB.prepare('update idempotency_keys set created_at = ? where key = ?')
        .bind(new Date(Date.now() - ms).toISOString(), key)
        .run()
    await age(59_000)
    await expectError(test(key, headers), 'idempotency_in_progress')
    await age(60_001)
    const second = test(key, headers)
    await scheduler.wait(200)
    expect((await stored(key)).results[0]?.claim).not.toBe(claim?.claim)
    const [one, two] = await Promise.all([slow, second])
    expect(two.status).toBe(200)
    expect(await receiver.seen()).toHaveLength(2)
    // Whoever was overtaken does not say that it stands.
    await expectError(one, 'idempotency_in_progress')
    const kept = (await stored(key)).results[0]
    // It shows headers that the receiver was sent, so it is sealed.
    expect(kept?.body).toMatch(/^v2\./)
    expect(await (await test(key, headers)).text()).toBe(await two.text())
    expect(await receiver.seen()).toHaveLength(2)
    expect(world.tenant.id).toBe(kept?.tenant_id)
  })
})

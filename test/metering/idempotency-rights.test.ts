import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { insertKey } from '../../src/domains/identity/api-keys/service'
import { tokensFor } from '../../src/domains/identity/sessions/open'
import { fingerprintOf } from '../../src/domains/metering/idempotency/fingerprint'
import { dropOldKeys } from '../../src/domains/metering/idempotency/service'
import { utf8 } from '../../src/lib/encoding'
import { OPERATIONS } from '../contract/operations'
import { upload } from '../files/kit'
import { expectError } from '../http/expect-error'
import { serviceWith } from '../http/service'
import { insertJob } from '../jobs/kit'
import {
  call,
  callJson,
  makePlatformAdmin,
  makeWorld,
  type Person,
  requestContext,
  type World,
} from '../world'

// Who is given a stored answer: whoever asked first, as long as they may; and what it is stored for.

const newKey = () => crypto.randomUUID()
const replayed = (answer: Response) => answer.headers.get('Idempotency-Replayed')
const keyed = (key: string) => ({ 'X-Idempotency-Key': key })

/** The same person's token under another role, as after a change of role and a new login. */
async function withRole(person: Person, role: string): Promise<string> {
  await env.DB.prepare('update users set role = ? where id = ?').bind(role, person.user.id).run()
  const user = { ...person.user, role } as typeof person.user
  return (await tokensFor(requestContext(), user, person.session_id, 'none', '')).access_token
}

/** Another isolate, which has nothing of anyone in memory. */
const elsewhere = (method: string, path: string, token: string, key: string, body?: object) =>
  serviceWith({})(method, `http://localhost:8787${path}`, {
    token,
    headers: { ...keyed(key), ...(body ? { 'Content-Type': 'application/json' } : {}) },
    ...(body ? { body: JSON.stringify(body) } : {}),
  })

/** One after the other. */
async function serially<T>(all: T[], send: (one: T, i: number) => Promise<Response>): Promise<Response[]> {
  const answers: Response[] = []
  for (const [i, one] of all.entries()) answers.push(await send(one, i))
  return answers
}

/** `%41` for `A`. */
const encoded = (char: string) => `%${char.charCodeAt(0).toString(16)}`

async function chatOf(world: World, person: Person): Promise<string> {
  const agent = await callJson<{ id: string }>('POST', '/api/v1/agents', {
    token: world.admin.token,
    body: { name: 'Echo', kind: 'echo' },
  })
  const chat = await callJson<{ id: string }>('POST', '/api/v1/chats', {
    token: person.token,
    body: { agent_id: agent.data.id, title: 'Private' },
  })
  expect(chat.status).toBe(201)
  return `/api/v1/chats/${chat.data.id}`
}

describe('a stored answer is not given again', { timeout: 20_000 }, () => {
  it('to who has lost the scope of the route', async () => {
    const world = await makeWorld()
    const key = newKey()
    const body = { text: 'mine' }
    const first = await elsewhere('POST', '/api/v1/interactions', world.member.token, key, body)
    expect(first.status).toBe(201)
    const demoted = await withRole(world.member, 'viewer')
    const again = await elsewhere('POST', '/api/v1/interactions', demoted, key, body)
    expect(replayed(again)).toBeNull()
    await expectError(again, 'insufficient_scope')
    // Back in office, it is theirs again.
    const restored = await withRole(world.member, 'member')
    const third = await elsewhere('POST', '/api/v1/interactions', restored, key, body)
    expect([third.status, replayed(third), await third.text()]).toEqual([201, 'true', await first.text()])
  })

  it('to who may not enter the chat any more', async () => {
    const world = await makeWorld()
    // Written as a path may be written, too.
    const plain = await chatOf(world, world.member)
    const path = plain.replace(/[0-9a-f-]{36}$/, (id) => id.toUpperCase()).replace(/(.)$/, encoded)
    const [rename, stop] = [newKey(), newKey()]
    const body = { title: 'Seen by an admin' }
    const { token } = world.admin
    expect((await elsewhere('PATCH', path, token, rename, body)).status).toBe(200)
    expect((await elsewhere('POST', `${path}/stop`, token, stop)).status).toBe(200)
    expect(replayed(await elsewhere('PATCH', path, token, rename, body))).toBe('true')
    const demoted = await withRole(world.admin, 'developer')
    for (const again of [
      await elsewhere('PATCH', path, demoted, rename, body),
      await elsewhere('POST', `${path}/stop`, demoted, stop),
    ]) {
      expect(replayed(again)).toBeNull()
      const { message } = await expectError(again, 'not_found')
      expect(message).not.toContain('Seen by an admin')
    }
  })

  it('of anything that is done below a chat, by who may not do it any more', async () => {
    const world = await makeWorld()
    const path = await chatOf(world, world.member)
    const { token } = world.admin
    const file = await upload(world.admin, 'hello')
    const sent = await callJson<{ messages: { id: string }[] }>('POST', `${path}/messages`, {
      token: world.member.token,
      headers: { Accept: 'application/json' },
      body: { content: 'Hello' },
    })
    const message_id = sent.data.messages[1]?.id ?? ''
    const model = await callJson<{ agent_id: string }>('GET', path, { token })
    const completion = {
      model: model.data.agent_id,
      messages: [{ role: 'user', content: 'Is anybody there?' }],
      metadata: { chat_id: path.slice(-36) },
    }
    const done: [method: string, path: string, body?: object][] = [
      ['POST', `${path}/fork`, { message_id }],
      ['POST', `${path}/read`, {}],
      ['PUT', `${path}/attachments/${file.id}`],
      ['DELETE', `${path}/attachments/${file.id}`],
      ['PUT', `${path}/shares`, { scope: 'public' }],
      ['DELETE', `${path}/shares?scope=public`],
      ['PUT', `${path}/active_leaf`, { message_id }],
      ['POST', `${path}/feedback`, { message_id, rating: 'up' }],
      ['POST', '/api/v1/openai/chat/completions', completion],
    ]
    const keys = done.map(newKey)
    const send = (as: string) =>
      serially(done, ([method, path, body], i) => elsewhere(method, path, as, keys[i] ?? '', body))
    const what = (answers: Response[]) =>
      answers.map((answer, i) => [done[i]?.slice(0, 2).join(' '), answer.ok, replayed(answer)])
    const each = (ok: boolean, again: string | null) =>
      done.map(([method, path]) => [`${method} ${path}`, ok, again])
    expect(what(await send(token))).toEqual(each(true, null))
    expect(what(await send(token))).toEqual(each(true, 'true'))
    const demoted = await withRole(world.admin, 'developer')
    const refused = await send(demoted)
    expect(what(refused)).toEqual(each(false, null))
    expect(refused.map(({ status }) => status)).toEqual(done.map(() => 404))
  })

  it('of a file of another’s, by who does not administer files any more', async () => {
    const world = await makeWorld()
    const file = await upload(world.member, 'hello')
    const key = newKey()
    const ask = (token: string) => elsewhere('POST', `/api/v1/files/${file.id}/url`, token, key, {})
    const first = await ask(world.admin.token)
    const { data } = await first.clone().json<{ data: { url: string } }>()
    expect([first.status, replayed(await ask(world.admin.token))]).toEqual([200, 'true'])
    const again = await ask(await withRole(world.admin, 'developer'))
    expect(replayed(again)).toBeNull()
    const text = await again.clone().text()
    expect(text).not.toContain(data.url)
    await expectError(again, 'not_found')
  })

  it('of a job, or a tool with a secret, by who could not have them go on', async () => {
    const world = await makeWorld()
    const { token } = world.admin
    const job = await insertJob(world.tenant.id)
    const name = `secret-${newKey()}`
    await callJson('PUT', `/api/v1/secrets/${name}`, {
      token,
      body: { value: 'value', hosts: ['127.0.0.1'] },
    })
    const tool = await callJson<{ id: string }>('POST', '/api/v1/tools', {
      token,
      body: {
        ...{ name: 'echo', description: 'Echo', url: `${env.RECEIVER_URL}/fine` },
        headers: { 'X-Secret': `{{secrets.${name}}}` },
      },
    })
    expect(tool.status, JSON.stringify(tool.error)).toBe(201)
    const own = await insertKey(
      world.ctx,
      { name: 'one' },
      ['jobs:write', 'deliveries:write', 'tools:write', 'secrets:use'],
      world.admin.user.id,
    )
    const narrow = (scopes: string[]) =>
      env.DB.prepare('update api_keys set scopes = ? where id = ?').bind(JSON.stringify(scopes), own.id).run()
    const done = [
      { path: `/api/v1/jobs/${job}/cancel`, key: newKey() },
      { path: `/api/v1/tools/${tool.data.id}/test`, key: newKey(), body: { arguments: {} } },
    ]
    const send = () =>
      serially(done, ({ path, key, body }) =>
        serviceWith({})('POST', `http://localhost:8787${path}`, {
          headers: { ...keyed(key), 'X-API-Key': own.key, 'Content-Type': 'application/json' },
          ...(body ? { body: JSON.stringify(body) } : {}),
        }),
      )
    expect((await send()).map((answer) => [answer.status, replayed(answer)])).toEqual([
      [200, null],
      [200, null],
    ])
    expect((await send()).map(replayed)).toEqual(['true', 'true'])
    await narrow(['jobs:write', 'tools:write'])
    for (const again of await send()) {
      expect(replayed(again)).toBeNull()
      await expectError(again, 'insufficient_scope')
    }
  })

  it('without such a look, wherever more than a scope is needed', () => {
    const personal = /^\/api\/v1\/(?:chats|files|jobs|tickets)\/\{id\}/
    const unasked = OPERATIONS.filter(
      ({ method, path, note }) =>
        method !== 'GET' && personal.test(path) && note.idempotency !== 'ignored' && !note.again,
    )
    expect(unasked.map(({ name }) => name)).toEqual([])
  })

  it('to a suspended user, in a suspended tenant, or after logging out', async () => {
    const world = await makeWorld()
    const key = newKey()
    const body = { text: 'mine' }
    const again = () => elsewhere('POST', '/api/v1/interactions', world.member.token, key, body)
    expect((await again()).status).toBe(201)
    const set = (table: string, status: string, id: string) =>
      env.DB.prepare(`update ${table} set status = ? where id = ?`).bind(status, id).run()
    await set('users', 'suspended', world.member.user.id)
    await expectError(again(), 'user_suspended')
    await set('users', 'active', world.member.user.id)
    await set('tenants', 'suspended', world.tenant.id)
    await expectError(again(), 'tenant_suspended')
    await set('tenants', 'active', world.tenant.id)
    expect(replayed(await again())).toBe('true')
    expect((await call('POST', '/api/v1/auth/logout', { token: world.member.token })).status).toBeLessThan(
      300,
    )
    await expectError(again(), 'token_revoked')
  })

  it('to a key that was revoked, nor to the key that took its place', async () => {
    const world = await makeWorld()
    const id = newKey()
    const made = await insertKey(world.ctx, { name: 'one' }, ['interactions:write'], world.admin.user.id)
    const other = await insertKey(world.ctx, { name: 'two' }, ['interactions:write'], world.admin.user.id)
    const send = (key: string) =>
      call('POST', '/api/v1/interactions', { key, headers: keyed(id), body: { text: 'mine' } })
    const first = await send(made.key)
    expect(replayed(await send(made.key))).toBe('true')
    await call('DELETE', `/api/v1/auth/api-keys/${made.id}`, { token: world.admin.token })
    await expectError(send(made.key), 'invalid_api_key')
    const second = await send(other.key)
    expect([second.status, replayed(second)]).toEqual([201, null])
    expect(await second.text()).not.toBe(await first.text())
  })

  it('across the boundary between the platform and a tenant', async () => {
    const platform = await makePlatformAdmin()
    const world = await makeWorld()
    const key = newKey()
    const body = { name: 'New', slug: `t-${key.slice(0, 12)}` }
    const make = (token: string) =>
      call('POST', '/api/platform/tenants', { token, headers: keyed(key), body })
    expect((await make(platform.token)).status).toBe(201)
    await expectError(make(world.admin.token), 'platform_only')
    const another = await makePlatformAdmin()
    const theirs = await make(another.token)
    expect(replayed(theirs)).toBeNull()
    await expectError(theirs, 'slug_taken')
  })

  it('but is still of what its own request removed', async () => {
    const world = await makeWorld()
    const path = await chatOf(world, world.member)
    const key = newKey()
    expect((await elsewhere('DELETE', path, world.member.token, key)).status).toBe(204)
    const again = await elsewhere('DELETE', path, world.member.token, key)
    expect([again.status, replayed(again)]).toEqual([204, 'true'])
    await expectError(elsewhere('DELETE', path, world.member.token, newKey()), 'not_found')
  })
})

describe('what a key stands for', () => {
  const form = (boundary: string, text: string, quoted = false) => {
    const body = `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n${text}\r\n--${boundary}--\r\n`
    const word = quoted ? `"${boundary}"` : boundary
    const headers = { 'Content-Type': `multipart/form-data; charset=utf-8; boundary=${word}` }
    return fingerprintOf(
      new Request('http://localhost/upload', { method: 'POST', headers }),
      new Uint8Array(Array.from(body, (char) => char.charCodeAt(0))),
    )
  }
  const plain = (method: string, path: string, body: string, type = 'application/json') =>
    fingerprintOf(
      new Request(`http://localhost${path}`, { method, headers: { 'Content-Type': type } }),
      utf8(body),
    )

  it('is method, path, query and body', async () => {
    const all = await Promise.all([
      plain('POST', '/a', '{}'),
      plain('PUT', '/a', '{}'),
      plain('POST', '/b', '{}'),
      plain('POST', '/a?x=1', '{}'),
      plain('POST', '/a', '{ }'),
      plain('POST', '/a', ''),
    ])
    expect(new Set(all).size).toBe(all.length)
    expect(await plain('POST', '/a', '{}')).toBe(all[0])
    // Where one ends and the next begins is no matter of taste.
    expect(await plain('POST', '/a', 'b\n')).not.toBe(await plain('POST', '/a\nb', ''))
  })

  it('is a form, whatever its boundary', async () => {
    const first = await form('----WebKitFormBoundaryAAAA', 'picture')
    expect(await form('----WebKitFormBoundaryBBBB', 'picture')).toBe(first)
    expect(await form('other', 'picture', true)).toBe(first)
    expect(await form('----WebKitFormBoundaryAAAA', 'pictures')).not.toBe(first)
    // Bytes that are no UTF-8 are told apart.
    expect(await form('x1', '\xfe\xff')).not.toBe(await form('x2', '\xff\xfe'))
    expect(await form('x1', '\x80\x81')).toBe(await form('x2', '\x80\x81'))
    const all = await Promise.all(
      Array.from({ length: 256 }, (_, n) => form('x', `a${String.fromCharCode(n)}`)),
    )
    // But for the letter that is the boundary itself.
    expect(new Set(all).size).toBe(256)
  })

  it('is dropped a day later, with thousands of others', async () => {
    const world = await makeWorld()
    // Those of other tests are not of that year.
    await env.DB.prepare('delete from idempotency_keys').run()
    const now = Date.parse('2020-01-03T00:00:00.000Z')
    const insert = (n: number, at: number) =>
      env.DB.prepare(
        `insert into idempotency_keys (tenant_id, principal, key, fingerprint, claim, created_at)
         with recursive c(i) as (select 1 union all select i + 1 from c where i < ?1)
         select ?2, 'user:x', ?3 || i, 'f', 'c', ?3 from c`,
      )
        .bind(n, world.tenant.id, new Date(at).toISOString())
        .run()
    const day = 24 * 3600_000
    // More than one statement looks at, and the last of them with some that stay behind it.
    await insert(12_000, now - day - 2)
    await insert(3, now - day - 1)
    await insert(5, now - day)
    await insert(7, now)
    await dropOldKeys(env, now)
    const left = await env.DB.prepare(
      'select created_at, count(*) as n from idempotency_keys where tenant_id = ? group by 1 order by 1',
    )
      .bind(world.tenant.id)
      .all<{ created_at: string; n: number }>()
    expect(left.results).toEqual([
      { created_at: new Date(now - day).toISOString(), n: 5 },
      { created_at: new Date(now).toISOString(), n: 7 },
    ])
  })
})

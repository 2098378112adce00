import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { insertKey } from '../../src/domains/identity/api-keys/service'
import { openSession } from '../../src/domains/identity/sessions/open'
import { newId } from '../../src/lib/ids'
import { chatWith } from '../chat/kit'
import { expectError } from '../http/expect-error'
import { Isolate, metersThat, throwing } from '../identity/isolates'
import { OTHER_PASSWORD, PASSWORD, someone, tenantOf } from '../identity/kit'
import { insertPasskey } from '../identity/passkey-kit'
import {
  call,
  callJson,
  makePerson,
  makePlatformAdmin,
  makeWorld,
  requestContext,
  type World,
} from '../world'

type User = {
  id: string
  email: string
  role: string
  status: string
  full_name: string | null
  email_verified_at: string | null
}

const USERS = '/api/v1/users'
const rows = async <T = Record<string, unknown>>(sql: string, ...params: unknown[]) =>
  (
    await env.DB.prepare(sql)
      .bind(...params)
      .all<T>()
  ).results
const as =
  (world: World) =>
  <T = User>(method: string, path: string, body?: object, headers: Record<string, string> = {}) =>
    callJson<T>(method, `${USERS}${path}`, { token: world.admin.token, headers, ...(body ? { body } : {}) })
const counted = (world: World) =>
  rows<{ users: number; suspended: number }>(
    'select users, suspended from member_counts where tenant_id = ?',
    world.tenant.id,
  )
const auditOf = (id: string) =>
  rows<{ action: string; before: string | null; after: string | null; actor_id: string }>(
    'select action, before, after, actor_id from audit_log where resource_id = ? order by seq',
    id,
  )

describe('the list of users', () => {
  it('shows the tenant’s own, newest first, page by page, and nothing that is theirs alone', async () => {
    const world = await makeWorld()
    const ask = as(world)
    const first = await ask<User[]>('GET', '?limit=3')
    expect(first.data.map(({ role }) => role)).toEqual(['viewer', 'member', 'developer'])
    const second = await ask<User[]>('GET', `?limit=3&cursor=${first.meta.next_cursor}`)
    expect(second.data.map(({ id }) => id)).toEqual([world.admin.user.id])
    expect(second.meta.next_cursor).toBeNull()
    expect(Object.keys(first.data[0] ?? {}).sort()).toEqual(
      [
        ...['id', 'tenant_id', 'email', 'full_name', 'role', 'status', 'avatar', 'preferences'],
        ...['email_verified_at', 'last_login_at', 'created_at', 'updated_at'],
      ].sort(),
    )
    const own = { avatar: 'data:image/png;base64,AAAA', preferences: { theme: 'dark', tabs: [1, 2] } }
    const said = await callJson('PATCH', '/api/v1/auth/me', { token: world.member.token, body: own })
    expect(said.status).toBe(200)
    const large = { preferences: { all: 'x'.repeat(16 * 1024) } }
    const refused = await callJson('PATCH', '/api/v1/auth/me', { token: world.member.token, body: large })
    expect([refused.status, Object.keys(refused.error.details.fields ?? {})]).toEqual([422, ['preferences']])
    const one = await ask<User>('GET', `/${world.member.user.id}`)
    expect(one.data).toMatchObject({ id: world.member.user.id, ...own })
    for (const query of [
      '',
      '?role=member',
      '?status=active',
      `?q=${one.data.email}`,
      `?role=member&q=${one.data.email}`,
    ]) {
      const { data } = await ask<User[]>('GET', query)
      expect(data.find(({ id }) => id === world.member.user.id)).toEqual(one.data)
    }
    expect(JSON.stringify([one.data, first.data])).not.toContain('password')
  })

  it('is filtered by role, status, time and how the address begins', async () => {
    const world = await makeWorld()
    const ask = as(world)
    const ids = async (query: string) => (await ask<User[]>('GET', query)).data.map(({ id }) => id)
    await ask('PATCH', `/${world.viewer.user.id}`, { status: 'suspended' })
    expect(await ids('?role=admin')).toEqual([world.admin.user.id])
    expect(await ids('?status=suspended')).toEqual([world.viewer.user.id])
    expect(await ids('?role=member&status=suspended')).toEqual([])
    expect(await ids(`?created_before=${new Date(Date.now() + 60_000).toISOString()}`)).toHaveLength(4)
    expect(await ids(`?created_after=${new Date(Date.now() + 60_000).toISOString()}`)).toEqual([])
    expect(await ids(`?q=${world.member.user.email.slice(0, 12).toUpperCase()}`)).toEqual([
      world.member.user.id,
    ])
    // What would mean something to LIKE means itself.
    for (const q of ['%25', '_', '*']) expect(await ids(`?q=${q}`)).toEqual([])
  })

  it('is whole and in its order by every filter, page by page', async () => {
    const world = await makeWorld({ plan: 'pro' })
    const stem = crypto.randomUUID().slice(0, 8)
    const now = Date.now() - 3600_000
    const made = Array.from({ length: 60 }, (_, i) => ({
      id: newId(now + i),
      email: `${stem}-${String((i * 37) % 60).padStart(2, '0')}@example.com`,
      role: ['viewer', 'member', 'developer'][i % 3] as string,
      status: i % 5 === 0 ? 'suspended' : 'active',
    }))
    await env.DB.prepare(
      `insert into users (tenant_id, id, email, role, status, preferences, version, created_at, updated_at)
        select ?1, value ->> 'id', value ->> 'email', value ->> 'role', value ->> 'status', '{}', 1, ?2, ?2
        from json_each(?3)`,
    )
      .bind(world.tenant.id, new Date(now).toISOString(), JSON.stringify(made))
      .run()
    const walk = async (query: string) => {
      const found: string[] = []
      let cursor: string | null = ''
      while (cursor !== null) {
        const page: { data: User[]; meta: Record<string, unknown> } = await as(world)<User[]>(
          'GET',
          `?limit=2&created_before=${new Date(now + 60).toISOString()}${query}${cursor && `&cursor=${cursor}`}`,
        )
        found.push(...page.data.map(({ email }) => email))
        cursor = page.meta.next_cursor as string | null
      }
      return found
    }
    for (const role of [undefined, 'member'])
      for (const status of [undefined, 'active', 'suspended'])
        for (const after of [undefined, 12])
          for (const q of [undefined, stem, `${stem}-1`]) {
            const wanted = made
              .filter((one, i) => one.role === (role ?? one.role) && i >= (after ?? 0))
              .filter((one) => one.status === (status ?? one.status) && one.email.startsWith(q ?? stem))
              .map(({ email }) => email)
            const asked = Object.entries({ role, status, q }).filter(([, value]) => value !== undefined)
            const query = `&${new URLSearchParams(asked as [string, string][])}`
            const from = after === undefined ? '' : `&created_after=${new Date(now + after).toISOString()}`
            const found = await walk(query + from)
            expect([query, found]).toEqual([query, q === undefined ? wanted.reverse() : wanted.sort()])
          }
  })

  it('goes on by addresses where it is in their order', async () => {
    const world = await makeWorld({ plan: 'pro' })
    const ask = as(world)
    const domain = `${crypto.randomUUID().slice(0, 8)}.example.com`
    for (const name of ['same-c', 'same-a', 'same-bb', 'same-b'])
      await ask('POST', '', { email: `${name}@${domain}` })
    const first = await ask<User[]>('GET', '?q=same-&limit=2')
    const second = await ask<User[]>('GET', `?q=same-&limit=2&cursor=${first.meta.next_cursor}`)
    expect([...first.data, ...second.data].map(({ email }) => email.split('@')[0])).toEqual([
      ...['same-a', 'same-b', 'same-bb', 'same-c'],
    ])
    await expectError(
      call('GET', `${USERS}?limit=2&cursor=${first.meta.next_cursor}`, { token: world.admin.token }),
      'validation_failed',
    )
  })

  it('is for who may read users; changes are for who may write them', async () => {
    const world = await makeWorld()
    for (const { token } of [world.viewer, world.member, world.developer]) {
      expect((await call('GET', USERS, { token })).status).toBe(200)
      for (const [method, path, body] of [
        ['POST', '', { email: someone() }],
        ['PATCH', `/${world.viewer.user.id}`, { role: 'admin' }],
        ['DELETE', `/${world.viewer.user.id}`, undefined],
        ['POST', '/invitations', { email: someone() }],
      ] as const)
        await expectError(
          call(method, `${USERS}${path}`, { token, ...(body ? { body } : {}) }),
          'insufficient_scope',
        )
    }
    expect(await rows('select role from users where id = ?', world.viewer.user.id)).toEqual([
      { role: 'viewer' },
    ])
  })
})

describe('a user who is added', { timeout: 30_000 }, () => {
  it('chooses a password by the link of a mail, and is verified by that', async () => {
    const world = await makeWorld()
    const email = someone()
    const made = await as(world)('POST', '', { email: ` ${email.toUpperCase()}`, full_name: 'Ada' })
    expect([made.status, made.headers.get('Location')]).toEqual([201, `${USERS}/${made.data.id}`])
    expect(made.data).toMatchObject({ email, full_name: 'Ada', role: 'member', email_verified_at: null })
    const [mail] = await rows<{ text: string }>('select text from mails where "to" = ?', email)
    // Nobody would be known to have sent the name.
    expect(mail?.text).not.toContain(world.tenant.name)
    const token = /\/reset-password#token=(\S+)/.exec(mail?.text ?? '')?.[1]
    // As it stands after six days.
    await env.DB.prepare('update mail_tokens set expires_at = ? where user_id = ? and expires_at > ?')
      .bind(new Date(Date.now() + 3600_000).toISOString(), made.data.id, in6Days())
      .run()
    const set = await call('POST', '/api/v1/auth/password/reset', { body: { token, password: PASSWORD } })
    expect(set.status).toBe(200)
    const login = await callJson('POST', '/api/v1/auth/login', {
      body: { email, password: PASSWORD, tenant: world.tenant.id },
    })
    expect(login.status).toBe(200)
    expect((await as(world)('GET', `/${made.data.id}`)).data.email_verified_at).toMatch(/^\d{4}-/)
    expect(await auditOf(made.data.id)).toMatchObject([
      { action: 'user.create', actor_id: world.admin.user.id },
      ...[{ action: 'user.reset_password' }],
    ])
    const events = await rows(
      "select type from events where tenant_id = ? and type like 'user.%'",
      world.tenant.id,
    )
    expect(events).toEqual([{ type: 'user.created' }])
  })

  it('may be given a password, and gets a mail to verify the address', async () => {
    const world = await makeWorld()
    const email = someone()
    const made = await as(world)('POST', '', { email, password: PASSWORD, role: 'viewer' })
    expect(made.status).toBe(201)
    const [mail] = await rows<{ text: string }>('select text from mails where "to" = ?', email)
    expect(mail?.text).toContain('/verify-email#token=')
    const body = { email, password: PASSWORD, tenant: world.tenant.id }
    expect((await call('POST', '/api/v1/auth/login', { body })).status).toBe(200)
  })

  it('is another than those who are there, and within the tenant’s number, also of two at once', async () => {
    const world = await makeWorld({ settings: { max_users: 5 } })
    const ask = as(world)
    const again = await ask('POST', '', { email: world.member.user.email.toUpperCase() })
    expect([again.status, again.error.code]).toEqual([409, 'already_exists'])
    const both = await Promise.all([
      ask('POST', '', { email: someone() }),
      ask('POST', '', { email: someone() }),
    ])
    expect(both.map(({ status, error }) => error?.code ?? status).sort()).toEqual([201, 'user_limit_reached'])
    expect(both.find(({ error }) => error)?.error.details).toEqual({ limit: 5 })
    expect(await counted(world)).toEqual([{ users: 5, suspended: 0 }])
    const gone = both.find(({ data }) => data)?.data.id
    expect((await ask('DELETE', `/${gone}`)).status).toBe(204)
    expect((await ask('POST', '', { email: someone() })).status).toBe(201)
  })

  it('gets no role that has a scope which the caller lacks', async () => {
    const world = await makeWorld()
    const { data } = await callJson<{ key: string }>('POST', '/api/v1/auth/api-keys', {
      token: world.admin.token,
      body: { name: 'directory', scopes: ['users:read', 'users:write'] },
    })
    const { key } = data
    const invited = await as(world)('POST', '/invitations', { email: someone(), role: 'admin' })
    for (const [method, path, body] of [
      ['POST', `${USERS}/invitations/${invited.data.id}/resend`, undefined],
      ['POST', USERS, { email: someone(), role: 'admin' }],
      ['POST', USERS, { email: someone() }],
      ['POST', `${USERS}/invitations`, { email: someone(), role: 'admin' }],
      ['PATCH', `${USERS}/${world.viewer.user.id}`, { role: 'admin' }],
    ] as const) {
      const error = await expectError(
        call(method, path, { key, ...(body ? { body } : {}) }),
        'insufficient_scope',
      )
      expect(error.details.missing).toContain('chats:write')
    }
    const renamed = await callJson<User>('PATCH', `${USERS}/${world.viewer.user.id}`, {
      key,
      body: { full_name: 'Grace' },
    })
    expect([renamed.status, renamed.data.full_name]).toEqual([200, 'Grace'])
  })

  it('gets mail five times an hour at most', async () => {
    const email = someone()
    const answers: number[] = []
    for (let i = 0; i < 6; i++) answers.push((await as(await makeWorld())('POST', '', { email })).status)
    expect(answers).toEqual([201, 201, 201, 201, 201, 429])
  })

  const in6Days = () => new Date(Date.now() + 6 * 24 * 3600_000).toISOString()
})

describe('a user who is changed', () => {
  it('has what was sent, and the rest as it was; it is on record', async () => {
    const world = await makeWorld()
    const id = world.viewer.user.id
    const path = `${USERS}/${id}`
    const changed = await as(world)('PATCH', `/${id}`, { role: 'developer', full_name: 'Grace' })
    expect(changed.data).toMatchObject({ role: 'developer', full_name: 'Grace', status: 'active' })
    const [entry] = await auditOf(id)
    expect(entry).toMatchObject({ action: 'user.update', actor_id: world.admin.user.id })
    expect(JSON.parse(entry?.before ?? '')).toEqual({ role: 'viewer', full_name: null })
    expect(JSON.parse(entry?.after ?? '')).toEqual({ role: 'developer', full_name: 'Grace' })
    const stale = call('PATCH', path, {
      token: world.admin.token,
      headers: { 'If-Match': '"v1"' },
      body: { role: 'viewer' },
    })
    await expectError(stale, 'precondition_failed')
    await expectError(
      call('PATCH', path, { token: world.admin.token, body: { role: 'platform_admin' } }),
      'validation_failed',
    )
    // The old token speaks for a role that is no more.
    await expectError(call('GET', '/api/v1/auth/me', { token: world.viewer.token }), 'token_revoked')
  })

  it('back to the role of before has none of the tokens of before', async () => {
    const world = await makeWorld()
    const ask = as(world)
    const { token, user } = world.viewer
    expect((await call('GET', '/api/v1/auth/me', { token })).status).toBe(200)
    // Tokens tell their time in whole seconds.
    await scheduler.wait(1_100)
    await ask('PATCH', `/${user.id}`, { role: 'member' })
    await ask('PATCH', `/${user.id}`, { role: 'viewer' })
    await expectError(call('GET', '/api/v1/auth/me', { token }), 'token_revoked')
    const again = await makePerson(world.tenant, 'viewer')
    expect((await call('GET', '/api/v1/auth/me', { token: again.token })).status).toBe(200)
  })

  it('who is suspended has no session, no login and no key until resumed', { timeout: 30_000 }, async () => {
    const email = someone()
    const world = await tenantOf(email)
    const other = await makePerson(world.tenant, 'admin')
    const login = () =>
      callJson<{ refresh_token: string; access_token: string }>('POST', '/api/v1/auth/login', {
        body: { email, password: PASSWORD, tenant: world.tenant.id },
      })
    const opened = await login()
    const change = (status: string) =>
      callJson<User>('PATCH', `${USERS}/${world.admin.user.id}`, { token: other.token, body: { status } })
    expect((await change('suspended')).data.status).toBe('suspended')
    expect(await counted(world)).toEqual([{ users: 5, suspended: 1 }])
    for (const token of [opened.data.access_token, world.admin.token])
      await expectError(call('GET', '/api/v1/auth/me', { token }), 'token_revoked')
    await expectError(call('GET', '/api/v1/agents', { key: world.apiKey }), 'user_suspended')
    expect((await login()).error.code).toBe('user_suspended')
    const refresh = () =>
      callJson('POST', '/api/v1/auth/refresh', { body: { refresh_token: opened.data.refresh_token } })
    expect((await refresh()).error.code).toBe('token_revoked')

    expect((await change('active')).data.status).toBe('active')
    expect(await counted(world)).toEqual([{ users: 5, suspended: 0 }])
    expect((await call('GET', '/api/v1/agents', { key: world.apiKey })).status).toBe(200)
    // What was ended stays so.
    expect((await refresh()).error.code).toBe('token_revoked')
    await expectError(call('GET', '/api/v1/auth/me', { token: opened.data.access_token }), 'token_revoked')
    expect((await login()).status).toBe(200)
    expect((await auditOf(world.admin.user.id)).map(({ action }) => action)).toEqual(
      expect.arrayContaining(['user.suspend', 'user.resume']),
    )
  })

  it('who is suspended while logging in has no session, then or later', async () => {
    const world = await makeWorld()
    const { developer, tenant } = world
    await as(world)('PATCH', `/${developer.user.id}`, { status: 'suspended' })
    // As the user was when the password was looked at.
    await expect(openSession(requestContext(), { user: developer.user, tenant })).rejects.toMatchObject({
      ...{ code: 'user_suspended', status: 403 },
    })
    await as(world)('PATCH', `/${developer.user.id}`, { status: 'active' })
    const open = 'select * from sessions where user_id = ? and ended_at is null'
    expect(await rows(open, developer.user.id)).toEqual([])
  })

  it('who is the platform’s stays as they are', async () => {
    const world = await makeWorld({ platform: true })
    const platform = await makePerson(world.tenant, 'platform_admin')
    for (const [method, body] of [
      ['PATCH', { role: 'viewer' }],
      ['PATCH', { status: 'suspended' }],
      ['DELETE', undefined],
    ] as const)
      await expectError(
        call(method, `${USERS}/${platform.user.id}`, {
          token: world.admin.token,
          ...(body ? { body } : {}),
        }),
        'platform_only',
      )
    const outsider = await makePlatformAdmin()
    await expectError(call('GET', USERS, { token: outsider.token }), 'target_tenant_required')
  })
})

describe('a user who is removed', { timeout: 30_000 }, () => {
  it('is gone with all ways in; what was made stays', async () => {
    const world = await makeWorld()
    const { developer, admin } = world
    const made = async (path: string, body: object) =>
      (await callJson<{ id: string; key: string }>('POST', path, { token: developer.token, body })).data
    const key = await made('/api/v1/auth/api-keys', { name: 'theirs' })
    const agent = await made('/api/v1/agents', { name: 'Theirs', kind: 'echo' })
    const chat = await made('/api/v1/chats', { agent_id: agent.id, title: 'Theirs' })
    await insertPasskey(developer.user)
    expect((await call('GET', '/api/v1/agents', { key: key.key })).status).toBe(200)

    expect((await as(world)('DELETE', `/${developer.user.id}`)).status).toBe(204)
    await expectError(call('GET', '/api/v1/auth/me', { token: developer.token }), 'token_revoked')
    await expectError(call('GET', '/api/v1/agents', { key: key.key }), 'invalid_api_key')
    for (const table of ['sessions', 'passkeys'])
      expect([table, await rows(`select * from ${table} where user_id = ?`, developer.user.id)]).toEqual([
        table,
        [],
      ])
    expect((await as(world)('GET', `/${developer.user.id}`)).error.code).toBe('not_found')
    expect((await as(world)('DELETE', `/${developer.user.id}`)).error.code).toBe('not_found')
    const left = await callJson<{ user_id: string }>('GET', `/api/v1/chats/${chat.id}`, {
      token: admin.token,
    })
    expect(left.data.user_id).toBe(developer.user.id)
    expect((await call('GET', `/api/v1/agents/${agent.id}`, { token: admin.token })).status).toBe(200)

    const [entry] = (await auditOf(developer.user.id)).slice(-1)
    expect(entry).toMatchObject({ action: 'user.delete', actor_id: admin.user.id })
    expect(JSON.parse(entry?.before ?? '')).toMatchObject({ email: developer.user.email, role: 'developer' })
    const [event] = await rows<{ data: string; subject: string }>(
      "select data, subject from events where tenant_id = ? and type = 'user.deleted'",
      world.tenant.id,
    )
    expect(event?.subject).toBe(developer.user.id)
    expect(JSON.parse(event?.data ?? '')).toMatchObject({ user_id: developer.user.id, role: 'developer' })

    // The address is free, and who has it next is somebody else.
    const next = await as(world)('POST', '', { email: developer.user.email, role: 'member' })
    expect([next.status, next.data.id === developer.user.id]).toEqual([201, false])
    expect(await counted(world)).toEqual([{ users: 4, suspended: 0 }])
  })

  it('is told so who makes a key or logs in at that moment, and nothing of it stands', async () => {
    const world = await makeWorld()
    const { developer, tenant, ctx } = world
    await as(world)('DELETE', `/${developer.user.id}`)
    const late = [
      () => insertKey(ctx, { name: 'late' }, [], developer.user.id),
      () => openSession(requestContext(), { user: developer.user, tenant }),
    ]
    for (const attempt of late)
      await expect(attempt()).rejects.toMatchObject({ code: 'conflict', status: 409 })
    for (const [table, column] of [
      ['api_keys', 'created_by'],
      ['sessions', 'user_id'],
    ])
      expect(await rows(`select * from ${table} where ${column} = ?`, developer.user.id)).toEqual([])
  })

  it('has no way back by an invitation of before', async () => {
    const world = await makeWorld()
    const email = someone()
    const invite = () =>
      callJson<{ id: string }>('POST', `${USERS}/invitations`, {
        token: world.admin.token,
        body: { email, role: 'admin' },
      })
    const accept = async () => {
      const [mail] = await rows<{ text: string }>(
        `select text from mails where "to" = ? and text like '%/accept-invitation#%' order by id desc`,
        email,
      )
      const [, invitation] = /#token=(\S+)/.exec(mail?.text ?? '') ?? []
      return callJson('POST', '/api/v1/auth/register', { body: { email, password: PASSWORD, invitation } })
    }
    await invite()
    // Added, so that nothing is left to be accepted.
    const added = await as(world)('POST', '', { email, password: PASSWORD })
    expect(added.status).toBe(201)
    expect((await accept()).error.code).toBe('invitation_revoked')

    // Whoever came in otherwise, such as by an issuer, meanwhile.
    await as(world)('DELETE', `/${added.data.id}`)
    await invite()
    const { user } = await makePerson(world.tenant, 'member')
    await env.DB.prepare('update users set email = ? where id = ?').bind(email, user.id).run()
    expect((await accept()).error.code).toBe('already_exists')
    expect((await as(world)('DELETE', `/${user.id}`)).status).toBe(204)
    expect((await accept()).error.code).toBe('invitation_revoked')
    // Who is wanted back is invited again.
    expect((await invite()).status).toBe(201)
    expect((await accept()).status).toBe(201)
  })

  it('is told to be gone, whatever was written of them meanwhile', async () => {
    const world = await makeWorld()
    const { user } = world.member
    await as(world)('DELETE', `/${user.id}`)
    const [change] = await rows<{ data: string }>(
      "select data from state_changes where tenant_id = ? and kind = 'user' and id = ?",
      world.tenant.id,
      user.id,
    )
    // A login while the user was being removed makes a newer version than was read.
    expect(JSON.parse(change?.data ?? '')).toMatchObject({
      status: 'suspended',
      version: Number.MAX_SAFE_INTEGER,
    })
  })

  it('is removed, and so is a team, while nobody can say who is connected', async () => {
    const world = await makeWorld()
    const made = await callJson<{ id: string }>('POST', '/api/v1/teams', {
      token: world.admin.token,
      body: { name: 'Support' },
    })
    const isolate = new Isolate({ METERS: metersThat(throwing) })
    for (const path of [`${USERS}/${world.viewer.user.id}`, `/api/v1/teams/${made.data.id}`]) {
      const answer = await isolate.ask('DELETE', path, { token: world.admin.token })
      expect([path, answer.status]).toEqual([path, 204])
    }
  })

  it('is asked for by a version, and once with a key', async () => {
    const world = await makeWorld()
    const path = `/${world.viewer.user.id}`
    const stale = await as(world)('DELETE', path, undefined, { 'If-Match': '"v7"' })
    expect(stale.error.code).toBe('precondition_failed')
    const headers = { 'X-Idempotency-Key': crypto.randomUUID() }
    expect((await as(world)('DELETE', path, undefined, headers)).status).toBe(204)
    const again = await as(world)('DELETE', path, undefined, headers)
    expect([again.status, again.headers.get('Idempotency-Replayed')]).toEqual([204, 'true'])
  })
})

describe('the last active admin', () => {
  const refused = (answer: { status: number; error?: { code: string } }) => [
    answer.status,
    answer.error?.code,
  ]

  it('can’t be demoted, suspended or removed, not even by themselves', async () => {
    const world = await makeWorld()
    const ask = as(world)
    const own = `/${world.admin.user.id}`
    const attempts = [
      () => ask('PATCH', own, { role: 'member' }),
      () => ask('PATCH', own, { status: 'suspended' }),
      () => ask('PATCH', own, { role: 'viewer', status: 'suspended' }),
      () => ask('DELETE', own),
    ]
    for (const attempt of attempts) expect(refused(await attempt())).toEqual([409, 'last_admin'])
    // One who is suspended is none.
    const second = await makePerson(world.tenant, 'admin')
    await ask('PATCH', `/${second.user.id}`, { status: 'suspended' })
    for (const attempt of attempts) expect(refused(await attempt())).toEqual([409, 'last_admin'])
    expect(await rows('select role, status from users where id = ?', world.admin.user.id)).toEqual([
      { role: 'admin', status: 'active' },
    ])
    expect((await ask('PATCH', own, { full_name: 'Still here' })).status).toBe(200)
    await ask('PATCH', `/${second.user.id}`, { status: 'active' })
    expect((await ask('PATCH', own, { role: 'member' })).status).toBe(200)
  })

  const WAYS: Record<string, [string, object | undefined]> = {
    demote: ['PATCH', { role: 'member' }],
    suspend: ['PATCH', { status: 'suspended' }],
    remove: ['DELETE', undefined],
  }
  for (const [one, [method, body]] of Object.entries(WAYS))
    for (const [other, [otherMethod, otherBody]] of Object.entries(WAYS))
      it(`stays where two ${one} and ${other} each other at once`, async () => {
        const world = await makeWorld()
        const second = await makePerson(world.tenant, 'admin')
        const call2 = (method: string, token: string, id: string, body?: object) =>
          callJson(method, `${USERS}/${id}`, { token, ...(body ? { body } : {}) })
        const answers = await Promise.all([
          call2(method, world.admin.token, second.user.id, body),
          call2(otherMethod, second.token, world.admin.user.id, otherBody),
        ])
        const left = await rows(
          "select id from users where tenant_id = ? and role = 'admin' and status = 'active'",
          world.tenant.id,
        )
        expect([left.length, answers.filter(({ status }) => status < 300).length]).toEqual([1, 1])
        const loser = answers.find(({ status }) => status >= 300)
        // The slower one is told so, or is no admin any more by the time it is asked.
        expect(['last_admin', 'token_revoked', 'user_suspended']).toContain(loser?.error.code)
      })

  it('stays where both leave at once', async () => {
    const world = await makeWorld()
    const second = await makePerson(world.tenant, 'admin')
    const answers = await Promise.all(
      [world.admin, second].map(({ token, user }) =>
        callJson('PATCH', `${USERS}/${user.id}`, { token, body: { role: 'viewer' } }),
      ),
    )
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409])
  })
})

describe('the number of users', () => {
  it('is at most the plan’s, whatever the setting says', async () => {
    const world = await makeWorld({ settings: { max_users: 500 } })
    const shown = () =>
      callJson<{ settings: { max_users: number } }>('GET', '/api/v1/tenants/current', {
        token: world.admin.token,
      })
    expect((await shown()).data.settings.max_users).toBe(10)
    const set = (max_users: number) =>
      callJson('PATCH', '/api/v1/tenants/current', {
        token: world.admin.token,
        body: { settings: { max_users } },
      })
    expect((await set(11)).error.details.fields).toEqual({
      'settings.max_users': 'must be at most 10, which the plan starter has',
    })
    expect((await set(10)).status).toBe(200)
    await env.DB.prepare("update tenants set plan = 'pro' where id = ?").bind(world.tenant.id).run()
    expect((await set(100)).status).toBe(200)
    expect((await set(101)).status).toBe(422)
  })

  it('is as the tenant has set it when a user is added, whatever is remembered of it', async () => {
    const world = await makeWorld()
    const knock = () => call('GET', '/api/v1/auth/me', { token: world.admin.token })
    expect((await knock()).status).toBe(200)
    // As another isolate would, of which this one has not heard yet.
    await env.DB.prepare(`update tenants set settings = '{"max_users":4}' where id = ?`)
      .bind(world.tenant.id)
      .run()
    for (const path of ['', '/invitations']) {
      const { error } = await as(world)('POST', path, { email: someone() })
      expect([path, error.code]).toEqual([path, 'user_limit_reached'])
    }
  })

  it('is counted whoever adds and removes', async () => {
    const world = await makeWorld()
    expect(await counted(world)).toEqual([{ users: 4, suspended: 0 }])
    await env.DB.prepare("update users set status = 'suspended' where tenant_id = ? and role <> 'admin'")
      .bind(world.tenant.id)
      .run()
    expect(await counted(world)).toEqual([{ users: 4, suspended: 3 }])
    await env.DB.prepare("delete from users where tenant_id = ? and role <> 'viewer'")
      .bind(world.tenant.id)
      .run()
    expect(await counted(world)).toEqual([{ users: 1, suspended: 1 }])
  })
})

describe('who must have verified the address', { timeout: 30_000 }, () => {
  it('logs in and refreshes no more without', async () => {
    const email = someone()
    const world = await tenantOf(email, { password: OTHER_PASSWORD })
    const body = { email, password: OTHER_PASSWORD, tenant: world.tenant.id }
    const login = () => callJson<{ refresh_token: string }>('POST', '/api/v1/auth/login', { body })
    const opened = await login()
    const token = world.admin.token
    await callJson('PATCH', '/api/v1/tenants/current', {
      token,
      body: { settings: { require_verified_email: true } },
    })
    const refresh = () =>
      callJson('POST', '/api/v1/auth/refresh', { body: { refresh_token: opened.data.refresh_token } })
    expect((await refresh()).error.code).toBe('email_not_verified')
    expect((await login()).error.code).toBe('email_not_verified')
    await env.DB.prepare('update users set email_verified_at = ? where id = ?')
      .bind(new Date().toISOString(), world.admin.user.id)
      .run()
    expect((await refresh()).status).toBe(200)
    expect((await login()).status).toBe(200)
  })
})

describe('the open streams of a user', { timeout: 60_000 }, () => {
  const ENDINGS: Record<string, [string, object | undefined]> = {
    suspended: ['PATCH', { status: 'suspended' }],
    'given another role': ['PATCH', { role: 'viewer' }],
    removed: ['DELETE', undefined],
  }
  for (const [what, [method, body]] of Object.entries(ENDINGS))
    it(`who is ${what} end within ten seconds, although nothing is said in them`, async () => {
      const world = await makeWorld()
      const chat = await chatWith(world, { name: 'Echo', kind: 'echo' })
      const stream = await chat.follow()
      await stream.next()
      const socket = await chat.socket()
      await socket.until('snapshot')
      const at = Date.now()
      const { status } = await callJson(method, `${USERS}/${world.member.user.id}`, {
        token: world.admin.token,
        ...(body ? { body } : {}),
      })
      expect(status).toBeLessThan(300)
      expect((await socket.closed).code).toBe(4401)
      expect((await stream.rest()).map(({ type }) => type)).not.toContain('message')
      expect(Date.now() - at).toBeLessThan(10_000)
    })
})

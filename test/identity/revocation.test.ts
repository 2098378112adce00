import { env } from 'cloudflare:workers'
import { eq, sql } from 'drizzle-orm'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { commit } from '../../src/data/commit'
import { ending, knowledgeOf } from '../../src/domains/identity/knowledge'
import { tokensFor } from '../../src/domains/identity/sessions/open'
import { hashOf } from '../../src/domains/identity/sessions/refresh-token'
import { sessions } from '../../src/domains/identity/sessions/table'
import { iso, newId } from '../../src/lib/ids'
import { expectError } from '../http/expect-error'
import { callJson, makePerson, makePlatformAdmin, makeWorld, requestContext, type World } from '../world'
import { Isolate } from './isolates'
import { changeUser } from './kit'

// What one isolate ended, another refuses within ten seconds, and asks D1 and KV nothing for it.

let world: World
let here: Isolate
let there: Isolate
beforeEach(async () => {
  world = await makeWorld()
  here = new Isolate()
  there = new Isolate()
})
afterEach(() => {
  vi.useRealTimers()
})

/** Sets the clock forward. */
function later(seconds: number) {
  vi.useFakeTimers({ toFake: ['Date'] })
  vi.setSystemTime(Date.now() + seconds * 1000)
}

type Credential = { token?: string; key?: string }

/** Does it here while there the credential is in use; there it ends by the time the promise says, and not by a look-up. */
async function stopsThere(
  credential: Credential,
  act: () => Promise<unknown>,
  code: Parameters<typeof expectError>[1],
) {
  expect((await there.knock(credential)).status).toBe(200)
  expect((await here.knock(credential)).status).toBe(200)
  await act()
  await expectError(here.knock(credential), code)
  // It has not heard of it yet: what ends it is the news.
  expect((await there.knock(credential)).status).toBe(200)
  there.calls.length = 0
  later(9)
  await expectError(there.knock(credential), code)
  expect(there.calls).toEqual(['METERS.getByName'])
}

const done = async (answer: Promise<Response>) => expect((await answer).status).toBeLessThan(300)

async function newKey(scopes?: string[]): Promise<{ id: string; key: string }> {
  const { data } = await callJson<{ id: string; key: string }>('POST', '/api/v1/auth/api-keys', {
    token: world.admin.token,
    body: { name: 'x', ...(scopes ? { scopes } : {}) },
  })
  return data
}

describe('what another isolate ended', () => {
  it('a session, by its own logout', () =>
    stopsThere(
      { token: world.member.token },
      () => done(here.ask('POST', '/api/v1/auth/logout', { token: world.member.token })),
      'token_revoked',
    ))

  it('the sessions of a user whom an admin suspended', () =>
    stopsThere(
      { token: world.member.token },
      () =>
        done(
          here.ask('PATCH', `/api/v1/users/${world.member.user.id}`, {
            token: world.admin.token,
            body: { status: 'suspended' },
          }),
        ),
      'token_revoked',
    ))

  it('the tokens of a user who was given another role', () =>
    stopsThere(
      { token: world.member.token },
      () =>
        done(
          here.ask('PATCH', `/api/v1/users/${world.member.user.id}`, {
            token: world.admin.token,
            body: { role: 'viewer' },
          }),
        ),
      'token_revoked',
    ))

  it('the sessions of a user who was removed', () =>
    stopsThere(
      { token: world.member.token },
      () => done(here.ask('DELETE', `/api/v1/users/${world.member.user.id}`, { token: world.admin.token })),
      'token_revoked',
    ))

  it('the API keys of a user who was removed', async () => {
    const admin = await makePerson(world.tenant, 'admin')
    const { key } = await newKey()
    await stopsThere(
      { key },
      () => done(here.ask('DELETE', `/api/v1/users/${world.admin.user.id}`, { token: admin.token })),
      'invalid_api_key',
    )
  })

  it('a session, by its id', async () => {
    const { token, session_id } = world.member
    await stopsThere(
      { token },
      () => done(here.ask('DELETE', `/api/v1/auth/sessions/${session_id}`, { token })),
      'token_revoked',
    )
  })

  it('every session of a user, and nobody else’s', async () => {
    const { token } = world.member
    expect((await there.knock({ token: world.admin.token })).status).toBe(200)
    await stopsThere(
      { token },
      () => done(here.ask('POST', '/api/v1/auth/logout-all', { token })),
      'token_revoked',
    )
    expect((await there.knock({ token: world.admin.token })).status).toBe(200)
  })

  it('a session whose refresh token was used twice', async () => {
    const { member, ctx } = world
    const [first, second] = ['1', '2'].map((digit) => digit.repeat(43))
    const insert = env.DB.prepare(
      'insert into refresh_tokens (tenant_id, hash, session_id, created_at, used_at) values (?, ?, ?, ?, ?)',
    )
    const long = iso(ctx.now - 60_000)
    const [used, open] = [`${first}${member.session_id}`, `${second}${member.session_id}`]
    await insert.bind(ctx.tenant.id, await hashOf(used), member.session_id, long, long).run()
    await insert.bind(ctx.tenant.id, await hashOf(open), member.session_id, long, null).run()
    await stopsThere(
      { token: member.token },
      () =>
        expectError(
          here.ask('POST', '/api/v1/auth/refresh', { body: { refresh_token: used } }),
          'token_revoked',
        ),
      'token_revoked',
    )
  })

  it('one access token, by its jti', async () => {
    const { token } = world.member
    const { jti } = JSON.parse(atob(token.split('.')[1]?.replaceAll('-', '+').replaceAll('_', '/') ?? ''))
    const ctx = { ...world.ctx, env: here.bindings }
    await stopsThere(
      { token },
      () => commit(ctx, { statements: [], result: null, tell: [ending('token', jti)] }),
      'token_revoked',
    )
  })

  it('an API key', async () => {
    const { id, key } = await newKey()
    await stopsThere(
      { key },
      () => done(here.ask('DELETE', `/api/v1/auth/api-keys/${id}`, { token: world.admin.token })),
      'invalid_api_key',
    )
  })

  it('a user who was suspended, and the keys that he made', async () => {
    const { key } = await newKey()
    const { token, user } = world.admin
    expect((await there.knock({ key })).status).toBe(200)
    await stopsThere(
      { token },
      () => changeUser(user, { status: 'suspended' }, here.bindings),
      'user_suspended',
    )
    await expectError(there.knock({ key }), 'user_suspended')
  })

  it('a user whose role was changed, whose keys shrink with it', async () => {
    const { key } = await newKey(['interactions:write', 'interactions:read'])
    const { token, user } = world.admin
    const write = () => there.ask('POST', '/api/v1/interactions', { key, body: { text: 'a' } })
    expect((await write()).status).toBe(201)
    await stopsThere({ token }, () => changeUser(user, { role: 'viewer' }, here.bindings), 'token_revoked')
    await expectError(write(), 'insufficient_scope')
    expect((await there.ask('GET', '/api/v1/interactions', { key })).status).toBe(200)
  })

  it('a tenant that was suspended, by token and by key', async () => {
    const { token } = await makePlatformAdmin()
    const patch = (body: object) =>
      done(here.ask('PATCH', `/api/platform/tenants/${world.tenant.id}`, { token, body }))
    expect((await there.knock({ key: world.apiKey })).status).toBe(200)
    await stopsThere({ token: world.member.token }, () => patch({ status: 'suspended' }), 'tenant_suspended')
    await expectError(there.knock({ key: world.apiKey }), 'tenant_suspended')
    // And is back as soon: who is refused asks as well, and no more often.
    await patch({ status: 'active' })
    expect((await here.knock({ token: world.member.token })).status).toBe(200)
    there.calls.length = 0
    for (let i = 0; i < 5; i++)
      await expectError(there.knock({ token: world.member.token }), 'tenant_suspended')
    expect(there.calls).toEqual([])
    later(9)
    expect((await there.knock({ token: world.member.token })).status).toBe(200)
  })
})

describe('a refusal that may have been lifted', () => {
  it('keeps nothing of the rules for cookies from being asked', async () => {
    const { token } = await makePlatformAdmin()
    const patch = (status: string) =>
      done(here.ask('PATCH', `/api/platform/tenants/${world.tenant.id}`, { token, body: { status } }))
    await patch('suspended')
    const headers = { Cookie: `access_token=${world.member.token}`, Origin: 'https://evil.example' }
    const write = (origin: string) =>
      there.ask('POST', '/api/v1/interactions', {
        body: { text: 'a' },
        headers: { ...headers, Origin: origin },
      })
    await expectError(write('http://localhost:8787'), 'tenant_suspended')
    await patch('active')
    later(9)
    await expectError(write('https://evil.example'), 'origin_refused')
    expect((await write('http://localhost:8787')).status).toBe(201)
  })

  it('counts for both of two credentials that name one caller', async () => {
    const { user, session_id, token: old } = world.member
    const changed = await changeUser(user, { role: 'viewer' }, here.bindings)
    const { access_token: token } = await tokensFor(requestContext(), changed, session_id, 'none', '')
    expect((await here.knock({ token })).status).toBe(200)
    await expectError(here.knock({ token, key: old }), 'token_revoked')
    await expectError(here.knock({ token: old, key: token }), 'token_revoked')
  })
})

describe('what another isolate changed', () => {
  it('a setting is what requests go by within ten seconds', async () => {
    await there.knock({ token: world.member.token })
    const window = (isolate: Isolate) =>
      knowledgeOf(isolate.bindings, world.tenant.id).tenant.settings.conversation_window_minutes
    const body = { settings: { conversation_window_minutes: 7 } }
    await done(here.ask('PATCH', '/api/v1/tenants/current', { token: world.admin.token, body }))
    expect([window(here), window(there)]).toEqual([7, 30])
    later(9)
    await there.knock({ token: world.member.token })
    expect(window(there)).toBe(7)
  })

  it('a plan and limits of the tenant’s own too', async () => {
    const { token } = await makePlatformAdmin()
    await there.knock({ token: world.member.token })
    const known = () => knowledgeOf(there.bindings, world.tenant.id).tenant
    expect([known().plan, known().rate_limits]).toEqual(['starter', {}])
    const body = { plan: 'pro', rate_limits: { requests_per_minute: 7 } }
    await done(here.ask('PATCH', `/api/platform/tenants/${world.tenant.id}`, { token, body }))
    const before = known()
    await there.knock({ token: world.member.token })
    expect(known()).toBe(before)
    later(9)
    const answer = await there.knock({ token: world.member.token })
    expect(answer.status).toBe(200)
    expect([known().plan, known().rate_limits]).toEqual(['pro', { requests_per_minute: 7 }])
  })

  it('is as the last change left it, in whatever order they are heard of', async () => {
    await there.knock({ token: world.member.token })
    const knowledge = knowledgeOf(there.bindings, world.tenant.id)
    const { tenant } = knowledge
    knowledge.learnTenant({ tenant: { ...tenant, plan: 'enterprise' }, is_platform: false, version: 3 })
    knowledge.learnTenant({ tenant: { ...tenant, plan: 'pro' }, is_platform: false, version: 2 })
    expect(knowledge.tenant.plan).toBe('enterprise')
    const read = { role: 'member', status: 'active', version: 1 } as const
    knowledge.learnUser('u', { role: 'admin', status: 'active', version: 3 }, Date.now() + 1_000)
    knowledge.learnUser('u', { role: 'viewer', status: 'active', version: 2 }, Date.now() + 1_000)
    expect(knowledge.userNow('u', read).role).toBe('admin')
    // A login after the change has read what is newer.
    expect(knowledge.userNow('u', { ...read, version: 4 }).role).toBe('member')
  })
})

describe('a revocation that meets a first sight', () => {
  /** An isolate whose look-ups of credentials take until `go`: what they read is from before. */
  function slow() {
    let go = () => {}
    const gate = new Promise<void>((resolve) => {
      go = resolve
    })
    const held = (statement: D1PreparedStatement): D1PreparedStatement =>
      new Proxy(statement, {
        get: (_, name) => {
          const value: unknown = Reflect.get(statement, name, statement)
          if (typeof value !== 'function') return value
          return (...args: unknown[]) => {
            const outcome: unknown = Reflect.apply(value, statement, args)
            if (name === 'bind') return held(outcome as D1PreparedStatement)
            return Promise.resolve(outcome).then((read) => gate.then(() => read))
          }
        },
      })
    const slowly = /^select .* from "(?:sessions|api_keys)" (?:inner|left) join/
    const DB = {
      prepare: (text: string) => (slowly.test(text) ? held(env.DB.prepare(text)) : env.DB.prepare(text)),
      batch: (statements: D1PreparedStatement[]) => env.DB.batch(statements),
    }
    return { isolate: new Isolate({ DB }), go }
  }

  it('is not missed: what was read before it is not believed', async () => {
    const { isolate, go } = slow()
    const { key, id } = await newKey()
    const { token, session_id } = world.member
    const knocks = [isolate.knock({ token }), isolate.knock({ key })]
    await scheduler.wait(50)
    const ctx = { ...world.ctx, env: isolate.bindings }
    await commit(ctx, {
      statements: [
        ctx.db
          .update(sessions)
          .set({ ended_at: iso(ctx.now) })
          .where(sql`${eq(sessions.tenant_id, ctx.tenant.id)} and id = ${session_id}`),
      ],
      result: null,
      tell: [ending('session', session_id), ending('api_key', id)],
    })
    go()
    const answers = await Promise.all(knocks)
    expect(answers.map(({ status }) => status)).toEqual([401, 401])
  })
})

describe('a warm isolate', () => {
  it('calls nobody to know who is calling and whether that still counts, by token or by key', async () => {
    const knocks = async (times: number) => {
      for (let i = 0; i < times; i++)
        for (const credential of [{ token: world.admin.token }, { key: world.apiKey }])
          expect((await there.knock(credential)).status).toBe(200)
    }
    // The Meter lends more to who asks for more.
    await knocks(10)
    there.calls.length = 0
    await knocks(20)
    expect(there.calls).toEqual([])
  })

  it('reads a key again now and then, and goes on with what it knows while D1 is away', async () => {
    let away = false
    const DB = {
      prepare: (text: string) => {
        if (away) throw new Error('D1 is away')
        return env.DB.prepare(text)
      },
      batch: (statements: D1PreparedStatement[]) => env.DB.batch(statements),
    }
    const isolate = new Isolate({ DB })
    const { key, id } = await newKey()
    expect((await isolate.knock({ key })).status).toBe(200)
    away = true
    later(31 * 60)
    expect((await isolate.knock({ key })).status).toBe(200)
    // Revoked by hand, without a word to anybody.
    await env.DB.prepare('update api_keys set revoked_at = created_at where id = ?').bind(id).run()
    later(5)
    away = false
    await expectError(isolate.knock({ key }), 'invalid_api_key')
  })

  it('refuses what has ended for ever without asking anybody', async () => {
    const { token } = world.member
    await there.knock({ token })
    await done(there.ask('POST', '/api/v1/auth/logout', { token }))
    there.calls.length = 0
    later(60)
    for (let i = 0; i < 5; i++) await expectError(there.knock({ token }), 'token_revoked')
    expect(there.calls.filter((call) => call !== 'METERS.getByName')).toEqual([])
    expect(there.calls).toEqual([])
  })
})

describe('what is told', () => {
  const rows = () =>
    env.DB.prepare('select kind, id, told from state_changes where tenant_id = ? order by seq')
      .bind(world.tenant.id)
      .all<{ kind: string; id: string; told: number }>()

  it('stands beside the change, one for each session that logout-all ends', async () => {
    const { member, tenant, ctx } = world
    const others = Array.from({ length: 30 }, (_, i) => newId(ctx.now + i))
    for (const id of others)
      await env.DB.prepare(
        `insert into sessions (tenant_id, id, user_id, version, created_at, last_seen_at, expires_at)
         values (?, ?, ?, 1, ?, ?, '2999-01-01T00:00:00.000Z')`,
      )
        .bind(tenant.id, id, member.user.id, iso(ctx.now), iso(ctx.now))
        .run()
    await done(here.ask('POST', '/api/v1/auth/logout-all', { token: member.token }))
    const told = (await rows()).results
    expect(new Set(told.map(({ id }) => id))).toEqual(new Set([member.session_id, ...others]))
    expect(new Set(told.map(({ kind }) => kind))).toEqual(new Set(['session']))
    await vi.waitFor(async () => expect((await rows()).results.every((row) => row.told === 1)).toBe(true))
  })

  it('is nothing where the change was refused', async () => {
    const path = `/api/v1/auth/sessions/${world.admin.session_id}`
    await expectError(here.ask('DELETE', path, { token: world.member.token }), 'not_found')
    expect((await rows()).results).toEqual([])
    expect((await here.knock({ token: world.admin.token })).status).toBe(200)
  })
})

import { env } from 'cloudflare:workers'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { directory } from '../../src/data/database'
import { departing } from '../../src/data/departures'
import { MOST_TEAMS } from '../../src/domains/tenancy/teams/members'
import { teamMembers } from '../../src/domains/tenancy/teams/table'
import type { Bindings } from '../../src/env'
import { expectError } from '../http/expect-error'
import { serviceWith } from '../http/service'
import { Isolate } from '../identity/isolates'
import { Client } from '../realtime/socket'
import { outcome } from '../webhooks/incoming/kit'
import { eventually } from '../webhooks/receiver'
import { call, callJson, makePerson, makeWorld, type Person, renew, type World } from '../world'

afterEach(() => {
  vi.useRealTimers()
})

type Team = { id: string; name: string; description: string | null }

const post = (world: World, body: unknown, headers = {}) =>
  callJson<Team>('POST', '/api/v1/teams', { token: world.admin.token, body, headers })

async function make(world: World, name: string): Promise<Team> {
  const { status, data, error } = await post(world, { name })
  if (status !== 201) throw new Error(JSON.stringify(error))
  return data
}

const members = (team: Team, userId = '') => `/api/v1/teams/${team.id}/members${userId && `/${userId}`}`
// What changes who is in a team ends the access tokens of before.
const renewed = (world: World, userId: string) =>
  renew(
    ...[world.viewer, world.member, world.developer, world.admin].filter(({ user }) => user.id === userId),
  )
async function add(world: World, team: Team, userId: string) {
  const { token } = world.admin
  const answer = await callJson<Record<string, unknown>>('PUT', members(team, userId), { token })
  await renewed(world, userId)
  return answer
}
async function remove(world: World, team: Team, userId: string) {
  const answer = await callJson('DELETE', members(team, userId), { token: world.admin.token })
  await renewed(world, userId)
  return answer
}

/** How a socket is answered that is opened with a token, or a ticket. */
async function onSocket(isolate: Isolate, by: { token: string } | { ticket: string }): Promise<string> {
  const ask: typeof call = (method, path, init) => isolate.ask(method, path, { headers: init?.headers ?? {} })
  const client = await Client.open({}, ask)
  client.send({ type: 'auth', ...('token' in by ? { token: `Bearer ${by.token}` } : { ticket: by.ticket }) })
  const said = await eventually(async () => client.seen[0])
  return said.type === 'ready' ? 'ready' : String(said.code)
}

const list = (token: string, query = '') => callJson<Team[]>('GET', `/api/v1/teams${query}`, { token })
const names = async (token: string, query = '') => (await list(token, query)).data.map(({ name }) => name)

/** What the tenant’s audit log and events say of teams, oldest first. */
async function told(world: World) {
  const audit = await env.DB.prepare(
    "select action, resource_id, actor_id, before, after from audit_log where tenant_id = ? and resource = 'team' order by seq",
  )
    .bind(world.tenant.id)
    .all<Record<string, string | null>>()
  const events = await env.DB.prepare(
    "select type, subject, data from events where tenant_id = ? and type like 'team.%' order by seq",
  )
    .bind(world.tenant.id)
    .all<{ type: string; subject: string | null; data: string }>()
  return {
    audit: audit.results,
    events: events.results.map(({ data, ...rest }) => ({ ...rest, data: JSON.parse(data) })),
  }
}

describe('teams', { timeout: 20_000 }, () => {
  it('are made, read, changed and deleted by an admin, and each of that is on record once', async () => {
    const world = await makeWorld()
    const { status, data, headers } = await post(world, { name: ' Support ', description: 'Answers' })
    expect(status).toBe(201)
    expect(data).toEqual({
      id: expect.any(String),
      tenant_id: world.tenant.id,
      name: 'Support',
      description: 'Answers',
      created_at: expect.any(String),
      updated_at: expect.any(String),
    })
    const path = `/api/v1/teams/${data.id}`
    expect(headers.get('Location')).toBe(path)
    const read = await callJson<Team>('GET', path, { token: world.viewer.token })
    expect(read.data).toEqual(data)
    expect(read.headers.get('ETag')).toBe('"v1"')

    const body = { name: 'Care', description: null }
    const changed = await callJson<Team>('PATCH', path, { token: world.admin.token, body })
    expect(changed.data).toMatchObject(body)
    const stale = { token: world.admin.token, body: { name: 'X' }, headers: { 'If-Match': '"v1"' } }
    expect((await callJson('PATCH', path, stale)).error.code).toBe('precondition_failed')
    expect((await callJson('DELETE', path, stale)).error.code).toBe('precondition_failed')

    expect((await call('DELETE', path, { token: world.admin.token })).status).toBe(204)
    expect((await callJson('GET', path, { token: world.admin.token })).error.code).toBe('not_found')
    expect((await callJson('DELETE', path, { token: world.admin.token })).error.code).toBe('not_found')

    const { audit, events } = await told(world)
    expect(audit.map(({ action, before, after }) => [action, before, after])).toEqual([
      ['team.create', null, '{"name":"Support","description":"Answers"}'],
      ['team.update', '{"name":"Support","description":"Answers"}', '{"name":"Care","description":null}'],
      ['team.delete', '{"name":"Care","description":null}', null],
    ])
    expect(new Set(audit.map(({ actor_id, resource_id }) => `${actor_id} ${resource_id}`))).toEqual(
      new Set([`${world.admin.user.id} ${data.id}`]),
    )
    expect(events.map(({ type, data: { name } }) => [type, name])).toEqual([
      ['team.created', 'Support'],
      ['team.updated', 'Care'],
      ['team.deleted', 'Care'],
    ])
  })

  it('are made once by one idempotency key', async () => {
    const world = await makeWorld()
    const headers = { 'Idempotency-Key': 'k' }
    const answers = await Promise.all(Array.from({ length: 5 }, () => post(world, { name: 'Once' }, headers)))
    const again = await post(world, { name: 'Once' }, headers)
    expect(again.headers.get('Idempotency-Replayed')).toBe('true')
    for (const { status, data } of answers)
      if (status === 201) expect(data.id).toBe(again.data.id)
      else expect(status).toBe(409)
    expect(await names(world.admin.token)).toEqual(['Once'])
  })

  it('have names of their own, whatever the case, in their tenant', async () => {
    const [world, other] = [await makeWorld(), await makeWorld()]
    await make(world, 'Straße')
    for (const name of ['straße', 'STRAßE', ' Straße'])
      expect((await post(world, { name })).error.code).toBe('already_exists')
    const second = await make(world, 'Sales')
    const path = `/api/v1/teams/${second.id}`
    const patch = (name: string) => callJson('PATCH', path, { token: world.admin.token, body: { name } })
    expect((await patch('straße')).error.code).toBe('already_exists')
    // Its own, written otherwise.
    expect((await patch('SALES')).data).toMatchObject({ name: 'SALES' })
    expect((await make(other, 'Straße')).name).toBe('Straße')
  })

  it('of one name at the same time are one', async () => {
    const world = await makeWorld()
    const answers = await Promise.all(Array.from({ length: 8 }, () => post(world, { name: 'One' })))
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 409, 409, 409, 409, 409, 409, 409])
    expect(await names(world.admin.token)).toEqual(['One'])
    expect((await told(world)).audit).toHaveLength(1)
  })

  it('are listed newest first, page by page, by a member’s id and by name', async () => {
    const world = await makeWorld()
    const teams = []
    for (const name of ['A', 'B', 'C', 'D', 'E']) teams.push(await make(world, name))
    const { id } = world.member.user
    for (const team of teams.filter(({ name }) => name !== 'C')) await add(world, team, id)
    const pages = async (query: string) => {
      const seen: string[] = []
      for (let cursor: unknown = ''; cursor !== null; ) {
        const page = await list(world.member.token, `?limit=2${query}${cursor && `&cursor=${cursor}`}`)
        expect(page.data.length).toBeLessThan(3)
        seen.push(...page.data.map(({ name }) => name))
        cursor = page.meta.next_cursor
      }
      return seen
    }
    expect(await pages('')).toEqual(['E', 'D', 'C', 'B', 'A'])
    expect(await pages(`&user_id=${id}`)).toEqual(['E', 'D', 'B', 'A'])
    expect(await names(world.member.token, '?name=b')).toEqual(['B'])
    expect(await names(world.member.token, `?name=c&user_id=${id}`)).toEqual([])
    expect(await names(world.member.token, `?name=d&user_id=${id}`)).toEqual(['D'])
    const { meta } = await list(world.member.token, '?limit=2')
    const foreign = await list(world.member.token, `?limit=2&user_id=${id}&cursor=${meta.next_cursor}`)
    expect(foreign.error.details.fields).toHaveProperty('cursor')
  })

  it('are for admins to change and for all to read', async () => {
    const world = await makeWorld()
    const team = await make(world, 'T')
    for (const { token } of [world.viewer, world.member, world.developer]) {
      expect(await names(token)).toEqual(['T'])
      for (const [method, path, body] of [
        ['POST', '/api/v1/teams', { name: 'U' }],
        ['PATCH', `/api/v1/teams/${team.id}`, { name: 'U' }],
        ['DELETE', `/api/v1/teams/${team.id}`, undefined],
        ['PUT', members(team, world.member.user.id), undefined],
        ['DELETE', members(team, world.member.user.id), undefined],
      ] as const) {
        const { error } = await callJson(method, path, { token, body })
        expect([method, error.code, error.details.missing]).toEqual([
          method,
          'insufficient_scope',
          'teams:write',
        ])
      }
    }
  })
})

describe('members', { timeout: 20_000 }, () => {
  it('come and go, and each is told once, however often it is asked', async () => {
    const world = await makeWorld()
    const team = await make(world, 'T')
    const { id, email } = world.member.user
    const first = await add(world, team, id)
    expect([first.status, first.data]).toEqual([
      200,
      {
        ...{ team_id: team.id, user_id: id, email, full_name: null, role: 'member', status: 'active' },
        created_at: expect.any(String),
      },
    ])
    expect((await add(world, team, id)).data).toEqual(first.data)
    expect((await remove(world, team, id)).status).toBe(204)
    expect((await remove(world, team, id)).error.code).toBe('not_found')
    const { audit, events } = await told(world)
    expect(audit.slice(1).map(({ action, before, after }) => [action, before ?? after])).toEqual([
      ['team.add_member', JSON.stringify({ user_id: id })],
      ['team.remove_member', JSON.stringify({ user_id: id })],
    ])
    expect(events.slice(1)).toEqual(
      ['added', 'removed'].map((verb) => ({
        type: `team.member.${verb}`,
        subject: id,
        data: { team_id: team.id, user_id: id },
      })),
    )
  })

  it('do not come into what is removed at that moment, nor do those who are', async () => {
    const world = await makeWorld()
    for (const what of ['teams', 'users']) {
      const team = await make(world, what)
      const { id } = world.member.user
      const gone = what === 'teams' ? team.id : id
      const DB = {
        prepare: (sql: string) => env.DB.prepare(sql),
        batch: async (statements: D1PreparedStatement[]) => {
          await env.DB.prepare(`delete from ${what} where id = ?`).bind(gone).run()
          return env.DB.batch(statements)
        },
      }
      const put = serviceWith({ DB })('PUT', `http://localhost:8787${members(team, id)}`, {
        token: world.admin.token,
      })
      expect((await expectError(put, 'not_found')).details.id).toBe(gone)
      const left = env.DB.prepare('select * from team_members where team_id = ?').bind(team.id)
      expect((await left.all()).results).toEqual([])
    }
  })

  it('at the same time are one', async () => {
    const world = await makeWorld()
    const team = await make(world, 'T')
    const answers = await Promise.all(Array.from({ length: 6 }, () => add(world, team, world.member.user.id)))
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200, 200])
    expect((await told(world)).audit.filter(({ action }) => action === 'team.add_member')).toHaveLength(1)
  })

  it('are listed newest users first, page by page', async () => {
    const world = await makeWorld()
    const team = await make(world, 'T')
    const people = [world.viewer, world.admin, world.member]
    for (const { user } of people) await add(world, team, user.id)
    const ids = people
      .map(({ user }) => user.id)
      .sort()
      .reverse()
    const page = await callJson<{ user_id: string }[]>('GET', `${members(team)}?limit=2`, {
      token: world.viewer.token,
    })
    const next = await callJson<{ user_id: string }[]>(
      'GET',
      `${members(team)}?limit=2&cursor=${page.meta.next_cursor}`,
      { token: world.viewer.token },
    )
    expect([...page.data, ...next.data].map(({ user_id }) => user_id)).toEqual(ids)
    expect(next.meta.next_cursor).toBeNull()
  })

  it('are users of the same tenant', async () => {
    const [world, other] = [await makeWorld(), await makeWorld()]
    const team = await make(world, 'T')
    const foreign = await make(other, 'T')
    expect((await add(world, team, other.member.user.id)).error).toMatchObject({
      code: 'not_found',
      details: { resource: 'user' },
    })
    expect((await add(world, foreign, world.member.user.id)).error).toMatchObject({
      code: 'not_found',
      details: { resource: 'team' },
    })
    expect((await remove(world, foreign, other.member.user.id)).error.code).toBe('not_found')
    const rows = await env.DB.prepare('select * from team_members where tenant_id in (?, ?)')
      .bind(world.tenant.id, other.tenant.id)
      .all()
    expect(rows.results).toEqual([])
  })

  it('go with their team, and with the user', async () => {
    const world = await makeWorld()
    const [one, two] = [await make(world, 'One'), await make(world, 'Two')]
    const person = await makePerson(world.tenant, 'member')
    for (const team of [one, two])
      for (const { user } of [person, world.viewer]) await add(world, team, user.id)
    const left = async () =>
      (
        await env.DB.prepare('select team_id, user_id from team_members where tenant_id = ?')
          .bind(world.tenant.id)
          .raw<[string, string]>()
      ).sort()
    await call('DELETE', `/api/v1/teams/${one.id}`, { token: world.admin.token })
    expect(await left()).toEqual([person, world.viewer].map(({ user }) => [two.id, user.id]).sort())
    const { statements } = await departing(world.ctx, { kind: 'user', role: 'member', id: person.user.id })
    for (const statement of statements) await statement
    expect(await left()).toEqual([[two.id, world.viewer.user.id]])
  })

  it('have their access tokens of before ended by it, everywhere within ten seconds, and their sessions not', async () => {
    const world = await makeWorld()
    const team = await make(world, 'T')
    const person = await makePerson(world.tenant, 'member')
    const { token } = world.admin
    const changes: [string, () => Promise<{ status: number }>][] = [
      ['joins', () => callJson('PUT', members(team, person.user.id), { token })],
      ['leaves', () => callJson('DELETE', members(team, person.user.id), { token })],
      ['joins again', () => callJson('PUT', members(team, person.user.id), { token })],
      ['team deleted', () => callJson('DELETE', `/api/v1/teams/${team.id}`, { token })],
    ]
    const elsewhere = new Isolate()
    const codes = async (person: Person) => [
      (await callJson('GET', '/api/v1/chats', { token: person.token })).error?.code ?? 'taken',
      (await outcome(elsewhere.ask('GET', '/api/v1/chats', { token: person.token }))).code ?? 'taken',
    ]
    for (const [name, change] of changes) {
      expect([name, ...(await codes(person))]).toEqual([name, 'taken', 'taken'])
      const before = { ...person }
      expect((await change()).status).toBeLessThan(300)
      expect([name, (await codes(before))[0]]).toEqual([name, 'token_revoked'])
      await renew(person)
      vi.useFakeTimers({ toFake: ['Date'] })
      vi.setSystemTime(Date.now() + 9_000)
      expect([name, ...(await codes(before))]).toEqual([name, 'token_revoked', 'token_revoked'])
      expect([name, ...(await codes(person))]).toEqual([name, 'taken', 'taken'])
      vi.useRealTimers()
      expect([name, await onSocket(elsewhere, before)]).toEqual([name, 'token_revoked'])
    }
    // One that knows nothing yet, and is asked for a socket first.
    const old = { ...person }
    const last = await make(world, 'W')
    const ticket = await callJson<{ ticket: string }>('POST', '/api/v1/realtime/ticket', person)
    await add(world, last, person.user.id)
    expect(await onSocket(new Isolate(), old)).toBe('token_revoked')
    expect(await onSocket(new Isolate(), ticket.data)).toBe('token_revoked')
    await renew(person)
    expect(await onSocket(new Isolate(), person)).toBe('ready')
    // Whoever is in it already changes nothing by joining.
    const other = await make(world, 'U')
    await add(world, other, person.user.id)
    await renew(person)
    await add(world, other, person.user.id)
    expect((await codes(person))[0]).toBe('taken')
  })

  it('of a large team that is deleted are told of as one, and everybody of the tenant gets a new token', async () => {
    const world = await makeWorld()
    const team = await make(world, 'T')
    await env.DB.prepare(
      `with recursive n(i) as (select 1 union all select i + 1 from n where i < 600)
        insert into team_members (tenant_id, team_id, user_id, created_at) select ?1, ?2, 'user-' || i, ?3 from n`,
    )
      .bind(world.tenant.id, team.id, new Date().toISOString())
      .run()
    expect((await call('DELETE', `/api/v1/teams/${team.id}`, { token: world.admin.token })).status).toBe(204)
    const { results } = await env.DB.prepare('select id from state_changes where tenant_id = ? and kind = ?')
      .bind(world.tenant.id, 'tokens')
      .all()
    expect(results).toEqual([{ id: '*' }])
    const { error } = await callJson('GET', '/api/v1/teams', { token: world.viewer.token })
    expect(error.code).toBe('token_revoked')
    await renew(world.viewer)
    expect((await call('GET', '/api/v1/teams', { token: world.viewer.token })).status).toBe(200)
  })

  it(`are in at most ${MOST_TEAMS} teams, also when they come at once`, async () => {
    const world = await makeWorld()
    const user_id = world.member.user.id
    const rows = Array.from({ length: MOST_TEAMS - 1 }, () => ({
      ...{ tenant_id: world.tenant.id, team_id: crypto.randomUUID(), user_id },
      created_at: new Date().toISOString(),
    }))
    for (let at = 0; at < rows.length; at += 20)
      await directory(env as unknown as Bindings)
        .insert(teamMembers)
        .values(rows.slice(at, at + 20))
    const teams = await Promise.all(['A', 'B', 'C'].map((name) => make(world, name)))
    const answers = await Promise.all(teams.map((team) => add(world, team, user_id)))
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409, 409])
    for (const { status, error } of answers)
      if (status === 409) expect(error).toMatchObject({ code: 'team_limit_reached', details: { limit: 100 } })
  })
})

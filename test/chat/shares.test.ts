import { runDurableObjectAlarm } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { departing } from '../../src/data/departures'
import type { Room } from '../../src/domains/chat/room/room'
import { MOST_SHARES } from '../../src/domains/chat/shares/service'
import { call, callJson, makePerson, makeWorld, type Person, renew, type World } from '../world'
import { chatWith, EventReader, gatedChat, openChat, sleep, type TestChat } from './kit'

const echo = { name: 'Echo', kind: 'echo' }

let world: World
let stranger: Person

beforeAll(async () => {
  world = await makeWorld()
  stranger = await makePerson(world.tenant, 'member')
})

async function team(...people: Person[]): Promise<string> {
  const { data } = await callJson<{ id: string }>('POST', '/api/v1/teams', {
    token: world.admin.token,
    body: { name: crypto.randomUUID() },
  })
  for (const person of people) await join(data.id, person)
  return data.id
}

// Either ends the access tokens of before.
async function join(teamId: string, person: Person) {
  await callJson('PUT', `/api/v1/teams/${teamId}/members/${person.user.id}`, { token: world.admin.token })
  await renew(person)
}
async function quit(teamId: string, person: Person) {
  const path = `/api/v1/teams/${teamId}/members/${person.user.id}`
  const answer = await callJson('DELETE', path, { token: world.admin.token })
  await renew(person)
  return answer
}

type Share = Record<'user_id' | 'team_id' | 'scope' | 'expires_at', string | null> & { role: string }

const share = (chat: TestChat, body: Record<string, unknown>, token = chat.person.token) =>
  callJson<Share>('PUT', `${chat.path}/shares`, { token, body })
const unshare = (chat: TestChat, query = '', token = chat.person.token) =>
  callJson('DELETE', `${chat.path}/shares${query}`, { token })
const shares = async (chat: TestChat) =>
  (await callJson<Share[]>('GET', `${chat.path}/shares`, { token: chat.person.token })).data
const shared = (token: string, query = '') =>
  callJson<{ id: string; role: string }[]>('GET', `/api/v1/chats/shared${query}`, { token })

/** What each use of the chat is answered: a status, or the code of the refusal. */
async function uses(chat: TestChat, { token }: Person): Promise<Record<string, number | string>> {
  const ask = async (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) => {
    const answer = await call(method, `${chat.path}${path}`, { token, body, headers })
    if (answer.webSocket) {
      answer.webSocket.accept()
      answer.webSocket.close()
    }
    if (answer.status < 400) await answer.body?.cancel()
    if (answer.status < 400) return answer.status
    return ((await answer.json()) as { error: { code: string } }).error.code
  }
  return {
    read: await ask('GET', ''),
    events: await ask('GET', '/events'),
    stream: await ask('GET', '/stream'),
    ws: await ask('GET', '/ws', undefined, { Upgrade: 'websocket' }),
    shares: await ask('GET', '/shares'),
    message: await ask('POST', '/messages', { content: 'Hi' }, { Accept: 'application/json' }),
    stop: await ask('POST', '/stop', {}),
    title: await ask('PATCH', '', { title: 'Renamed' }),
    pin: await ask('PATCH', '', { is_pinned: true }),
    share: await ask('PUT', '/shares', { scope: 'tenant' }),
    unshare: await ask('DELETE', '/shares?scope=tenant'),
    delete: await ask('DELETE', ''),
  }
}

const NOTHING = Object.fromEntries(
  [
    'read',
    'events',
    'stream',
    'ws',
    'shares',
    'message',
    'stop',
    'title',
    'pin',
    'share',
    'unshare',
    'delete',
  ].map((use) => [use, 'not_found']),
)
const no = 'chat_role_required'
const READING = { read: 200, events: 200, stream: 200, ws: 101, shares: 200 }
const OWNING = { pin: no, share: no, unshare: no, delete: no }
const VIEWER = { ...READING, message: no, stop: no, title: no, ...OWNING }
const EDITOR = { ...READING, message: 200, stop: 200, title: 200, ...OWNING }
const OWNER = { ...EDITOR, pin: 200, share: 200, unshare: 204, delete: 204 }

describe('a chat', { timeout: 20_000 }, () => {
  it('is there for nobody but its owner and who has chats:admin', async () => {
    const chat = await chatWith(world, echo)
    await chat.exchange('Hello')
    for (const person of [world.viewer, world.developer, stranger]) {
      const { message, stop, title, pin, share, unshare, delete: deletion, ...reading } = NOTHING
      const writing = { message, stop, title, pin, share, unshare, delete: deletion }
      const found = await uses(chat, person)
      expect(found).toMatchObject(reading)
      const wanted = person === world.viewer ? 'insufficient_scope' : 'not_found'
      for (const use of Object.keys(writing)) expect([use, found[use]]).toEqual([use, wanted])
    }
    expect(await uses(chat, world.admin)).toEqual(OWNER)
  })

  it.each([
    ['viewer', VIEWER],
    ['editor', EDITOR],
  ])('shared with a user as %s lets that user do just that', async (role, may) => {
    const chat = await chatWith(world, echo)
    const person = await makePerson(world.tenant, 'member')
    const answer = await share(chat, { user_id: person.user.id, role })
    expect([answer.status, answer.data]).toEqual([
      200,
      {
        ...{ chat_id: chat.id, user_id: person.user.id, team_id: null, scope: null, role, expires_at: null },
        ...{
          created_by: chat.person.user.id,
          created_at: expect.any(String),
          updated_at: expect.any(String),
        },
        ...{ token: null, url: null },
      },
    ])
    expect(await uses(chat, person)).toEqual(may)
    expect(await uses(chat, stranger)).toEqual(NOTHING)
  })

  it.each([
    ['viewer', VIEWER],
    ['editor', EDITOR],
  ])('shared with a team as %s is there for who is in it, and as long', async (role, may) => {
    const chat = await chatWith(world, echo)
    const [early, late] = [await makePerson(world.tenant, 'member'), await makePerson(world.tenant, 'member')]
    const team_id = await team(early)
    await share(chat, { team_id, role })
    expect(await uses(chat, early)).toEqual(may)
    expect(await uses(chat, late)).toEqual(NOTHING)
    await join(team_id, late)
    expect(await uses(chat, late)).toEqual(may)
    await quit(team_id, early)
    expect(await uses(chat, early)).toEqual(NOTHING)
    await call('DELETE', `/api/v1/teams/${team_id}`, { token: world.admin.token })
    await renew(late)
    expect(await uses(chat, late)).toEqual(NOTHING)
    expect(await shares(chat)).toEqual([])
  })

  it('shared with the tenant is there for all of it, and for nobody else', async () => {
    const chat = await chatWith(world, echo)
    await share(chat, { scope: 'tenant', role: 'editor' })
    expect(await uses(chat, stranger)).toEqual(EDITOR)
    const elsewhere = await makeWorld()
    expect(await uses(chat, elsewhere.admin)).toEqual(NOTHING)
    // An API key that stands for no user is one of the tenant.
    const platform = await makeWorld({ platform: true })
    const admin = await makePerson(platform.tenant, 'platform_admin')
    const { data } = await callJson<{ key: string }>('POST', '/api/platform/api-keys', {
      token: admin.token,
      body: { tenant_id: world.tenant.id, name: 'k', scopes: ['chats:read'] },
    })
    expect((await call('GET', chat.path, { key: data.key })).status).toBe(200)
    await unshare(chat)
    expect((await call('GET', chat.path, { key: data.key })).status).toBe(404)
  })

  it('shared in several ways gives the most of them', async () => {
    const chat = await chatWith(world, echo)
    const person = await makePerson(world.tenant, 'member')
    await share(chat, { scope: 'tenant' })
    await share(chat, { team_id: await team(person), role: 'editor' })
    await share(chat, { user_id: person.user.id, role: 'viewer' })
    expect((await uses(chat, person)).message).toBe(200)
    expect((await uses(chat, stranger)).message).toBe(no)
    expect((await shares(chat)).map(({ role }) => role).sort()).toEqual(['editor', 'viewer', 'viewer'])
    await unshare(chat, '?scope=tenant')
    expect(await uses(chat, stranger)).toEqual(NOTHING)
    expect((await uses(chat, person)).message).toBe(200)
  })

  it('is not shared any further by who it is shared with, but by an admin', async () => {
    const chat = await chatWith(world, echo)
    const person = await makePerson(world.tenant, 'developer')
    await share(chat, { user_id: person.user.id, role: 'editor' })
    const refused = await share(chat, { scope: 'tenant' }, person.token)
    expect(refused.error).toMatchObject({ code: no, details: { required: 'owner', role: 'editor' } })
    expect((await share(chat, { scope: 'tenant' }, world.admin.token)).status).toBe(200)
  })

  it('takes its shares along when it is deleted', async () => {
    const chat = await chatWith(world, echo)
    await share(chat, { scope: 'tenant' })
    await call('DELETE', chat.path, { token: chat.person.token })
    const left = await env.DB.prepare('select count(*) as n from chat_shares where chat_id = ?')
      .bind(chat.id)
      .first<number>('n')
    expect(left).toBe(0)
  })
})

describe('a share', { timeout: 20_000 }, () => {
  it('is on record with who made, changed and ended it', async () => {
    const chat = await chatWith(world, echo)
    const { id: user_id } = stranger.user
    await share(chat, { user_id })
    await share(chat, { user_id, role: 'editor', expires_at: '2099-01-01T01:00:00+01:00' })
    await unshare(chat, `?user_id=${user_id}`)
    expect((await unshare(chat, `?user_id=${user_id}`)).error.code).toBe('not_found')
    // With nobody at all there is nothing to end, and nothing to tell.
    expect((await unshare(chat)).status).toBe(204)
    const { results } = await env.DB.prepare(
      'select action, actor_id, before, after from audit_log where tenant_id = ? and resource_id = ? order by seq',
    )
      .bind(world.tenant.id, chat.id)
      .all<Record<'action' | 'actor_id' | 'before' | 'after', string | null>>()
    const first = { with: `user:${user_id}`, role: 'viewer', expires_at: null }
    const second = { ...first, role: 'editor', expires_at: '2099-01-01T00:00:00.000Z' }
    expect(
      results.map(({ before, after, ...rest }) => [
        rest,
        JSON.parse(before ?? 'null'),
        JSON.parse(after ?? 'null'),
      ]),
    ).toEqual([
      [{ action: 'chat.share', actor_id: chat.person.user.id }, null, first],
      [{ action: 'chat.share', actor_id: chat.person.user.id }, first, second],
      [{ action: 'chat.unshare', actor_id: chat.person.user.id }, { shares: [second] }, null],
    ])
  })

  it('names one of the tenant’s own users or teams, or the tenant', async () => {
    const chat = await chatWith(world, echo)
    const other = await makeWorld()
    const foreign = await callJson<{ id: string }>('POST', '/api/v1/teams', {
      token: other.admin.token,
      body: { name: 'Theirs' },
    })
    for (const [body, field] of [
      [{ user_id: other.member.user.id }, 'user_id'],
      [{ team_id: foreign.data.id }, 'team_id'],
      [{ user_id: chat.person.user.id }, 'user_id'],
      [{ scope: 'public', role: 'editor' }, 'role'],
      [{ scope: 'everybody' }, 'scope'],
      [{}, 'team_id'],
      [{ scope: 'tenant', user_id: stranger.user.id }, 'team_id'],
      [{ scope: 'tenant', role: 'owner' }, 'role'],
      [{ scope: 'tenant', expires_at: '2020-01-01T00:00:00Z' }, 'expires_at'],
    ] as const) {
      const { error } = await share(chat, body)
      expect([body, error.code, Object.keys(error.details.fields ?? {})]).toEqual([
        body,
        'validation_failed',
        [field],
      ])
    }
    expect(await shares(chat)).toEqual([])
  })

  it(`is one of at most ${MOST_SHARES}; one that has ended counts no more`, async () => {
    const chat = await chatWith(world, echo)
    const insert = env.DB.prepare(
      `insert into chat_shares select ?1, ?2, 'user:' || value, 'viewer', ?3, null, ?4, ?4, null, null from json_each(?5)`,
    )
    const fill = (n: number, expires: string | null) => {
      const ids = JSON.stringify(Array.from({ length: n }, () => crypto.randomUUID()))
      return insert.bind(world.tenant.id, chat.id, expires, new Date().toISOString(), ids).run()
    }
    await fill(MOST_SHARES - 1, null)
    await fill(3, '2020-01-01T00:00:00.000Z')
    expect((await share(chat, { scope: 'tenant' })).status).toBe(200)
    expect((await share(chat, { scope: 'tenant', role: 'editor' })).status).toBe(200)
    const { error } = await share(chat, { user_id: stranger.user.id })
    expect(error).toMatchObject({ code: 'conflict', details: { limit: MOST_SHARES } })
    expect(await shares(chat)).toHaveLength(MOST_SHARES)
  })

  it('ends with the user', async () => {
    const chat = await chatWith(world, echo)
    const person = await makePerson(world.tenant, 'member')
    await share(chat, { user_id: person.user.id })
    const { statements } = await departing(world.ctx, { kind: 'user', role: 'member', id: person.user.id })
    for (const statement of statements) await statement
    expect(await shares(chat)).toEqual([])
  })
})

describe('the list of what is shared with one', { timeout: 30_000 }, () => {
  it('has each chat of others once, newest first, page by page, with the most that is allowed', async () => {
    const own = await makeWorld()
    const before = world
    world = own
    try {
      const person = own.viewer
      const [one, two] = [await team(person), await team(person)]
      const agent = (await chatWith(own, echo)).agentId
      const open = () => openChat(own, own.member, agent)
      const chats = [await open(), await open(), await open(), await open(), await open(), await open()]
      const [a, b, c, d, e, f] = chats as [TestChat, TestChat, TestChat, TestChat, TestChat, TestChat]
      await share(a, { user_id: person.user.id })
      await share(b, { team_id: one, role: 'editor' })
      await share(b, { scope: 'tenant' })
      await share(c, { team_id: one })
      await share(c, { team_id: two, role: 'editor' })
      await share(d, { scope: 'tenant' })
      await share(e, { user_id: own.developer.user.id })
      await share(f, { user_id: person.user.id, role: 'editor' })
      await env.DB.prepare('update chat_shares set expires_at = ? where tenant_id = ? and chat_id = ?')
        .bind('2020-01-01T00:00:00.000Z', own.tenant.id, f.id)
        .run()
      const wanted = [
        [d.id, 'viewer'],
        [c.id, 'editor'],
        [b.id, 'editor'],
        [a.id, 'viewer'],
      ]
      const listed = async (token: string) => {
        const seen: unknown[] = []
        for (let cursor: unknown = ''; cursor !== null; ) {
          const page = await shared(token, `?limit=3${cursor && `&cursor=${cursor}`}`)
          seen.push(...page.data.map(({ id, role }) => [id, role]))
          cursor = page.meta.next_cursor
        }
        return seen
      }
      expect(await listed(person.token)).toEqual(wanted)
      // To the owner they are not shared.
      expect(await listed(own.member.token)).toEqual([])
      const { meta } = await shared(person.token, '?limit=1')
      const foreign = await shared(own.developer.token, `?cursor=${meta.next_cursor}`)
      expect(foreign.error.details.fields).toHaveProperty('cursor')
    } finally {
      world = before
    }
  })
})

describe('who follows a chat', { timeout: 30_000 }, () => {
  const following = async (chat: TestChat, person: Person) => {
    const socket = await chat.socket('', person.token)
    const stream = new EventReader((await chat.stream({}, '', person.token)).body)
    await Promise.all([socket.until('snapshot'), stream.until('snapshot')])
    return { socket, stream }
  }

  it.each([
    ['the share ends', (chat: TestChat, teamId: string) => unshare(chat, `?team_id=${teamId}`)],
    ['all shares end', (chat: TestChat) => unshare(chat)],
    ['the user leaves the team', (_: TestChat, teamId: string, who: Person) => quit(teamId, who)],
    [
      'the team is deleted',
      (_: TestChat, teamId: string) =>
        callJson('DELETE', `/api/v1/teams/${teamId}`, { token: world.admin.token }),
    ],
  ] as const)('is cut off at once when %s, though nothing is said', async (_, end) => {
    const chat = await chatWith(world, echo)
    const [one, other] = [await makePerson(world.tenant, 'member'), await makePerson(world.tenant, 'member')]
    const teamId = await team(one)
    await share(chat, { team_id: teamId })
    const lost = await following(chat, one)
    const owner = await following(chat, chat.person)
    const started = Date.now()
    expect((await end(chat, teamId, one)).status).toBe(204)
    expect((await lost.socket.closed).code).toBe(4403)
    expect(await lost.stream.rest()).toEqual([])
    expect(Date.now() - started).toBeLessThan(5_000)
    // Nobody else is.
    await chat.exchange('still here')
    await Promise.all([owner.socket.until('done'), owner.stream.until('done')])
    expect(await uses(chat, other)).toEqual(NOTHING)
    await Promise.all([owner.stream.leave(), owner.socket.ws.close()])
  })

  it('goes on where another share still allows it', async () => {
    const chat = await chatWith(world, echo)
    const person = await makePerson(world.tenant, 'member')
    const teamId = await team(person)
    await share(chat, { team_id: teamId })
    await share(chat, { scope: 'tenant' })
    const { socket, stream } = await following(chat, person)
    await quit(teamId, person)
    await chat.exchange('Hello')
    await Promise.all([socket.until('done'), stream.until('done')])
    await Promise.all([stream.leave(), socket.ws.close()])
  })

  it('is cut off in the middle of an answer, and gets nothing of what comes after', async () => {
    const { chat, gate } = await gatedChat(world)
    const person = await makePerson(world.tenant, 'member')
    await share(chat, { user_id: person.user.id, role: 'editor' })
    // The sender’s own stream: it is the run that goes on, not the reader.
    const own = await chat.post({ content: 'Hello' }, {}, person.token)
    const reader = new EventReader(own.body)
    await gate.say('one ')
    await reader.until('message')
    await unshare(chat)
    await gate.say('two ')
    await gate.end()
    const rest = await reader.rest()
    expect(rest.filter(({ type }) => type === 'message' || type === 'done')).toEqual([])
    const whole = await chat.read()
    expect(whole.data.messages.at(-1)).toMatchObject({ content: 'one two ', status: 'complete' })
  })

  it('is cut off also where the share ended while the connection was being opened', async () => {
    const chat = await chatWith(world, echo)
    await chat.exchange('A secret')
    const person = await makePerson(world.tenant, 'member')
    await share(chat, { user_id: person.user.id })
    await chat.inObject((object) => {
      const room = (object as unknown as { room: Room }).room
      const look = room.access.chat.bind(room.access)
      room.access.chat = async (...asked) => {
        const row = await look(...asked)
        await env.DB.prepare('delete from chat_shares where chat_id = ?').bind(chat.id).run()
        await room.ends.recheck()
        return row
      }
    })
    const socket = await chat.socket('', person.token)
    expect((await socket.closed).code).toBe(4403)
    expect(socket.seen).toEqual([])
  })

  it('may not write with a frame either where only reading is shared', async () => {
    const chat = await chatWith(world, echo)
    const person = await makePerson(world.tenant, 'member')
    await share(chat, { user_id: person.user.id })
    const { socket, stream } = await following(chat, person)
    socket.send('message', { content: 'Hello' })
    expect((await socket.until('error')).data).toMatchObject({ code: no })
    socket.send('stop')
    expect((await socket.until('error')).data).toMatchObject({ code: no })
    await share(chat, { user_id: person.user.id, role: 'editor' })
    socket.send('message', { content: 'Hello' })
    await socket.until('done')
    await Promise.all([stream.leave(), socket.ws.close()])
  })

  it('is cut off when the share runs out, though nothing is said', async () => {
    const chat = await chatWith(world, echo)
    const [one, two] = [await makePerson(world.tenant, 'member'), await makePerson(world.tenant, 'member')]
    await share(chat, { user_id: one.user.id, expires_at: new Date(Date.now() + 1_500).toISOString() })
    await share(chat, { user_id: two.user.id, expires_at: '2099-01-01T00:00:00Z' })
    const short = await following(chat, one)
    const long = await following(chat, two)
    const due = () =>
      chat.inObject((_, state) => [...state.storage.sql.exec("select due from alarms where name = 'rights'")])
    expect((await due())[0]?.due).toBeLessThan(Date.now() + 1_600)
    await sleep(1_600)
    // The test’s runtime may have run it by itself.
    await runDurableObjectAlarm(chat.stub as never)
    expect((await short.socket.closed).code).toBe(4403)
    expect((await short.stream.rest()).filter(({ type }) => type !== 'presence')).toEqual([])
    expect((await due())[0]?.due).toBe(Date.parse('2099-01-01T00:00:00Z'))
    await chat.exchange('Hello')
    await Promise.all([long.socket.until('done'), long.stream.until('done')])
    await Promise.all([long.stream.leave(), long.socket.ws.close()])
  })
})

import { env } from 'cloudflare:workers'
import { eq } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { primaryTables } from '../../src/data/columns'
import { RequestSession } from '../../src/data/session'
import { chats } from '../../src/domains/chat/chats/table'
import { users } from '../../src/domains/identity/users/table'
import { type Bindings, settingsOf } from '../../src/env'
import { serviceWith } from '../http/service'
import { call, callJson, makeWorld, type World } from '../world'

/** The service with a D1 that tells how each statement was asked: at the primary, or in a session from a bookmark. */
function watched() {
  const asked: { at: string; sql: string }[] = []
  let opened = 0
  const note = (at: string) => (sql: string) => {
    asked.push({ at, sql })
    return sql
  }
  const DB = {
    prepare: (sql: string) => env.DB.prepare(note('database')(sql)),
    batch: (statements: D1PreparedStatement[]) => env.DB.batch(statements),
    withSession: (from: string) => {
      opened += 1
      const session = env.DB.withSession(from)
      // What is not the first of its session may be answered by a replica.
      const at = () =>
        from === 'first-primary' && session.getBookmark() !== null ? 'later in a session' : from
      return {
        prepare: (sql: string) => session.prepare(note(at())(sql)),
        batch: (statements: D1PreparedStatement[]) => {
          note(at())('batch')
          return session.batch(statements)
        },
        getBookmark: () => session.getBookmark(),
      }
    },
  }
  const service = serviceWith({ DB })
  const ask = async (method: string, path: string, token: string, bookmark?: string, body?: unknown) => {
    asked.length = 0
    opened = 0
    const answer = await service(method, `http://localhost:8787${path}`, {
      token,
      headers: {
        ...(bookmark === undefined ? {} : { 'X-D1-Bookmark': bookmark }),
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    return { answer, asked: [...asked], opened, bookmark: answer.headers.get('X-D1-Bookmark') ?? '' }
  }
  return ask
}

const LIST = '/api/v1/interactions'
const BOOKMARK = /^[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{32}\.[\w-]{12}$/

async function bookmarkOf(world: World): Promise<string> {
  const made = await call('POST', LIST, { token: world.admin.token, body: { text: 'a' } })
  expect(made.status).toBe(201)
  return made.headers.get('X-D1-Bookmark') ?? ''
}

describe('a bookmark', () => {
  it('comes with every answer that was read from or written to D1, and says how far that has come', async () => {
    const world = await makeWorld()
    const made = await bookmarkOf(world)
    expect(made).toMatch(BOOKMARK)
    const next = await bookmarkOf(world)
    expect(next > made).toBe(true)
    expect(next.slice(-12)).toBe(made.slice(-12))
    const read = await call('GET', LIST, { token: world.admin.token })
    expect((read.headers.get('X-D1-Bookmark') ?? '') >= next).toBe(true)
    const gone = await call('GET', `${LIST}/${crypto.randomUUID()}`, { token: world.admin.token })
    expect([gone.status, gone.headers.get('X-D1-Bookmark')]).toEqual([404, expect.stringMatching(BOOKMARK)])
  })

  it('comes with the answer to a repeat too, whose first answer may have been lost', async () => {
    const world = await makeWorld()
    const send = () =>
      call('POST', LIST, {
        token: world.admin.token,
        body: { text: 'once' },
        headers: { 'Idempotency-Key': 'lost' },
      })
    const made = (await send()).headers.get('X-D1-Bookmark') ?? ''
    const again = await send()
    expect([again.status, again.headers.get('Idempotency-Replayed')]).toEqual([201, 'true'])
    const bookmark = again.headers.get('X-D1-Bookmark') ?? ''
    expect(bookmark).toMatch(BOOKMARK)
    expect([bookmark >= made, bookmark.slice(-12)]).toEqual([true, made.slice(-12)])
  })

  it('is not asked for where nothing is said to D1', async () => {
    const world = await makeWorld()
    const ask = watched()
    const path = '/api/v1/webhooks/event-types?built_in=true'
    await ask('GET', path, world.admin.token)
    const { answer, asked, opened } = await ask('GET', path, world.admin.token)
    expect([answer.status, asked, opened, answer.headers.get('X-D1-Bookmark')]).toEqual([200, [], 0, null])
  })

  it('is of the furthest that any of its statements saw', async () => {
    const world = await makeWorld()
    const sent = await bookmarkOf(world)
    const at = (n: number) => `0000000${n}-00000000-00000000-${'0'.repeat(32)}`
    const scripted = (reached: string[]) => {
      const withSession = () => {
        const session = env.DB.withSession('first-primary')
        const mine = reached.shift() ?? null
        let asked = false
        return {
          prepare: (sql: string) => {
            asked = true
            return session.prepare(sql)
          },
          batch: (statements: D1PreparedStatement[]) => session.batch(statements),
          getBookmark: () => (asked ? mine : null),
        }
      }
      const bindings = { ...env, DB: { withSession } } as unknown as Bindings
      return new RequestSession(bindings, settingsOf(bindings), sent)
    }
    const ask = async (session: RequestSession, table: typeof chats | typeof users) => {
      const where = eq(table.tenant_id, world.tenant.id)
      await session.database(world.tenant.id).select().from(table).where(where).limit(1)
    }
    for (const [reached, order] of [
      [
        [at(8), at(9)],
        [chats, users],
      ],
      [
        [at(9), at(8)],
        [chats, users],
      ],
      [
        [at(9), at(8)],
        [users, chats],
      ],
      [
        [at(9), at(8), at(7)],
        [users, users, users],
      ],
      [
        [at(7), at(9), at(8)],
        [users, users, users],
      ],
    ] as const) {
      const session = scripted([...reached])
      for (const table of order) await ask(session, table)
      expect([reached, session.bookmark?.slice(0, -13)]).toEqual([reached, at(9)])
    }
  })

  it('may be read and sent by pages of other origins', async () => {
    const headers = { Origin: 'http://localhost:5173', 'Access-Control-Request-Method': 'GET' }
    const preflight = await call('OPTIONS', LIST, { headers })
    expect(preflight.headers.get('Access-Control-Allow-Headers')).toContain('X-D1-Bookmark')
    const answer = await call('GET', LIST, { headers: { Origin: 'http://localhost:5173' } })
    expect(answer.headers.get('Access-Control-Expose-Headers')).toContain('X-D1-Bookmark')
  })
})

describe('a read', () => {
  it('without a bookmark goes to the primary, each statement of it', async () => {
    const world = await makeWorld()
    const ask = watched()
    const { asked } = await ask('GET', LIST, world.admin.token)
    const of = asked.filter(({ sql }) => sql.includes('interactions'))
    expect(of.map(({ at }) => at)).toEqual(['first-primary'])
    expect(asked.filter(({ at }) => !['first-primary', 'database'].includes(at))).toEqual([])
  })

  it('with one goes wherever the database has come as far', async () => {
    const world = await makeWorld()
    const ask = watched()
    const bookmark = await bookmarkOf(world)
    const { answer, asked, bookmark: after } = await ask('GET', LIST, world.admin.token, bookmark)
    const { data } = (await answer.json()) as { data: unknown[] }
    expect(data).toHaveLength(1)
    const of = asked.filter(({ sql }) => sql.includes('interactions'))
    expect(of.map(({ at }) => at)).toEqual([bookmark.slice(0, -13)])
    expect(after >= bookmark).toBe(true)
  })

  it('of identity goes to the primary all the same', async () => {
    const world = await makeWorld()
    const ask = watched()
    const bookmark = await bookmarkOf(world)
    for (const path of [
      '/api/v1/auth/me',
      '/api/v1/auth/sessions',
      '/api/v1/auth/api-keys',
      '/api/v1/tenants/current',
    ]) {
      const { answer, asked } = await ask('GET', path, world.admin.token, bookmark)
      expect([path, answer.status, asked.length > 0]).toEqual([path, 200, true])
      expect([path, asked.filter(({ at }) => at !== 'first-primary' && at !== 'database')]).toEqual([
        path,
        [],
      ])
    }
  })

  it('ignores a bookmark that is none, or another’s', async () => {
    const world = await makeWorld()
    const stranger = await bookmarkOf(await makeWorld())
    const own = await bookmarkOf(world)
    const [raw = '', mark = ''] = own.split('.')
    const ask = watched()
    for (const bookmark of [
      ...['', 'first-unconstrained', 'first-primary', 'x'.repeat(10_000), raw, `${raw}.`, `.${mark}`],
      ...[`${raw}.${mark}${mark}`, `ffffffff${raw.slice(8)}.${'A'.repeat(12)}`, stranger, own.toUpperCase()],
      ...[`${own}, ${own}`, `"${own}"`],
    ]) {
      const { answer, asked } = await ask('GET', LIST, world.admin.token, bookmark)
      const of = asked.filter(({ sql }) => sql.includes('interactions'))
      expect([bookmark, answer.status, of.map(({ at }) => at)]).toEqual([bookmark, 200, ['first-primary']])
    }
  })
})

describe('a write', () => {
  it('reads what it decides by at the primary, whatever bookmark comes along', async () => {
    const world = await makeWorld()
    const ask = watched()
    const agent = await callJson<{ id: string }>('POST', '/api/v1/agents', {
      token: world.admin.token,
      body: { name: 'One', kind: 'echo' },
    })
    const bookmark = await bookmarkOf(world)
    const path = `/api/v1/agents/${agent.data.id}`
    const {
      answer,
      asked,
      bookmark: after,
    } = await ask('PATCH', path, world.admin.token, bookmark, {
      name: 'Two',
    })
    expect(answer.status).toBe(200)
    expect(asked.length).toBeGreaterThan(1)
    expect(asked.filter(({ at }) => at !== 'first-primary' && at !== 'database')).toEqual([])
    expect(after > bookmark).toBe(true)
  })
})

describe('the tables that are read at the primary alone', () => {
  it('are those of identity, and the directory', () => {
    const files = import.meta.glob<string>('../../src/domains/identity/*/table.ts', {
      query: '?raw',
      import: 'default',
      eager: true,
    })
    const texts = Object.entries(files)
    expect(texts.length).toBeGreaterThan(9)
    const forgotten = texts.filter(([, text]) => /\bconfined\(/.test(text)).map(([path]) => path)
    expect(forgotten).toEqual([])
    for (const table of ['tenants', 'users', 'sessions', 'api_keys', 'invitations', 'passkeys'])
      expect([table, primaryTables.has(table)]).toEqual([table, true])
    // With whom something is shared is no question for a copy either.
    for (const table of ['team_members', 'chat_shares'])
      expect([table, primaryTables.has(table)]).toEqual([table, true])
    for (const table of ['interactions', 'chats', 'events', 'deliveries', 'agents'])
      expect([table, primaryTables.has(table)]).toEqual([table, false])
  })
})

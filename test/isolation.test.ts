import {
  createExecutionContext,
  createMessageBatch,
  getQueueResult,
  runInDurableObject,
  waitOnExecutionContext,
} from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { eq } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import * as z from 'zod'
import { tenantDatabase } from '../src/data/database'
import { RequestSession } from '../src/data/session'
import { users } from '../src/domains/identity/users/table'
import { MOST } from '../src/domains/tenancy/plans'
import { type Bindings, settingsOf } from '../src/env'
import worker from '../src/index'
import { newId } from '../src/lib/ids'
import { MUST_ASK, OPERATIONS, type Operation } from './contract/operations'
import { pathOf, type Seeded, seed, settledRowsOf } from './contract/seeds'
import { expectError } from './http/expect-error'
import { PRODUCTION } from './http/service'
import { eventually } from './webhooks/receiver'
import { call, callJson, makeWorld, type World } from './world'

// What one tenant can reach of another by anything but an id in a path (test/contract.test.ts): what lists are filtered
// by, cursors, exports, keys and tags that a client makes up, messages, and the names of what is kept outside of D1.
// Made from the OpenAPI document: a new list or filter joins by existing.

const bindings = env as unknown as Bindings

let a: Seeded
let b: World
/** What only A may see. */
let secrets: string[]

beforeAll(async () => {
  a = await seed()
  b = await makeWorld({ rate_limits: MOST })
  const { token } = a.world.admin
  // Two of everything that can be made twice, so that its list has a second page.
  for (const op of OPERATIONS.filter(({ method, path }) => method === 'POST' && path in TWICE))
    await call('POST', op.path, { token, body: TWICE[op.path] })
  await settledRowsOf(a.world.tenant.id)
  secrets = [...Object.values(a.ids), a.world.tenant.id, 'A secret of this tenant'].filter(
    (one) => !NOT_SECRET.includes(one),
  )
}, 60_000)

const NOT_SECRET = ['github', 'stripe', 'tts']
const TWICE: Record<string, object> = {
  '/api/v1/interactions': { text: 'Two' },
  '/api/v1/speakers': { name: 'Two' },
  '/api/v1/items': { external_id: 'two', title: 'Two' },
  '/api/v1/kb': { name: 'Two' },
  '/api/v1/tools': { name: 'two', url: 'https://two.example.com' },
  '/api/v1/voices': { name: 'Two', kind: 'external', provider: 'simulated', provider_voice_id: 'ben' },
  '/api/v1/agents': { name: 'Two', kind: 'echo' },
  '/api/v1/webhooks': { url: 'http://127.0.0.1:1/', event_types: ['order.lost'] },
  '/api/v1/events': { type: 'order.lost', data: {} },
  '/api/v1/auth/issuers': {
    iss: 'https://two.example.com/',
    aud: 'two',
    jwks_uri: 'https://two.example.com/jwks.json',
  },
  '/api/v1/users/invitations': { email: 'two@example.com' },
  '/api/v1/teams': { name: 'Two' },
  '/api/v1/workflows': { name: 'Two', steps: [{ name: 'pause', type: 'wait', seconds: 60 }] },
  '/api/v1/alerts/rules': { name: 'Two', metric: 'requests', comparison: 'lt', threshold: 0 },
  '/api/v1/tickets': { subject: 'Two', body: 'Two' },
  '/api/v1/billing/checkout': { credits: 1_000, success_url: 'https://app.example.com/two' },
  '/api/v1/webhooks/sources': { kind: 'github', name: 'Two', secrets: ['the second secret'] },
}

const lists = OPERATIONS.filter((op) => !op.open && !op.platform && op.note.returns?.page)
const filtersOf = (op: Operation) =>
  Object.keys(op.note.query?.shape ?? {}).filter((name) => !['limit', 'cursor', 'after'].includes(name))

/** The administration under `/api/tenant` wants its tenant named; each names its own. */
const naming = (op: Operation, world: World): Record<string, string> =>
  op.path.startsWith('/api/tenant/') ? { 'X-Tenant-ID': world.tenant.id } : {}

const mine = (op: Operation) => ({ token: a.world.admin.token, headers: naming(op, a.world) })

/** A path with A's ids in it; what `/api/tenant` has is what `/api/v1` has. */
function pathIn({ path }: Operation): string {
  const [short, long] = ['/api/tenant/', '/api/v1/']
  if (!path.startsWith(short)) return pathOf(a, path)
  return pathOf(a, path.replace(short, long)).replace(long, short)
}

/** A word of A's for a filter; one that has none fails the test that asks. */
function wordFor(op: Operation, name: string): string {
  const { world, ids } = a
  const words: Record<string, string> = {
    user_id: world.admin.user.id,
    actor: world.admin.user.id,
    assignee_id: world.admin.user.id,
    requester_id: world.admin.user.id,
    number: '1',
    agent_id: ids['/api/v1/agents/{id}'] ?? '',
    endpoint_id: ids['/api/v1/webhooks/{id}'] ?? '',
    event_id: ids['/api/v1/events/{id}'] ?? '',
    rule_id: ids['/api/v1/alerts/rules/{id}'] ?? '',
    resource_id: ids['/api/v1/webhooks/{id}'] ?? '',
    uid: ids['/api/v1/webhooks/by-uid/{uid}'] ?? '',
    source: ids['/api/v1/webhooks/sources/{id}'] ?? '',
    tenant_id: world.tenant.id,
    q: 'Seed',
    name: 'Seed',
    include_inactive: 'true',
    include_archived: 'true',
    is_active: 'true',
    tag: 'seed',
    channel: 'seed',
    external_id: ids['/api/v1/webhooks/by-uid/{uid}'] ?? '',
    category: 'seed',
    // What the seed was said by and in, and what nobody did.
    speaker_id: ids['/api/v1/speakers/{id}'] ?? '',
    conversation_id: ids['/api/v1/conversations/{id}'] ?? '',
    item_id: 'seed',
    request_id: 'seed',
    phone: '+14155550199',
    reference: 'A secret of this tenant',
    type: 'order.shipped',
    event_type: 'order.shipped',
    action: 'agent.create',
    kind: 'webhooks.recover',
    purpose: 'other',
    resource: 'agent',
    campaign_id: ids['/api/v1/campaigns/{id}'] ?? ids['/api/v1/agents/{id}'] ?? '',
    created_after: '2020-01-01T00:00:00.000Z',
    created_before: '2099-01-01T00:00:00.000Z',
    from: '2020-01-01T00:00:00.000Z',
    to: op.path === '/api/v1/calls' ? '+14155550123' : '2099-01-01T00:00:00.000Z',
  }
  const schema = z.toJSONSchema(op.note.query?.shape[name] as z.ZodType, {
    io: 'input',
    unrepresentable: 'any',
  })
  const choices = (schema.enum ?? schema.anyOf?.flatMap((one) => one.enum ?? []) ?? []) as string[]
  const word = choices[0] ?? words[name]
  if (word === undefined) throw new Error(`${op.name}: a word for ${name} is missing in this test`)
  return word
}

/** What the list must be asked besides. */
function alsoAsked({ name }: Operation, filter: string): string {
  const wanted = MUST_ASK[name]
  return wanted && !wanted.startsWith(`${filter}=`) ? `&${wanted}` : ''
}

describe('a list of B’s', () => {
  it('there are some, with filters', () => {
    expect(lists.length).toBeGreaterThan(15)
    expect(lists.flatMap(filtersOf).length).toBeGreaterThan(40)
  })

  for (const op of lists)
    it(`shows nothing of A’s, whatever it is filtered by: ${op.name}`, async () => {
      const path = op.params.length > 0 ? null : op.path
      for (const name of filtersOf(op)) {
        const word = wordFor(op, name)
        const asked = `${path ?? pathIn(op)}?${name}=${encodeURIComponent(word)}${alsoAsked(op, name)}`
        for (const credential of [{ token: b.admin.token }, { key: b.apiKey }]) {
          const answer = await call('GET', asked, { ...credential, headers: naming(op, b) })
          const text = await answer.text()
          if (path === null) expect([asked, answer.status]).toEqual([asked, 404])
          else expect([asked, answer.status]).toEqual([asked, expect.toBeOneOf([200, 403])])
          // A filter's own word may be said again.
          for (const secret of secrets.filter((one) => one !== word && !asked.includes(one)))
            expect(text).not.toContain(secret)
          if (answer.status === 200) expect([asked, JSON.parse(text).data]).toEqual([asked, ownOf(text)])
        }
      }
    })

  it('would show them to A: some filter of theirs finds something', async () => {
    let found = 0
    for (const op of lists.filter(({ params }) => params.length === 0))
      for (const name of filtersOf(op)) {
        const asked = `${op.path}?${name}=${encodeURIComponent(wordFor(op, name))}${alsoAsked(op, name)}`
        const { data } = await callJson<unknown[]>('GET', asked, {
          token: a.world.admin.token,
          headers: naming(op, a.world),
        })
        if (data?.length > 0) found += 1
      }
    expect(found).toBeGreaterThan(15)
  })
})

/** Rows of an answer that are not of A's making: all of them, as long as none names A's tenant. */
function ownOf(text: string): unknown[] {
  const rows = JSON.parse(text).data as { tenant_id?: string }[]
  return rows.filter(({ tenant_id }) => tenant_id === undefined || tenant_id === b.tenant.id)
}

describe('a cursor of A’s', () => {
  const paged = lists.filter((op) => op.params.length === 0 && 'cursor' in (op.note.query?.shape ?? {}))
  const tried: string[] = []

  for (const op of paged)
    it(`is none in B’s list: ${op.name}`, async () => {
      const { meta } = await callJson('GET', `${op.path}?limit=1`, mine(op))
      if (typeof meta?.next_cursor !== 'string') return
      tried.push(op.name)
      const path = `${op.path}?limit=1&cursor=${encodeURIComponent(meta.next_cursor)}`
      const own = await callJson('GET', path, mine(op))
      expect(own.status).toBe(200)
      const error = await expectError(
        call('GET', path, { token: b.admin.token, headers: naming(op, b) }),
        'validation_failed',
      )
      expect(Object.keys(error.details.fields ?? {})).toEqual(['cursor'])
      // Nor is it one of another list of A's own.
      const other = paged.find((one) => one !== op && one.scopes.length > 0 && tried[0] !== one.name)
      if (other)
        await expectError(call('GET', path.replace(op.path, other.path), mine(other)), 'validation_failed')
    })

  it('was there for most of the lists', () => expect(tried.length).toBeGreaterThan(9))
})

describe('an export of B’s', () => {
  const texts = OPERATIONS.filter(
    ({ note, method, open, platform, params }) =>
      method === 'GET' &&
      !open &&
      !platform &&
      params.length === 0 &&
      [note.returns, ...(note.also ?? [])].some((one) => /csv|ndjson/.test(one?.contentType ?? '')),
  )

  it('there are some', () => expect(texts.length).toBeGreaterThan(0))

  for (const op of texts)
    for (const type of ['text/csv', 'application/x-ndjson'])
      it(`says nothing of A: ${op.name} as ${type}`, async () => {
        const format =
          'format' in (op.note.query?.shape ?? {}) ? `?format=${type === 'text/csv' ? 'csv' : 'ndjson'}` : ''
        const headers = { Accept: `${type}, */*`, ...naming(op, b) }
        const answer = await call('GET', op.path + format, { token: b.admin.token, headers })
        expect(answer.status).toBe(200)
        const text = await answer.text()
        for (const secret of secrets) expect(text).not.toContain(secret)
      })
})

describe('an idempotency key of A’s', () => {
  const makers = OPERATIONS.filter(
    (op) =>
      !op.open &&
      !op.platform &&
      op.params.length === 0 &&
      op.method === 'POST' &&
      op.note.idempotency === undefined &&
      op.note.returns?.status === 201,
  )
  const made: string[] = []

  for (const op of makers)
    it(`is B’s to use for something else: ${op.name}`, async () => {
      const headers = { 'X-Idempotency-Key': `isolation-${op.path}` }
      const body = TWICE[op.path] ?? op.body?.example
      const send = (token: string, other = body) =>
        call('POST', op.path, { token, headers, ...(op.body ? { body: other } : {}) })
      const first = await send(a.world.admin.token)
      if (first.status !== 201) return
      made.push(op.name)
      const answered = (await first.json()) as { data?: { id: string }; id?: string }
      // What has a name for an id has the same name in every tenant.
      const own = answered.data?.id ?? answered.id ?? a.world.tenant.id
      const again = await send(a.world.admin.token)
      expect([again.status, again.headers.get('Idempotency-Replayed')]).toEqual([201, 'true'])
      const theirs = await send(b.admin.token)
      expect([theirs.status, theirs.headers.get('Idempotency-Replayed')]).toEqual([201, null])
      const text = await theirs.text()
      expect(text).not.toContain(own)
      expect(text).not.toContain(a.world.tenant.id)
      // Nor is it another user's of the same tenant.
      const colleague = await send(a.world.developer.token)
      expect(colleague.headers.get('Idempotency-Replayed')).toBe(null)
    })

  it('was one of several things', () => expect(made.length).toBeGreaterThan(4))
})

describe('an entity tag of A’s', () => {
  const tagged = OPERATIONS.filter(
    (op) =>
      !op.open &&
      !op.platform &&
      op.params.length > 0 &&
      op.method === 'GET' &&
      !/\/(?:stream|ws)$/.test(op.path),
  )
  const tags: string[] = []

  for (const op of tagged)
    it(`tells B nothing, and lets B change nothing: ${op.path}`, async () => {
      const path = pathIn(op)
      const own = await call('GET', path, mine(op))
      const tag = own.headers.get('ETag') ?? '"v1"'
      if (own.headers.has('ETag')) tags.push(op.path)
      await own.body?.cancel()
      for (const value of [tag, '*', `W/${tag}`]) {
        const answer = await call('GET', path, {
          token: b.admin.token,
          headers: { 'If-None-Match': value, ...naming(op, b) },
        })
        if (own.headers.has('ETag')) await expectError(answer, 'not_found', op.note.dialect)
        else expect([200, 404]).toContain(answer.status)
      }
      for (const write of OPERATIONS.filter(
        (one) =>
          one.path === op.path && ['PATCH', 'PUT', 'DELETE'].includes(one.method) && !/by-uid/.test(one.path),
      )) {
        const answer = await call(write.method, path, {
          token: b.admin.token,
          headers: { 'If-Match': tag, ...naming(op, b) },
          ...(write.body ? { body: write.body.example } : {}),
        })
        // As for an id that nobody has.
        const nobodys = await call(write.method, path.replace(/[^/]+$/, crypto.randomUUID()), {
          token: b.admin.token,
          headers: { 'If-Match': tag, ...naming(op, b) },
          ...(write.body ? { body: write.body.example } : {}),
        })
        expect([write.name, answer.status]).toEqual([write.name, nobodys.status])
        expect([404, 412]).toContain(answer.status)
        await answer.body?.cancel()
        await nobodys.body?.cancel()
      }
      const after = await call('GET', path, mine(op))
      expect([after.status, after.headers.get('ETag')]).toEqual([own.status, own.headers.get('ETag')])
      await after.body?.cancel()
    })

  it('was on most of what has one', () => expect(tags.length).toBeGreaterThan(5))
})

describe('a stream or a socket', () => {
  it('of A’s chat is opened to nobody of B, from whatever place in it', async () => {
    const path = pathOf(a, '/api/v1/chats/{id}')
    for (const credential of [{ token: b.admin.token }, { key: b.apiKey }]) {
      for (const last of ['', '?last_event_id=e1-1'])
        await expectError(call('GET', `${path}/stream${last}`, credential), 'not_found')
      await expectError(
        call('GET', `${path}/stream`, { ...credential, headers: { 'Last-Event-ID': 'e1-1' } }),
        'not_found',
      )
      await expectError(
        call('GET', `${path}/ws`, { ...credential, headers: { Upgrade: 'websocket' } }),
        'not_found',
      )
    }
  })

  it('of an object that is made by A’s chat’s id and B’s tenant has nothing in it', async () => {
    // Were names made of the chat's id alone, B's row of that id would open A's chat.
    const chat = a.ids['/api/v1/chats/{id}'] ?? ''
    const now = new Date().toISOString()
    const agent = await callJson<{ id: string }>('POST', '/api/v1/agents', {
      token: b.admin.token,
      body: { name: 'B', kind: 'echo' },
    })
    await env.DB.prepare(
      `insert into chats (tenant_id, id, user_id, agent_id, tags, metadata, last_activity_at, created_at, updated_at)
       values (?, ?, ?, ?, '[]', '{}', ?, ?, ?)`,
    )
      .bind(b.tenant.id, chat, b.admin.user.id, agent.data.id, now, now, now)
      .run()
    const shown = await call('GET', `/api/v1/chats/${chat}`, { token: b.admin.token })
    expect(shown.status).toBe(200)
    expect(await shown.text()).not.toContain('A secret of this tenant')
    const events = await callJson<unknown[]>('GET', `/api/v1/chats/${chat}/events`, { token: b.admin.token })
    expect(events.data).toEqual([])
    const mine = await call('GET', `/api/v1/chats/${chat}`, { token: a.world.admin.token })
    expect(await mine.text()).toContain('A secret of this tenant')
    await env.DB.prepare('delete from chats where tenant_id = ?').bind(b.tenant.id).run()
  })
})

describe('an object', () => {
  it('does nothing for another than its name says', async () => {
    const [mine, theirs] = [a.world.tenant.id, b.tenant.id]
    const [endpoint, job] = [newId(0), newId(0)]
    const sender = bindings.ENDPOINTS.getByName(`${mine}/${endpoint}`)
    const runner = bindings.JOBS.getByName(`${mine}/${job}`)
    const driver = bindings.CALLS.getByName(mine)
    const reporter = bindings.REPORTERS.getByName(mine)
    const refusalOf = <T extends Rpc.DurableObjectBranded>(
      stub: DurableObjectStub<T>,
      ask: (object: T) => Promise<unknown>,
    ) =>
      runInDurableObject(stub as never, (object: T) =>
        ask(object).then(
          () => null,
          (error: Error) => error.message,
        ),
      )
    for (const [stub, refused] of [
      [sender, await refusalOf(sender, (object) => object.wake(theirs, endpoint, false))],
      [runner, await refusalOf(runner, (object) => object.wake(theirs, job))],
      [driver, await refusalOf(driver, (object) => object.wake(theirs))],
      [reporter, await refusalOf(reporter, (object) => object.tell(theirs, []))],
    ] as [DurableObjectStub, string | null][]) {
      expect(refused).toMatch(`the object ${stub.name} was taken for ${theirs}`)
      const kept = await runInDurableObject(stub, async (_, { storage }) => ({
        values: (await storage.list()).size,
        alarm: await storage.getAlarm(),
      }))
      expect([stub.name, kept]).toEqual([stub.name, { values: 0, alarm: null }])
    }
  })
})

describe('a message of the queue', () => {
  const consume = async (bodies: unknown[]) => {
    const messages = bodies.map((body, i) => ({ id: `m${i}`, timestamp: new Date(), attempts: 1, body }))
    const batch = createMessageBatch('causeway-events', messages) as MessageBatch<never>
    const context = createExecutionContext()
    await worker.queue(batch, bindings, context)
    await waitOnExecutionContext(context)
    return getQueueResult(batch, context)
  }

  it('that names another tenant than the event’s own reaches neither', async () => {
    // An event of A's that nobody has dispatched, and an endpoint of B's that would listen to it.
    const id = `msg_${crypto.randomUUID()}`
    await env.DB.prepare(
      `insert into events (tenant_id, id, type, channels, data, timestamp) values (?, ?, 'order.shipped', '[]', '{}', ?)`,
    )
      .bind(a.world.tenant.id, id, new Date().toISOString())
      .run()
    await callJson('POST', '/api/v1/webhooks', {
      token: b.admin.token,
      body: { url: 'http://127.0.0.1:1/', event_types: ['*'] },
    })
    const before = [await settledRowsOf(a.world.tenant.id), await settledRowsOf(b.tenant.id)]
    const result = await consume([{ tenant_id: b.tenant.id, event_ids: [id] }])
    expect(result.explicitAcks).toEqual(['m0'])
    expect([await settledRowsOf(a.world.tenant.id), await settledRowsOf(b.tenant.id)]).toEqual(before)
    // With its own tenant it is dispatched: nothing else kept it back.
    await consume([{ tenant_id: a.world.tenant.id, event_ids: [id] }])
    await eventually(async () =>
      env.DB.prepare('select id from events where id = ? and dispatched = 1').bind(id).first(),
    )
    const { results } = await env.DB.prepare('select tenant_id from deliveries where event_id = ?')
      .bind(id)
      .all()
    expect(results).toEqual([{ tenant_id: a.world.tenant.id }])
  }, 60_000)

  it('that is none is taken off the queue, and keeps no other from being read', async () => {
    const event = await callJson<{ id: string }>('POST', '/api/v1/events', {
      token: a.world.admin.token,
      body: { type: 'order.shipped', data: {} },
    })
    const forged = [
      null,
      'x',
      7,
      {},
      { tenant_id: 7, event_ids: [] },
      { tenant_id: '%', event_ids: ["' or 1=1"] },
    ]
    const result = await consume([...forged, { tenant_id: a.world.tenant.id, event_ids: [event.data.id] }])
    expect(result.retryMessages).toEqual([])
    expect([...result.explicitAcks].sort()).toEqual(['m0', 'm1', 'm2', 'm3', 'm4', 'm5', 'm6'])
  })
})

describe('what is kept outside of D1', () => {
  it('is named by the tenant it belongs to: objects in R2', async () => {
    await callJson('POST', '/api/v1/events', {
      token: a.world.admin.token,
      body: { type: 'order.shipped', data: { text: 'x'.repeat(20_000) } },
    })
    const { objects } = await env.FILES.list()
    const tenants = await allTenants()
    expect(objects.length).toBeGreaterThan(0)
    for (const { key } of objects)
      expect([key, key.split('/').some((part) => tenants.has(part))]).toEqual([key, true])
  })

  it('entries in KV, which hold nobody’s address', async () => {
    // Who is told of it reads it there while the Meter is away.
    await call('DELETE', `/api/v1/auth/sessions/${b.viewer.session_id}`, { token: b.viewer.token })
    const tenants = await allTenants()
    let cursor: string | undefined
    let seen = 0
    do {
      const page: KVNamespaceListResult<unknown> = await env.KV.list({ ...(cursor && { cursor }) })
      for (const { name, metadata } of page.keys) {
        seen += 1
        const [area = '', ...rest] = name.split(':')
        const named = rest.some((part) => tenants.has(part)) || OF_NO_TENANT.includes(area)
        expect([name, named]).toEqual([name, true])
        if (OF_NO_TENANT.includes(area)) continue
        const text = JSON.stringify(metadata) + (await env.KV.get(name))
        expect(text).not.toMatch(/@example\.com/)
      }
      cursor = page.list_complete ? undefined : page.cursor
    } while (cursor)
    expect(seen).toBeGreaterThan(0)
  })
})

/** Keys that issuers publish for everybody. */
const OF_NO_TENANT = ['jwks']

async function allTenants(): Promise<Set<string>> {
  const { results } = await env.DB.prepare('select id from tenants').all<{ id: string }>()
  return new Set(results.map(({ id }) => id))
}

describe('the guard', () => {
  it('stands in production as in tests, in a request’s session too', async () => {
    const production = { ...bindings, ...PRODUCTION } as unknown as Bindings
    const session = new RequestSession(production, settingsOf(production), null)
    for (const db of [
      tenantDatabase(production, b.tenant.id),
      session.database(b.tenant.id),
      new RequestSession(production, settingsOf(production), 'x').database(b.tenant.id),
    ]) {
      await expect(db.select().from(users).all()).rejects.toThrow()
      await expect(
        db.select().from(users).where(eq(users.tenant_id, a.world.tenant.id)).all(),
      ).rejects.toThrow()
      expect(await db.select().from(users).where(eq(users.tenant_id, b.tenant.id)).limit(9)).not.toHaveLength(
        0,
      )
    }
    // One session for two tenants: each through a guard of its own.
    expect(
      await session
        .database(a.world.tenant.id)
        .select()
        .from(users)
        .where(eq(users.tenant_id, a.world.tenant.id))
        .limit(9),
    ).not.toHaveLength(0)
    await expect(
      session.database(a.world.tenant.id).select().from(users).where(eq(users.tenant_id, b.tenant.id)).all(),
    ).rejects.toThrow()
  })
})

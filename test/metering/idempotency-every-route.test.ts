import { env } from 'cloudflare:workers'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { OPERATIONS, type Operation } from '../contract/operations'
import { pathOf, rowsOf, type Seeded, seed } from '../contract/seeds'
import { presign, upload } from '../files/kit'
import { settleKeys } from '../identity/keys-kit'
import { insertPasskey, newAuthenticator } from '../identity/passkey-kit'
import { eventually } from '../webhooks/receiver'
import { call, callJson, newAddress, renew } from '../world'

// http.md: every POST, PUT, PATCH and DELETE takes a key. A route joins this test by being in the OpenAPI document.

const WRITES = OPERATIONS.filter(({ method }) => method !== 'GET' && method !== 'HEAD')
const taking = WRITES.filter(({ note }) => note.idempotency !== 'ignored' && note.idempotency !== 'proven')

/** What ends what others need: each has a tenant of its own. */
const isAlone = ({ method, path }: Operation) =>
  method === 'DELETE' || /\/(\{id\}\/presign|logout|logout-all|retry|suspend|cancel)$/.test(path)

/** Refused in the state that the seed leaves: with what a repeat would get again. */
const REFUSED = [
  'POST /api/v1/auth/verify-email/confirm',
  'POST /api/v1/auth/password/reset',
  'POST /api/v1/auth/password/change',
]

/** Those that ignore the key, and why. */
const IGNORING = {
  // Login, refresh and MFA (http.md): what is asked for again gets no tokens, codes or secrets a second time.
  'POST /api/v1/auth/login': 'login',
  'POST /api/v1/auth/passkeys/login/options': 'login',
  'POST /api/v1/auth/passkeys/login/verify': 'login',
  'POST /api/v1/auth/refresh': 'refresh',
  'POST /api/v1/auth/mfa/challenge': 'MFA',
  'POST /api/v1/auth/mfa/recovery-codes': 'MFA',
  'POST /api/v1/auth/mfa/totp': 'MFA',
  'POST /api/v1/auth/mfa/totp/confirm': 'MFA',
  'DELETE /api/v1/auth/mfa/totp': 'MFA',
  'POST /api/v1/chats/{id}/messages': 'a stream: the key stands for client_message_id',
  'PATCH /api/v1/chats/{id}/messages/{message_id}': 'a stream, likewise',
  'POST /api/v1/chats/{id}/messages/{message_id}/regenerate': 'a stream, likewise',
}

/** Those where the route itself knows who asks, and the tests that show it. */
const PROVEN = {
  'POST /api/v1/runs/{id}/events': 'chat/callback.test.ts',
  'POST /api/v1/calls/tools/{id}': 'voice/ultravox/tools.test.ts',
  'POST /api/v1/calls/tools/knowledge': 'voice/ultravox/tools.test.ts',
  'POST /api/v1/webhooks/in/{source_id}': 'webhooks/incoming/idempotency.test.ts',
  'POST /api/v1/webhooks/stripe': 'webhooks/incoming/idempotency.test.ts',
  'POST /api/v1/webhooks/telnyx': 'webhooks/incoming/idempotency.test.ts',
  'POST /api/v1/webhooks/ultravox': 'webhooks/incoming/idempotency.test.ts',
  'PUT /api/v1/files/signed/{file_id}': 'files/files.test.ts',
}

/** What a route must be asked. */
const QUERIES: Record<string, (a: Seeded) => string> = {
  'DELETE /api/v1/interactions': () => '?user_id=user-42',
  'DELETE /api/v1/events': () => '?subject=customer-42',
  'POST /api/v1/chats/import': ({ ids }) => `?agent_id=${ids['/api/v1/agents/{id}']}`,
}

/** Has the seed's row stand as a route needs it. */
const set = ({ world, ids }: Seeded, table: 'deliveries' | 'jobs', columns: string) =>
  env.DB.prepare(`update ${table} set ${columns} where tenant_id = ? and id = ?`)
    .bind(world.tenant.id, ids[`/api/v1/${table}/{id}`])
    .run()

/** What a route needs besides the seed; what it answers goes into the body. */
const READY: Record<string, (a: Seeded) => Promise<object>> = {
  'DELETE /api/v1/auth/passkeys/{id}': async ({ world }) => {
    // The last way to log in can't be removed.
    await insertPasskey(world.admin.user)
    return {}
  },
  // The document's names are taken once a team of that name was made.
  'POST /api/v1/teams': async () => ({ name: crypto.randomUUID() }),
  'PATCH /api/v1/teams/{id}': async () => ({ name: crypto.randomUUID() }),
  'PUT /api/v1/chats/{id}/shares': async ({ ids }) => ({ team_id: ids['/api/v1/teams/{id}'] }),
  'POST /api/v1/app/{app_id}/endpoint/{endpoint_id}/send-example': async () => ({ eventType: 'seed.signup' }),
  'POST /api/v1/deliveries/{id}/cancel': async (a) => {
    await set(a, 'deliveries', "status = 'pending', next_attempt_at = '2999-01-01T00:00:00.000Z'")
    return {}
  },
  'POST /api/v1/jobs/{id}/cancel': async (a) => {
    await set(a, 'jobs', "status = 'queued', next_at = '2999-01-01T00:00:00.000Z', finished_at = null")
    return {}
  },
  'POST /api/v1/jobs/{id}/retry': async (a) => {
    await set(a, 'jobs', "status = 'failed', next_at = null")
    return {}
  },
  // New URLs are made for bytes that did not come yet.
  'POST /api/v1/files/{id}/presign': async ({ world, ids }) => {
    const coming = await presign(world.admin, {})
    ids['/api/v1/files/{id}'] = coming.data.file_id
    return {}
  },
  ...Object.fromEntries(
    [
      ['schedule', 'draft'],
      ['pause', 'scheduled'],
      ['resume', 'paused'],
    ].map(([verb, status]) => [
      `POST /api/v1/campaigns/{id}/${verb}`,
      async ({ world }: Seeded) => {
        await env.DB.prepare('update campaigns set status = ? where tenant_id = ?')
          .bind(status, world.tenant.id)
          .run()
        return {}
      },
    ]),
  ),
  'POST /api/v1/kb/{id}/files/ingest': async ({ world }) => ({
    file_ids: [(await upload(world.admin, 'Seed', { filename: 'seed.md' })).id],
  }),
  'POST /api/v1/items/import': async ({ ids }) => ({ file_id: ids['/api/v1/files/{id}'], format: 'ndjson' }),
  ...Object.fromEntries(
    ['platform', 'admin'].map((path) => [
      `POST /api/${path}/tenants/{id}/credits`,
      async () => ({ reference: crypto.randomUUID() }),
    ]),
  ),
  'POST /api/v1/auth/passkeys/register/verify': async ({ world: { admin } }) => {
    const options = await callJson<{ challenge: string; user: { id: string } }>(
      'POST',
      '/api/v1/auth/passkeys/register/options',
      { token: admin.token },
    )
    return { response: await (await newAuthenticator()).create(options.data) }
  },
}

let shared: Seeded
beforeAll(async () => {
  shared = await seed()
}, 60_000)

function ask(a: Seeded, op: Operation, key: string, address: string, ready: object) {
  const headers: Record<string, string> = { 'X-Idempotency-Key': key, 'CF-Connecting-IP': address }
  const token = op.open ? {} : { token: op.platform ? a.platform.token : a.world.admin.token }
  const path = `${pathOf(a, op.path)}${QUERIES[op.name]?.(a) ?? ''}`
  if (op.contentType === 'multipart/form-data') {
    // A boundary of its own each time, as a browser makes it.
    const form = new FormData()
    form.set('file', new Blob([PNG], { type: 'image/png' }), 'a.png')
    const request = new Request('http://localhost/', { method: 'POST', body: form })
    return request.arrayBuffer().then((raw) =>
      call(op.method, path, {
        ...token,
        headers: {
          ...headers,
          'Content-Type': request.headers.get('Content-Type') ?? '',
          'Content-Length': String(raw.byteLength),
        },
        raw,
      }),
    )
  }
  if (op.contentType === 'application/x-ndjson')
    return call(op.method, path, {
      ...token,
      headers: { ...headers, 'Content-Type': op.contentType },
      raw: JSON.stringify(op.note.body?.example),
    })
  return call(op.method, path, {
    ...token,
    headers,
    ...(op.body ? { body: { ...bodyOf(a, op.body.example, key), ...ready } } : {}),
  })
}

/** The document's example, with what stands for something that is there, or has to be new. */
function bodyOf(a: Seeded, example: unknown, key: string): object {
  const real: Record<string, string> = {
    agent_id: a.ids['/api/v1/agents/{id}'] ?? '',
    model: a.ids['/api/v1/agents/{id}'] ?? '',
    message_id: a.ids['/api/v1/chats/{id}/messages/{message_id}'] ?? '',
    tenant_id: a.world.tenant.id,
    slug: `t-${key.slice(0, 12)}`,
    email: `${key}@example.com`,
    uid: key,
    url: `${env.RECEIVER_URL}/hook/to?key=${key}`,
    webhook_url: `${env.RECEIVER_URL}/upstream/none`,
  }
  const sent = Object.entries(example as object).filter(([name]) => name !== 'is_active')
  return Object.fromEntries(sent.map(([name, value]) => [name, real[name] ?? value]))
}

type EventRow = { id: string; origin: string | null }

/**
 * Waits until nothing of the tenant's moves by itself: no call is under way or has something left to do, and no job has a
 * step due that is not hours away.
 */
const still = (tenantId: string) =>
  eventually(async () => {
    const soon = new Date(Date.now() + 3600_000).toISOString()
    const due = (table: 'calls' | 'jobs') =>
      env.DB.prepare(`select id from ${table} where tenant_id = ? and next_at < ? limit 1`).bind(
        tenantId,
        soon,
      )
    const found = await env.DB.batch([due('calls'), due('jobs')])
    return found.every(({ results }) => results.length === 0)
  })

/** What the service writes of all that was done, when it gets to it. */
const COUNTED_LATER = new Set([
  ...['deliveries', 'daily_counts', 'daily_deliveries'],
  ...['interaction_counts', 'item_weights', 'user_recents'],
])

/** What a write leaves: how many rows of each kind, and their versions, once what it began has come to its end. */
async function traces(tenantId: string): Promise<Record<string, unknown>> {
  await still(tenantId)
  const tables = Object.fromEntries(
    Object.entries(await rowsOf(tenantId)).filter(([table]) => !COUNTED_LATER.has(table)),
  )
  // What chats say of themselves comes from their objects, when they get to it.
  const late = new Set((tables.events as EventRow[]).flatMap(({ id, origin }) => (origin === null ? [] : id)))
  tables.events = (tables.events as EventRow[]).filter(({ id }) => !late.has(id))
  tables.event_channels = (tables.event_channels as { event_id: string }[]).filter(
    ({ event_id }) => !late.has(event_id),
  )
  const versions = (rows: unknown[]) => rows.map((row) => (row as { version?: number }).version ?? null)
  return Object.fromEntries(Object.entries(tables).map(([table, rows]) => [table, versions(rows)]))
}

const PNG = Uint8Array.from(
  atob('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='),
  (char) => char.charCodeAt(0),
)

const stored = async (key: string) =>
  (
    await env.DB.prepare('select * from idempotency_keys where key = ?')
      .bind(key)
      .all<Record<string, unknown>>()
  ).results

/** A URL that is a credential by itself. */
const SIGNED = /[?&](?:signature|X-Amz-Signature|token|ticket)=|\/shared\/[\w-]{43}/

/** Values that are nobody's business at rest, wherever they are in an answer. */
function secretsIn(value: unknown, name = ''): string[] {
  if (typeof value === 'string')
    return /secret|token|password|^key$/i.test(name) || SIGNED.test(value) ? [value] : []
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, child]) => secretsIn(child, key))
}

describe('every write', { timeout: 30_000 }, () => {
  beforeEach(settleKeys)
  afterEach(settleKeys)

  it('takes a key, but for logging in, and for messages, which have an id of their own', () => {
    expect(taking.length).toBeGreaterThan(25)
    const ignoring = WRITES.filter(({ note }) => note.idempotency === 'ignored').map(({ name }) => name)
    expect(ignoring.sort()).toEqual(Object.keys(IGNORING).sort())
    const proven = WRITES.filter(({ note }) => note.idempotency === 'proven').map(({ name }) => name)
    expect(proven.sort()).toEqual(Object.keys(PROVEN).sort())
  })

  for (const op of taking)
    it(`is done once: ${op.name}`, async () => {
      const a = isAlone(op) ? await seed() : shared
      await renew(a.world.admin)
      const ready = (await READY[op.name]?.(a)) ?? {}
      const key = crypto.randomUUID()
      const address = newAddress()
      const first = await ask(a, op, key, address, ready)
      const said = await first.text()
      const before = await traces(a.world.tenant.id)
      // It may have changed what the token stood for.
      await renew(a.world.admin)
      const again = await ask(a, op, key, address, ready)
      expect([op.name, first.status < 300, said]).toEqual([op.name, !REFUSED.includes(op.name), said])
      expect(first.headers.get('Idempotency-Replayed')).toBeNull()
      const endsItself = /\/logout(-all)?$|\/sessions\/\{id\}$/.test(op.path)
      if (endsItself) return expect(again.status).toBe(401)
      expect([again.status, again.headers.get('Idempotency-Replayed')]).toEqual([first.status, 'true'])
      expect(await again.text()).toBe(said)
      const isJson = first.headers.get('Content-Type')?.startsWith('application/json') === true
      // A stream also says that no proxy may change it.
      const names = ['Content-Type', 'ETag', 'Location', ...(isJson ? ['Cache-Control'] : [])]
      for (const name of names)
        expect([name, again.headers.get(name)]).toEqual([name, first.headers.get(name)])
      expect(await traces(a.world.tenant.id)).toEqual(before)
      const rows = await stored(key)
      expect(rows.length).toBe(1)
      const secrets = first.ok && isJson ? secretsIn(JSON.parse(said)) : []
      for (const secret of secrets) expect(JSON.stringify(rows)).not.toContain(secret)
    })
})

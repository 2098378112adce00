import { beforeAll, describe, expect, it } from 'vitest'
import { MOST } from '../src/domains/tenancy/plans'
import { noteOf } from '../src/http/notes'
import {
  isOf,
  MUST_ASK,
  OPERATIONS,
  type Operation,
  PATHS,
  routesOfApp,
  type Schema,
} from './contract/operations'
import { pathOf, rowsOf, type Seeded, seed, seedPartner, settledRowsOf } from './contract/seeds'
import { expectError } from './http/expect-error'
import { call, makeWorld, type World } from './world'

// Made from the OpenAPI document: a route joins these tests by existing. One with an id in its path needs a seed.

/** Whose id in the path is the caller's own word for it: another tenant's means nothing there. */
const NAMES_ITS_OWN = [
  'PUT /api/v1/webhooks/by-uid/{uid}',
  'PUT /api/v1/secrets/{name}',
  'PATCH /api/v1/auth/providers/{kind}',
  'PUT /api/v1/event-type/{event_type_name}',
]
/** Whose id is any text of the tenant's own. */
const BY_OWN_WORDS = /^\/api\/v1\/(?:speakers|conversations)\/\{id\}/
/** Routes that show of a tenant what everybody may see. */
const PUBLISHED = ['GET /.well-known/webhooks/{tenant_id}/jwks.json']
/** Routes about a user's own ways in: a key is told so, whatever the id. */
const FOR_USERS = [
  'DELETE /api/v1/auth/sessions/{id}',
  'DELETE /api/v1/auth/passkeys/{id}',
  'DELETE /api/v1/auth/oauth/accounts/{id}',
]
/** Names in paths that are no tenant’s own. */
const NOT_SECRET = ['github', 'stripe', 'tts']
/** Lists of what the service itself has. */
const THE_SAME_FOR_ALL: string[] = []
/** Lists of what was asked, which names no resource. */
const ABOUT_REQUESTS = ['GET /api/v1/usage/requests', 'GET /api/tenant/usage/requests']
/** Where every field may be left out, and a body with it. */
const MAY_BE_EMPTY = [
  'POST /api/v1/auth/refresh',
  'POST /api/v1/auth/api-keys/{id}/rotate',
  'POST /api/v1/webhooks/{id}/secret/rotate',
  'POST /api/v1/webhooks/{id}/filter/test',
  'POST /api/v1/app/{app_id}/endpoint/{endpoint_id}/secret/rotate',
  'POST /api/v1/chats/{id}/stop',
  'POST /api/v1/chats/{id}/messages/{message_id}/regenerate',
  'POST /api/v1/chats/{id}/read',
  'POST /api/v1/chats/{id}/typing',
  'POST /api/v1/webhooks/signing-keys/rotate',
  'POST /api/v1/files/{id}/complete',
  'POST /api/v1/files/{id}/url',
  'POST /api/v1/workflows/{id}/start',
]

let a: Seeded
let b: World
let asSeeded: Awaited<ReturnType<typeof rowsOf>>

beforeAll(async () => {
  a = await seed()
  b = await makeWorld({ rate_limits: MOST })
  await seedPartner(b)
  spares = await Promise.all(Array.from({ length: 16 }, () => makeWorld()))
  asSeeded = await settledRowsOf(a.world.tenant.id)
}, 60_000)

type Credential = { token: string } | { key: string } | Record<string, never>

/** Calls an operation as its document says, with A's own ids and the document's example as the body. */
function ask(
  op: Operation,
  credential: Credential,
  init: { path?: string; headers?: Record<string, string>; raw?: BodyInit; body?: unknown } = {},
) {
  const upgrade: Record<string, string> = op.path.endsWith('/ws') ? { Upgrade: 'websocket' } : {}
  const named: Record<string, string> = NAMES_ITS_TENANT.test(op.path)
    ? { 'X-Tenant-ID': tenantOf(credential) }
    : {}
  const run: Record<string, string> = op.path.startsWith('/api/v1/runs/')
    ? { 'X-Causeway-Run-Token': a.runToken }
    : {}
  const onCall: Record<string, string> = op.path.startsWith('/api/v1/calls/tools/')
    ? { 'X-Causeway-Call-Token': a.callToken }
    : {}
  const headers = { ...upgrade, ...named, ...run, ...onCall, ...init.headers }
  const path = init.path ?? pathOf(a, op.path)
  if (init.raw !== undefined) return call(op.method, path, { ...credential, headers, raw: init.raw })
  if (init.body !== undefined || op.body)
    return call(op.method, path, { ...credential, headers, body: init.body ?? op.body?.example })
  if (op.contentType === 'multipart/form-data') {
    const raw = multipart()
    return call(op.method, path, { ...credential, headers: { ...headers, ...raw.headers }, raw: raw.body })
  }
  return call(op.method, path, { ...credential, headers })
}

/** Routes that want the caller’s tenant named. */
const NAMES_ITS_TENANT = /^\/api\/tenant\//

/** The tenant of a credential; A’s where it has none. */
function tenantOf(credential: Credential): string {
  const texts = Object.values(credential)
  const of = (world: World) => [world.admin.token, world.apiKey].some((one) => texts.includes(one))
  if (texts.includes(a.platform.token)) return a.platform.user.tenant_id
  return ([b, ...spares].find(of) ?? a.world).tenant.id
}

/** A small picture as a form would send it. */
function multipart() {
  const png = Uint8Array.from(
    atob('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='),
    (char) => char.charCodeAt(0),
  )
  const head = new TextEncoder().encode(
    '--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n',
  )
  const body = new Uint8Array([...head, ...png, ...new TextEncoder().encode('\r\n--b--\r\n')])
  return {
    headers: { 'Content-Type': 'multipart/form-data; boundary=b', 'Content-Length': String(body.length) },
    body,
  }
}

/** Routes with a window of sixty a minute and tenant: whoever asks here must be an admin, not of which tenant. */
const SELF_HELP = /^\/api\/(?:v1\/(?:auth|usage|tenants\/current)|tenant\/(?:usage|current))/
let spares: World[]
let asked = 0

function admin(op: Operation): Credential {
  if (op.open) return {}
  if (op.platform) return { token: a.platform.token }
  const spare = SELF_HELP.test(op.path) ? spares[asked++ % spares.length] : undefined
  return { token: (spare ?? a.world).admin.token }
}
const secured = OPERATIONS.filter((op) => !op.open)
const ofTenants = secured.filter((op) => !op.platform)
const withIds = OPERATIONS.filter((op) => op.params.length > 0)
const withJson = OPERATIONS.flatMap((op) => (op.body ? [{ op, body: op.body }] : []))
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

describe('the document', () => {
  it('is what is served, and what these tests walk', async () => {
    const served = (await (await call('GET', '/openapi.json')).json()) as { paths: Record<string, object> }
    const names = Object.entries(served.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    )
    expect(names.sort()).toEqual(OPERATIONS.map((op) => op.name).sort())
    expect(names.length).toBeGreaterThan(60)
  })

  it('has every route; the pages for people alone are left out', () => {
    const hidden: string[] = []
    for (const [route, handlers] of routesOfApp()) {
      const notes = handlers.flatMap((handler) => noteOf(handler) ?? [])
      expect([route, notes.length > 0]).toEqual([route, true])
      if (notes.some((note) => note.hidden)) hidden.push(route)
    }
    expect(hidden.sort()).toEqual([
      ...['GET /accept-invitation', 'GET /account/:file', 'GET /api/v1/dev/checkouts/:at'],
      ...['GET /docs', 'GET /docs/:file', 'GET /favicon.svg', 'GET /forgot-password', 'GET /redoc'],
      ...['GET /reset-password', 'GET /verify-email', 'POST /api/v1/dev/checkouts/:at'],
    ])
  })

  it('names a tenant in few bodies: a tenant is whose the credential is', () => {
    const naming = withJson.flatMap(({ op, body }) => {
      const shapes = [body.schema, ...(body.schema.anyOf ?? []), ...(body.schema.allOf ?? [])]
      const fields = shapes.flatMap(({ properties }) => Object.keys(properties ?? {}))
      const found = fields.filter((field) =>
        /^(?:tenant|network|client)(?:_id|_slug)?$|^team_id$/.test(field),
      )
      return found.length > 0 ? [[op.name, found]] : []
    })
    expect(Object.fromEntries(naming)).toEqual({
      'POST /api/v1/auth/login': ['tenant'],
      'POST /api/v1/auth/register': ['tenant_id', 'team_id'],
      'POST /api/platform/api-keys': ['tenant_id'],
      'POST /api/admin/api-keys': ['tenant_id'],
      // One of the tenant's own teams.
      'PUT /api/v1/chats/{id}/shares': ['team_id'],
    })
  })

  it('says of every route who may call it', () => {
    // `open()`, `allow(…)` or `authenticated()`: a route that forgot is not public by accident, but it is not decided either.
    for (const op of OPERATIONS)
      expect([op.name, op.note.open === true || op.note.scopes !== undefined]).toEqual([op.name, true])
    const free = secured.filter((op) => op.scopes.length === 0).map((op) => op.name)
    // Routes about the caller need no scope, nor does asking why one is refused.
    const own =
      / \/api\/(?:tenant|v1)\/(?:auth\/(?:me|logout|logout-all|sessions|clients|mfa|passkeys|password\/change|oauth\/accounts)|usage\/limits$|partners\/portal(?:\/|$)|realtime\/ticket$)/
    expect(free.filter((name) => !own.test(name))).toEqual([])
  })
})

describe('without a credential', () => {
  for (const op of secured)
    it(`401: ${op.name}`, async () => {
      const answer = await ask(op, {})
      expect(answer.headers.get('WWW-Authenticate')).toMatch(/^Bearer error="invalid_token"/)
      await expectError(answer, 'credential_required', op.note.dialect)
      const bad = await ask(op, { token: 'nonsense' })
      expect(bad.headers.get('WWW-Authenticate')).toMatch(/^Bearer error="invalid_token"/)
      await expectError(bad, 'invalid_token', op.note.dialect)
    })
})

describe('without the scope', () => {
  for (const op of ofTenants.filter(({ scopes }) => scopes.length > 0))
    it(`403: ${op.name}`, async () => {
      for (const scope of op.scopes) {
        const refused = ask(op, { key: a.keysWithout[scope] ?? '' })
        const error = await expectError(refused, 'insufficient_scope', op.note.dialect)
        expect(error.details.missing).toBe(scope)
      }
    })
})

describe('on the other side of the boundary', () => {
  for (const op of secured.filter(({ platform }) => platform))
    it(`a tenant’s credential is refused: ${op.name}`, async () => {
      await expectError(ask(op, { token: a.world.admin.token }), 'platform_only')
      await expectError(ask(op, { key: a.world.apiKey }), 'platform_only')
    })

  for (const op of ofTenants.filter(({ path }) => !/^\/api\/v1\/(?:auth|partners)\//.test(path)))
    it(`a platform credential is refused: ${op.name}`, async () => {
      await expectError(ask(op, { token: a.platform.token }), 'target_tenant_required', op.note.dialect)
    })

  for (const op of ofTenants)
    it(`a header that names another tenant is refused: ${op.name}`, async () => {
      const headers = { 'X-Tenant-ID': b.tenant.id }
      await expectError(ask(op, admin(op), { headers }), 'tenant_mismatch', op.note.dialect)
    })
})

describe('another tenant’s id', () => {
  // Once, for nothing here may change it.
  let shown: Awaited<ReturnType<typeof everythingShown>> | undefined

  for (const op of withIds.filter(({ platform, name }) => !platform && !PUBLISHED.includes(name)))
    it(`404, and nothing changes: ${op.name}`, { timeout: 30_000 }, async () => {
      shown ??= await everythingShown()
      const stranger = NAMES_ITS_OWN.includes(op.name) ? await makeWorld() : b
      const byToken = await ask(op, { token: stranger.admin.token })
      const byKey = await ask(op, { key: stranger.apiKey })
      if (NAMES_ITS_OWN.includes(op.name)) {
        for (const { status } of [byToken, byKey]) expect([200, 201]).toContain(status)
        if (!op.note.dialect) expect(await byToken.text()).toContain(stranger.tenant.id)
      } else {
        await expectError(byToken, 'not_found', op.note.dialect)
        const code = FOR_USERS.includes(op.name) ? 'user_required' : 'not_found'
        await expectError(byKey, code, op.note.dialect)
      }
      expect(await rowsOf(a.world.tenant.id)).toEqual(asSeeded)
      const now = await everythingShown(op)
      for (const [name, is] of Object.entries(now)) expect([name, is]).toEqual([name, shown[name]])
    })

  it('is there for its own tenant', async () => {
    shown ??= await everythingShown()
    expect(Object.keys(shown).length).toBeGreaterThan(9)
    // The picture was never set, and what was said is no recording.
    for (const [name, { status }] of Object.entries(shown))
      expect([name, status]).toEqual([name, /\/(?:avatar|audio)$/.test(name) ? 404 : 200])
  })
})

/** What A is shown by every read with an id: what an object keeps for itself is in no table. */
async function everythingShown(
  asked?: Operation,
): Promise<Record<string, { status: number; data: unknown }>> {
  const reads = withIds.filter(
    (op) =>
      op.method === 'GET' &&
      // What is open shows nothing of any tenant.
      !op.open &&
      !op.platform &&
      // Sixty a minute are not enough to look at these after every one of the others.
      (!asked || SELF_HELP.test(asked.path) || !SELF_HELP.test(op.path)) &&
      op.note.returns?.contentType !== 'text/event-stream' &&
      !op.path.endsWith('/ws'),
  )
  const shown: Record<string, { status: number; data: unknown }> = {}
  // Reading a signing secret is on record, and so is no quiet look.
  for (const op of reads.filter(({ path }) => !path.endsWith('/secret'))) {
    const answer = await ask(op, { token: a.world.admin.token })
    const isJson = answer.headers.get('Content-Type')?.startsWith('application/json') === true
    // A URL that is signed for the answer is another one each second.
    const text = (await answer.text())
      .replaceAll(/expires=\d+&signature=[\w-]+/g, 'signed')
      .replaceAll(
        /"expires_at":"[^"]+"(?=[^{}]*signed)|(?<=signed"[^{}]*)"expires_at":"[^"]+"/g,
        '"signed":0',
      )
    const data = isJson ? (JSON.parse(text) as { data?: unknown }).data : text
    shown[op.name] = { status: answer.status, data }
  }
  return shown
}

describe('a list', () => {
  const lists = ofTenants.filter((op) => op.note.returns?.page)
  it('there are some', () => expect(lists.length).toBeGreaterThan(7))

  for (const op of lists)
    it(`shows the tenant’s own alone: ${op.name}`, async () => {
      const all = [...Object.values(a.ids), a.world.tenant.id, 'A secret of this tenant']
      const secrets = all.filter((one) => !NOT_SECRET.includes(one))
      const limit = op.note.query && 'limit' in op.note.query.shape ? '?limit=100' : ''
      const wanted = MUST_ASK[op.name]
      const path = `${pathOf(a, op.path)}${limit}${wanted ? `&${wanted}` : ''}`
      const own = await (await ask(op, { token: a.world.admin.token }, { path })).text()
      const seeded = a.ids[`${op.path}/{id}`]
      // What A sees there is what B must not see.
      if (seeded) expect(own).toContain(seeded)
      else if (![...THE_SAME_FOR_ALL, ...ABOUT_REQUESTS].includes(op.name))
        expect(secrets.some((secret) => own.includes(secret))).toBe(true)
      if (op.params.length > 0) return
      for (const credential of [{ token: b.admin.token }, { key: b.apiKey }]) {
        if (op.scopes.length === 0 && 'key' in credential) continue
        const answer = await ask(op, credential, wanted ? { path: `${op.path}?${wanted}` } : {})
        expect(answer.status).toBe(200)
        const theirs = await answer.text()
        for (const secret of secrets) expect(theirs).not.toContain(secret)
      }
    })
})

describe('an id that is none', () => {
  for (const op of withIds)
    it(`422: ${op.name}`, async () => {
      const unlike = BY_OWN_WORDS.test(op.path) ? [] : ['not an id!', '1;drop', '..%2F..%2Fetc']
      for (const wrong of [...unlike, '%00', 'a'.repeat(300)]) {
        const path = op.path.replace(/\{\w+\}/g, wrong.includes('%') ? wrong : encodeURIComponent(wrong))
        const refused = ask(op, admin(op), { path })
        const error = await expectError(refused, 'validation_failed', op.note.dialect)
        expect(Object.keys(error.details.fields ?? {})).toEqual(op.params)
      }
    })
})

/** A tool’s arguments have the names that the tool has for them; others are told to the model. */
const NAMED_BY_MODELS = new Set(['/api/v1/calls/tools/{id}'])

describe('a body', () => {
  for (const { op, body } of withJson) {
    // Where another product's protocol is spoken, what it may have besides is ignored.
    const unknown = op.note.dialect ? { zz_unknown: 1 } : {}

    if (!op.note.dialect && !NAMED_BY_MODELS.has(op.path))
      it(`with an unknown field is refused by its name: ${op.name}`, async () => {
        const example = isObject(body.example) ? body.example : {}
        const error = await expectError(
          ask(op, admin(op), { body: { ...example, zz_unknown: 1, tenantid: 'x' } }),
          'validation_failed',
        )
        expect(error.details.fields).toMatchObject({
          zz_unknown: 'is not a known field',
          tenantid: 'is not a known field',
        })
      })

    it(`that is not JSON is refused: ${op.name}`, async () => {
      const headers = { 'Content-Type': 'application/json' }
      const { dialect } = op.note
      await expectError(ask(op, admin(op), { headers, raw: '{"a":' }), 'malformed_json', dialect)
      if (!MAY_BE_EMPTY.includes(op.name))
        await expectError(ask(op, admin(op), { headers, raw: '' }), 'malformed_json', dialect)
      for (const raw of ['[]', 'null', '"x"', '7'])
        await expectError(ask(op, admin(op), { headers, raw }), 'validation_failed', dialect)
    })

    it(`of another type is refused: ${op.name}`, async () => {
      for (const type of ['text/plain', 'application/x-www-form-urlencoded'])
        await expectError(
          ask(op, admin(op), { headers: { 'Content-Type': type }, raw: JSON.stringify(body.example) }),
          'unsupported_media_type',
          op.note.dialect,
        )
    })

    it(`over its limit is refused: ${op.name}`, async () => {
      const limit = op.note.bodyLimit ?? 1024 * 1024
      const headers = { 'Content-Type': 'application/json' }
      const raw = `{"zz":"${'x'.repeat(limit)}"}`
      const error = await expectError(ask(op, admin(op), { headers, raw }), 'body_too_large', op.note.dialect)
      expect(error.details.limit_bytes).toBe(limit)
    })

    it(`names the field that is wrong or missing: ${op.name}`, async () => {
      const example = isObject(body.example) ? body.example : {}
      for (const [name, schema] of Object.entries(body.schema.properties ?? {})) {
        const wrong = wrongFor(schema)
        if (wrong === undefined) continue
        const error = await expectError(
          ask(op, admin(op), { body: { ...example, [name]: wrong, ...unknown } }),
          'validation_failed',
          op.note.dialect,
        )
        const named = Object.keys(error.details.fields ?? {})
        expect(named).not.toContain('zz_unknown')
        expect([name, named.some((field) => field === name || field.startsWith(`${name}.`))]).toEqual([
          name,
          true,
        ])
      }
      for (const name of body.schema.required ?? []) {
        const { [name]: _gone, ...rest } = example
        const refused = ask(op, admin(op), { body: rest })
        const error = await expectError(refused, 'validation_failed', op.note.dialect)
        expect(Object.keys(error.details.fields ?? {})).toContain(name)
      }
    })
  }

  it('none of these changed anything', async () => {
    expect(await rowsOf(a.world.tenant.id)).toEqual(asSeeded)
  })

  const uploads = OPERATIONS.filter((op) => op.contentType === 'multipart/form-data')
  for (const op of uploads)
    it(`of an upload must be what it claims, and say how long it is: ${op.name}`, async () => {
      const json = { 'Content-Type': 'application/json' }
      await expectError(ask(op, admin(op), { headers: json, raw: '{}' }), 'unsupported_media_type')
      const headers = { 'Content-Type': 'multipart/form-data; boundary=b', 'Content-Length': '5' }
      await expectError(ask(op, admin(op), { headers, raw: 'hello' }), 'malformed_body')
    })
})

/** A value that no field of this kind takes; undefined where any would do. */
function wrongFor(schema: Schema): unknown {
  if (schema.$ref || schema.allOf) return [[7]]
  const kinds = schema.anyOf ? schema.anyOf.flatMap((one) => one.type ?? []) : [schema.type ?? []].flat()
  if (kinds.length === 0 || schema.anyOf?.some((one) => one.$ref || one.type === undefined)) return undefined
  if (!kinds.includes('object')) return { zz: 1 }
  return kinds.includes('array') ? 7 : [7]
}

describe('the wrong method', () => {
  const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE']
  for (const pattern of PATHS)
    it(`405 with what is allowed: ${pattern}`, async () => {
      const path = pathOf(a, pattern)
      const allowed = METHODS.filter((method) =>
        OPERATIONS.some((op) => op.method === method && isOf(op.path, path)),
      )
      const allow = [...allowed, ...(allowed.includes('GET') ? ['HEAD'] : []), 'OPTIONS'].join(', ')
      for (const method of METHODS.filter((one) => !allowed.includes(one))) {
        const answer = await call(method, path, { token: a.world.admin.token })
        expect([method, answer.headers.get('Allow')]).toEqual([method, allow])
        await expectError(answer, 'method_not_allowed')
      }
      const options = await call('OPTIONS', path)
      expect([options.status, options.headers.get('Allow')]).toEqual([204, allow])
    })
})

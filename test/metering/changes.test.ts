import { evictDurableObject, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { commit } from '../../src/data/commit'
import { contextFor } from '../../src/data/system'
import { committedChanges, copiesOf, dropOldChanges, TOLD_MS, tellAgain } from '../../src/data/tell'
import { KEY_FRESH_MS } from '../../src/domains/identity/callers'
import { ending, knowledgeOf } from '../../src/domains/identity/knowledge'
import type { LeaseRequest } from '../../src/domains/metering/meter/lease'
import type { Told } from '../../src/domains/metering/meter/ledger'
import { News } from '../../src/domains/metering/meter/news'
import type { Bindings } from '../../src/env'
import { expectError } from '../http/expect-error'
import { hanging, Isolate, metersThat, throwing } from '../identity/isolates'
import { changeUser } from '../identity/kit'
import { callJson, makePlatformAdmin, makeWorld, requestContext, type World } from '../world'

// How a change reaches everybody although something fails on the way.

const bindings = env as unknown as Bindings

let world: World
beforeEach(async () => {
  world = await makeWorld()
})
afterEach(() => {
  vi.useRealTimers()
})

/** Sets the clock forward. */
function later(seconds: number) {
  vi.useFakeTimers({ toFake: ['Date'] })
  vi.setSystemTime(Date.now() + seconds * 1000)
}

const contextIn = (isolate: Isolate) =>
  contextFor(requestContext({ env: isolate.bindings }), world.ctx.tenant, world.ctx.principal)
const logout = (isolate: Isolate) => isolate.ask('POST', '/api/v1/auth/logout', { token: world.member.token })
const rows = async () =>
  (
    await env.DB.prepare('select kind, id, told, until from state_changes where tenant_id = ? order by seq')
      .bind(world.tenant.id)
      .all<{ kind: string; id: string; told: number; until: string }>()
  ).results
const copies = async () => (await env.KV.list({ prefix: copiesOf(world.tenant.id) })).keys
const asking = (isolate: string, sequence: number, revision: number): LeaseRequest => ({
  isolate,
  sequence,
  revision,
  demands: [],
  report: null,
  unleased: null,
})
const meter = () => env.METERS.getByName(world.tenant.id)

/** KV that is away. */
const noKv = { put: throwing, get: throwing, list: throwing }

describe('while the Meter is away', () => {
  for (const [how, METERS] of [
    ['throws', metersThat(throwing)],
    ['hangs', metersThat(hanging)],
  ] as const)
    it(`and ${how}, KV's copies tell of sessions, keys, users and tenants within ten seconds`, async () => {
      const [here, there] = [new Isolate({ METERS }), new Isolate({ METERS })]
      const { token } = world.member
      const credentials = [{ token }, { token: world.viewer.token }, { key: world.apiKey }]
      for (const credential of credentials) expect((await there.knock(credential)).status).toBe(200)
      expect((await here.knock({ token })).status).toBe(200)

      expect((await logout(here)).status).toBe(204)
      await expectError(here.knock({ token }), 'token_revoked')
      // It read the copies a moment ago, and waits with the next look.
      expect((await there.knock({ token })).status).toBe(200)
      later(9)
      there.calls.length = 0
      await expectError(there.knock({ token }), 'token_revoked')
      expect(there.calls.filter((call) => call.startsWith('KV'))).toEqual(['KV.list'])
      expect(there.calls.filter((call) => call.startsWith('DB'))).toEqual([])
      expect((await there.knock({ token: world.viewer.token })).status).toBe(200)

      const { token: platform } = await makePlatformAdmin()
      const path = `/api/platform/tenants/${world.tenant.id}`
      const patch = (status: string) => here.ask('PATCH', path, { token: platform, body: { status } })
      expect((await patch('suspended')).status).toBe(200)
      later(9)
      await expectError(there.knock({ token: world.viewer.token }), 'tenant_suspended')
      await expectError(there.knock({ key: world.apiKey }), 'tenant_suspended')
      expect((await patch('active')).status).toBe(200)
      later(9)
      expect((await there.knock({ key: world.apiKey })).status).toBe(200)
    }, 30_000)

  it('and throws, the copies tell of one key, one user, one token and other limits', async () => {
    const METERS = metersThat(throwing)
    const [here, there] = [new Isolate({ METERS }), new Isolate({ METERS })]
    const made = await callJson<{ id: string; key: string }>('POST', '/api/v1/auth/api-keys', {
      token: world.admin.token,
      body: { name: 'Another' },
    })
    const { id, key } = made.data
    const { token } = world.member
    const { token: of } = world.viewer
    for (const credential of [{ key }, { token }, { token: of }, { token: world.developer.token }])
      expect((await there.knock(credential)).status).toBe(200)
    const gone = await here.ask('DELETE', `/api/v1/auth/api-keys/${id}`, { token: world.admin.token })
    expect(gone.status).toBe(204)
    await changeUser(world.viewer.user, { status: 'suspended' }, here.bindings)
    const { jti } = JSON.parse(atob(token.split('.')[1]?.replaceAll('-', '+').replaceAll('_', '/') ?? ''))
    await commit(contextIn(here), { statements: [], result: null, tell: [ending('token', jti)] })
    const platform = await makePlatformAdmin()
    const limited = await here.ask('PATCH', `/api/platform/tenants/${world.tenant.id}`, {
      token: platform.token,
      body: { rate_limits: { requests_per_minute: 777 } },
    })
    expect(limited.status).toBe(200)
    later(9)
    await expectError(there.knock({ key }), 'invalid_api_key')
    await expectError(there.knock({ token: of }), 'user_suspended')
    await expectError(there.knock({ token }), 'token_revoked')
    const known = await there.knock({ token: world.developer.token })
    expect([known.status, known.headers.get('X-RateLimit-Limit')]).toEqual([200, '777'])
  }, 30_000)

  it('the answer to who revokes comes all the same, after a second', async () => {
    const here = new Isolate({ METERS: metersThat(hanging), KV: { ...noKv, put: hanging } })
    await here.knock({ token: world.member.token })
    const began = Date.now()
    expect((await logout(here)).status).toBe(204)
    expect(Date.now() - began).toBeLessThan(3_000)
    expect((await rows()).map(({ told }) => told)).toEqual([0])
  })

  it('and KV too, requests go on with what is known', async () => {
    const alone = new Isolate({ METERS: metersThat(throwing), KV: noKv })
    const { token } = world.member
    for (let i = 0; i < 3; i++) {
      expect((await alone.knock({ token })).status).toBe(200)
      later(9)
    }
    expect((await logout(alone)).status).toBe(204)
    await expectError(alone.knock({ token }), 'token_revoked')
  })

  it('a hanging KV holds nobody up for more than a second', async () => {
    const alone = new Isolate({ METERS: metersThat(throwing), KV: { ...noKv, list: hanging } })
    const began = Date.now()
    expect((await alone.knock({ token: world.member.token })).status).toBe(200)
    expect(Date.now() - began).toBeLessThan(2_500)
    const again = Date.now()
    expect((await alone.knock({ token: world.member.token })).status).toBe(200)
    expect(Date.now() - again).toBeLessThan(500)
  })

  it('what is too large for the listing is read from its entry', async () => {
    const here = new Isolate()
    const there = new Isolate({ METERS: metersThat(throwing) })
    await there.knock({ token: world.member.token })
    const tell = Array.from({ length: 40 }, (_, i) => ending('session', `${i}-${world.member.session_id}`))
    await commit(contextIn(here), { statements: [], result: null, tell })
    await vi.waitFor(async () => expect(await copies()).toHaveLength(1))
    expect((await copies())[0]?.metadata).toBeUndefined()
    later(9)
    await there.knock({ token: world.member.token })
    const knowledge = knowledgeOf(there.bindings, world.tenant.id)
    expect(tell.filter(({ id }) => !knowledge.hasEnded('session', id))).toEqual([])
  })

  it('what is committed together is copied whole, however much it is', async () => {
    const there = new Isolate({ METERS: metersThat(throwing) })
    await there.knock({ token: world.member.token })
    const ids: string[] = []
    for (let size = 1; size <= 15; size++) {
      const tell = Array.from({ length: size }, (_, i) => ending('session', `"${size}"-"${i}"`))
      ids.push(...tell.map(({ id }) => id))
      await commit(contextIn(new Isolate()), { statements: [], result: null, tell })
    }
    await vi.waitFor(async () => expect(await copies()).toHaveLength(15))
    later(9)
    await there.knock({ token: world.member.token })
    const knowledge = knowledgeOf(there.bindings, world.tenant.id)
    expect(ids.filter((id) => !knowledge.hasEnded('session', id))).toEqual([])
  })

  it('what stands on a later page of the listing is read too', async () => {
    const list = (options: KVNamespaceListOptions) => env.KV.list({ ...options, limit: 1 })
    const KV = { list, get: (name: string, type: 'json') => env.KV.get(name, type) }
    const there = new Isolate({ METERS: metersThat(throwing), KV })
    await there.knock({ token: world.viewer.token })
    const ids = ['one', 'two', world.viewer.session_id]
    for (const id of ids) {
      const tell = [ending('session', id)]
      await commit(contextIn(new Isolate()), { statements: [], result: null, tell })
    }
    await vi.waitFor(async () => expect(await copies()).toHaveLength(3))
    later(9)
    await expectError(there.knock({ token: world.viewer.token }), 'token_revoked')
  })

  it('another tenant’s copies are no concern of this one', async () => {
    const other = await makeWorld()
    const there = new Isolate({ METERS: metersThat(throwing) })
    await there.knock({ token: other.member.token })
    await commit(contextIn(new Isolate()), {
      statements: [],
      result: null,
      tell: [ending('session', other.member.session_id)],
    })
    later(9)
    expect((await there.knock({ token: other.member.token })).status).toBe(200)
  })
})

describe('a change that was committed and not told', () => {
  /** An isolate that dies between the batch and the telling. */
  const dying = () => new Isolate({ METERS: metersThat(throwing), KV: noKv })

  it('is told by the sweep, once, to the Meter and to KV', async () => {
    const there = new Isolate()
    const { token } = world.member
    expect((await there.knock({ token })).status).toBe(200)
    expect((await logout(dying())).status).toBe(204)
    expect([(await rows()).map(({ told }) => told), await copies()]).toEqual([[0], []])
    // What is young is on its ordinary way.
    await tellAgain(bindings, Date.now())
    expect((await rows()).map(({ told }) => told)).toEqual([0])

    await tellAgain(bindings, Date.now() + 2_500)
    expect((await rows()).map(({ told }) => told)).toEqual([1])
    expect(await copies()).toHaveLength(1)
    const { revision } = await meter().lease(asking('x', 1, 0))
    later(9)
    await expectError(there.knock({ token }), 'token_revoked')
    // Told once more, it is nothing new.
    await env.DB.prepare('update state_changes set told = 0 where tenant_id = ?').bind(world.tenant.id).run()
    await tellAgain(bindings, Date.now() + 2_500)
    expect((await meter().lease(asking('x', 2, revision))).changes).toEqual([])
  })

  it('is left to the next sweep while one of both is away', async () => {
    await logout(dying())
    await tellAgain(new Isolate({ KV: noKv }).bindings, Date.now() + 2_500)
    expect((await rows()).map(({ told }) => told)).toEqual([0])
    expect((await meter().lease(asking('x', 1, 0))).changes).toHaveLength(1)
    expect(
      await tellAgain(new Isolate({ METERS: metersThat(throwing) }).bindings, Date.now() + 2_500),
    ).toBeGreaterThan(0)
    expect([(await rows()).map(({ told }) => told), await copies()]).toMatchObject([[0], [{}]])
    await tellAgain(bindings, Date.now() + 2_500)
    expect((await rows()).map(({ told }) => told)).toEqual([1])
  })

  it('is known to a Meter that begins after it', async () => {
    await logout(dying())
    const { changes } = await meter().lease(asking('x', 1, 0))
    expect(changes.map(({ kind, id }) => [kind, id])).toEqual([['session', world.member.session_id]])
  })

  it('is known again to a Meter that has lost its memory, and to isolates that heard from it before', async () => {
    const { token } = world.member
    const there = new Isolate()
    expect((await there.knock({ token })).status).toBe(200)
    const before = await meter().lease(asking('x', 1, 0))
    expect((await logout(new Isolate())).status).toBe(204)
    await runInDurableObject(meter(), async (_, state) => state.storage.deleteAll())
    await evictDurableObject(meter())
    const after = await meter().lease(asking('x', 2, before.revision))
    expect(after.changes.map(({ id }) => id)).toEqual([world.member.session_id])
    later(9)
    await expectError(there.knock({ token }), 'token_revoked')
  })
})

describe('more changes than one answer holds', () => {
  it('are all known before the first request of an isolate goes on', async () => {
    const until = Date.now() + TOLD_MS
    const ids = [...Array.from({ length: 4_500 }, (_, i) => `other-${i}`), world.member.session_id]
    const changes = ids.map((id, i): Told => ({ seq: i + 1, kind: 'session', id, until, data: null }))
    await meter().tell(changes)
    const there = new Isolate()
    await expectError(there.knock({ token: world.member.token }), 'token_revoked')
    expect(there.calls.filter((call) => call === 'METERS.getByName').length).toBeLessThanOrEqual(3)
    expect((await there.knock({ token: world.viewer.token })).status).toBe(200)
  })
})

describe('a change that is over', () => {
  it('is told to nobody, and dropped', async () => {
    await logout(new Isolate({ METERS: metersThat(throwing), KV: noKv }))
    const [row] = await rows()
    const until = Date.parse(row?.until ?? '')
    expect(until - Date.now()).toBeGreaterThan(TOLD_MS - 60_000)
    expect(await committedChanges(bindings, world.tenant.id, until - 1)).toHaveLength(1)
    expect(await committedChanges(bindings, world.tenant.id, until)).toEqual([])
    await tellAgain(bindings, until)
    expect((await rows()).map(({ told }) => told)).toEqual([0])
    await dropOldChanges(bindings, until)
    expect(await rows()).toHaveLength(1)
    await dropOldChanges(bindings, until + 1)
    expect(await rows()).toEqual([])
  })

  it('is over only when nobody remembers what was before it', () => {
    expect(TOLD_MS).toBeGreaterThanOrEqual(2 * KEY_FRESH_MS)
    // An access token lives for a quarter of an hour, and half a minute is forgiven.
    expect(TOLD_MS).toBeGreaterThan(16 * 60_000)
  })
})

describe('the news of a Meter', () => {
  const T = 1_800_000_000_000
  const change = (seq: number, id = `s${seq}`): Told => ({
    seq,
    kind: 'session',
    id,
    until: T + 1e9,
    data: null,
  })
  const store = () => {
    let saved: ReturnType<News['since']>['changes'] = []
    let revision: number | null = null
    return {
      get saved() {
        return { saved, revision }
      },
      readChanges: () => ({ changes: saved, revision }),
      writeChanges: (added: typeof saved, gone: typeof saved, last: number) => {
        const ids = new Set([...added, ...gone].map(({ id }) => id))
        saved = [...saved.filter(({ id }) => !ids.has(id)), ...added]
        revision = last
      },
    }
  }

  it('are read from D1 once, above every revision that was given before', async () => {
    const disk = store()
    let reads = 0
    const news = new News(disk, async () => (reads++ === 0 ? [change(1), change(2)] : []), T)
    await news.ready(T)
    expect(news.ready(T)).toBeUndefined()
    expect(news.since(77, T)).toMatchObject({ revision: T + 2, changes: [{ id: 's1' }, { id: 's2' }] })
    const again = new News(disk, async () => [], T + 5)
    expect(again.ready(T)).toBeUndefined()
    expect(again.since(T + 1, T)).toMatchObject({ revision: T + 2, changes: [{ id: 's2' }] })
    expect(reads).toBe(1)
  })

  it('are asked for again where D1 failed, and a part is never kept for the whole', async () => {
    const disk = store()
    let away = true
    const read = async () => {
      if (away) throw new Error('D1 is away')
      return [change(1), change(2)]
    }
    const news = new News(disk, read, T)
    await news.ready(T)
    news.tell([change(2)], T)
    expect(disk.saved).toEqual({ saved: [], revision: null })
    expect(news.since(0, T).changes).toHaveLength(1)
    away = false
    expect(news.ready(T + 1_999)).toBeUndefined()
    await news.ready(T + 2_000)
    expect(new Set(news.since(0, T).changes.map(({ id }) => id))).toEqual(new Set(['s1', 's2']))
    expect(disk.saved.saved).toHaveLength(2)
  })

  it('keep no lease waiting for a D1 that hangs', async () => {
    const began = Date.now()
    await new News(store(), () => new Promise(() => undefined), T).ready(T)
    expect(Date.now() - began).toBeLessThan(1_000)
  })
})

import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { getTableName } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { tenantTables } from '../../src/data/columns'
import { sealDue } from '../../src/domains/audit/seal'
import { tendDeletions } from '../../src/domains/tenancy/deletions/service'
import { stepsOf, tablesInOrder } from '../../src/domains/tenancy/deletions/steps'
import type { Bindings } from '../../src/env'
import { newId } from '../../src/lib/ids'
import { seed } from '../contract/seeds'
import { expectError } from '../http/expect-error'
import { someone } from '../identity/kit'
import { call, callJson, makePlatformAdmin, makeWorld, type Person, type World } from '../world'

const DAY_MS = 24 * 3600_000
const waits = { waitUntil: () => {} }
const bindings = env as unknown as Bindings

type Deletion = {
  tenant_id: string
  status: string
  requested_by: string | null
  cancelled_at: string
  delete_after: string
  started_at: string | null
  finished_at: string | null
  removed: Record<string, number>
}

let platform: Person
beforeAll(async () => {
  // Tenants that other tests cancelled are not waited for.
  await env.DB.prepare(
    "update deletions set resume_at = '2999-01-01T00:00:00.000Z' where finished_at is null",
  ).run()
  platform = await makePlatformAdmin()
})

const asPlatform = <T = Record<string, unknown>>(method: string, path: string, body?: object) =>
  callJson<T>(method, path, { token: platform.token, ...(body ? { body } : {}) })
const tenantPath = (id: string) => `/api/platform/tenants/${id}`
const cancel = (id: string) => call('DELETE', tenantPath(id), { token: platform.token })
const deletionOf = async (id: string) =>
  (await asPlatform<Deletion>('GET', `/api/platform/deletions/${id}`)).data

/** Runs the cron's work at a time, until nothing is due any more. */
async function tend(at: number, over: Partial<Bindings> = {}): Promise<void> {
  for (let run = 0; run < 150; run++) {
    await tendDeletions({ ...bindings, ...over }, waits, at)
    const due = await env.DB.prepare(
      'select count(*) as n from deletions where finished_at is null and resume_at <= ?',
    )
      .bind(new Date(at).toISOString())
      .first<number>('n')
    if (due === 0) return
  }
  throw new Error('the deletions do not come to an end')
}

const inDays = (days: number) => Date.now() + days * DAY_MS

/** The tables there are. */
async function tableNames(): Promise<string[]> {
  const { results } = await env.DB.prepare(
    `select name from sqlite_master where type = 'table' and name not like 'sqlite_%' and name not like '_cf_%' and name <> 'd1_migrations'`,
  ).all<{ name: string }>()
  return results.map(({ name }) => name)
}

/** All that names a tenant, and what names none: rows of every table, files, entries of KV. */
async function everythingOf(tenantId: string): Promise<Record<string, string[]>> {
  const all: Record<string, string[]> = {}
  for (const name of await tableNames()) {
    const { results } = await env.DB.prepare(`select * from "${name}"`).all()
    const isTheirs = (row: string) => !tenantTables.has(name) || row.includes(tenantId)
    // Not what says who tries to log in, nor the report itself, nor the index of words, which has all tenants' in one.
    // Nor how far everybody’s events and interactions are counted.
    if (!/^(?:attempts|counting_marks|deletions|followers|tenants|\w+_words(?:_\w+)?)$/.test(name))
      all[name] = results.map((row) => JSON.stringify(row)).filter(isTheirs)
  }
  const tenant = await env.DB.prepare('select * from tenants where id = ?').bind(tenantId).first()
  all.tenants = [JSON.stringify(tenant)]
  const files = await env.FILES.list({ prefix: tenantId })
  all.objects = []
  for (const { key } of files.objects) all.objects.push(`${key} ${await (await env.FILES.get(key))?.text()}`)
  const entries = await env.KV.list()
  all.kv = entries.keys.map((entry) => JSON.stringify(entry)).filter((entry) => entry.includes(tenantId))
  return all
}

/** Which rows of tenants that are not cancelled there are. */
async function rowsOfOthers(): Promise<Set<string>> {
  const rows: string[] = []
  for (const table of tenantTables) {
    const { results: key } = await env.DB.prepare(
      `select name from pragma_table_info('${table}') where pk > 0`,
    ).all<{ name: string }>()
    const { results } = await env.DB.prepare(
      `select json_array(${key.map(({ name }) => `x."${name}"`).join(', ')}) as "row"
        from "${table}" as x join tenants as t on t.id = x.tenant_id and t.status <> 'cancelled'`,
    ).all<{ row: string }>()
    rows.push(...results.map(({ row }) => `${table} ${row}`))
  }
  const files = await env.FILES.list()
  return new Set([...rows, ...files.objects.map(({ key }) => key)])
}

/** Where the tenant is named still. */
async function tracesOf(tenantId: string): Promise<string[]> {
  const traces: string[] = []
  for (const table of [...tenantTables, 'tenants']) {
    const column = table === 'tenants' ? 'id' : 'tenant_id'
    const count = await env.DB.prepare(`select count(*) as n from ${table} where ${column} = ?`)
      .bind(tenantId)
      .first<number>('n')
    if (count !== 0) traces.push(table)
  }
  if ((await env.FILES.list({ prefix: tenantId })).objects.length > 0) traces.push('files')
  if ((await env.KV.list()).keys.some(({ name }) => name.includes(tenantId))) traces.push('kv')
  return traces
}

const stored = (stub: DurableObjectStub) =>
  runInDurableObject(stub, async (_, state) => ({
    tables: state.storage.sql
      .exec<{ name: string }>(`select name from sqlite_master where name not like '_cf_%'`)
      .toArray()
      .map(({ name }) => name),
    keys: (await state.storage.list()).size,
    alarm: await state.storage.getAlarm(),
  }))

describe('a cancelled tenant', { timeout: 60_000 }, () => {
  it('is refused at once, keeps its data for thirty days, and is on record', async () => {
    const world = await makeWorld()
    const id = world.tenant.id
    expect((await call('GET', '/api/v1/interactions', { key: world.apiKey })).status).toBe(200)
    const before = Date.now()
    expect((await cancel(id)).status).toBe(204)
    for (const credential of [{ token: world.admin.token }, { key: world.apiKey }])
      await expectError(call('GET', '/api/v1/interactions', credential), 'tenant_cancelled')
    expect((await asPlatform('GET', tenantPath(id))).data.status).toBe('cancelled')
    const deletion = await deletionOf(id)
    expect(deletion).toMatchObject({
      ...{ tenant_id: id, status: 'scheduled', requested_by: platform.user.id },
      ...{ started_at: null, finished_at: null, removed: {} },
    })
    const kept = Date.parse(deletion.delete_after) - Date.parse(deletion.cancelled_at)
    expect(kept).toBe(30 * DAY_MS)
    expect(Date.parse(deletion.cancelled_at)).toBeGreaterThanOrEqual(before)
    await tend(inDays(29.9))
    expect((await deletionOf(id)).status).toBe('scheduled')
    expect(await tracesOf(id)).toContain('users')
    const audit = await env.DB.prepare(
      `select action, actor_id from audit_log where tenant_id = ? and action like 'tenant.%'`,
    )
      .bind(id)
      .all()
    expect(audit.results).toEqual([{ action: 'tenant.cancel', actor_id: platform.user.id }])
    expect((await asPlatform<Deletion[]>('GET', '/api/admin/deletions')).data[0]?.tenant_id).toBe(id)
  })

  it('can’t be cancelled again, nor changed; nor can the platform’s own be cancelled', async () => {
    const { tenant } = await makeWorld()
    await cancel(tenant.id)
    await expectError(cancel(tenant.id), 'conflict')
    const patched = await asPlatform('PATCH', tenantPath(tenant.id), { name: 'Other' })
    expect([patched.status, patched.error.code]).toEqual([409, 'conflict'])
    await expectError(cancel(platform.user.tenant_id), 'conflict')
    await expectError(cancel(crypto.randomUUID()), 'not_found')
    expect((await asPlatform('GET', tenantPath(platform.user.tenant_id))).data.status).toBe('active')
  })

  it('goes on as it was where the cancellation is taken back in time', async () => {
    const world = await makeWorld()
    const id = world.tenant.id
    await cancel(id)
    expect((await asPlatform('PATCH', tenantPath(id), { status: 'suspended' })).data.status).toBe('suspended')
    await expectError(call('GET', '/api/v1/interactions', { key: world.apiKey }), 'tenant_suspended')
    await cancel(id)
    expect((await asPlatform('PATCH', tenantPath(id), { status: 'active' })).data.status).toBe('active')
    expect((await call('GET', '/api/v1/interactions', { key: world.apiKey })).status).toBe(200)
    const gone = await asPlatform('GET', `/api/platform/deletions/${id}`)
    expect(gone.status).toBe(404)
    await tend(inDays(31))
    expect((await call('GET', '/api/v1/interactions', { key: world.apiKey })).status).toBe(200)
    const { results } = await env.DB.prepare(
      `select action from audit_log where tenant_id = ? and action like 'tenant.%' order by seq`,
    )
      .bind(id)
      .all<{ action: string }>()
    expect(results.map(({ action }) => action)).toEqual([
      ...['tenant.cancel', 'tenant.restore', 'tenant.cancel', 'tenant.restore'],
    ])
  })

  it('can’t be taken up again once the deletion has begun', async () => {
    const { tenant } = await makeWorld()
    await cancel(tenant.id)
    await tendDeletions(bindings, waits, inDays(31))
    expect((await deletionOf(tenant.id)).status).toBe('running')
    const late = await asPlatform('PATCH', tenantPath(tenant.id), { status: 'active' })
    expect([late.status, late.error.code]).toEqual([409, 'conflict'])
    await tend(inDays(32))
    await tend(inDays(33))
    expect((await deletionOf(tenant.id)).status).toBe('done')
  })

  it('is one whose registration was replaced as well, and that can’t be taken back', async () => {
    const email = someone()
    const register = () =>
      callJson<{ tenant_id: string }>('POST', '/api/v1/auth/register', {
        body: { email, password: 'correct horse battery staple' },
      })
    await register()
    await register()
    const { results } = await env.DB.prepare(
      `select d.id, d.requested_by from deletions as d join users as u on u.tenant_id = d.id where u.email = ?`,
    )
      .bind(email)
      .all<{ id: string; requested_by: string | null }>()
    expect(results).toEqual([{ id: expect.any(String), requested_by: null }])
    const [replaced] = results
    const back = await asPlatform('PATCH', tenantPath(replaced?.id ?? ''), { status: 'active' })
    expect([back.status, back.error.code]).toEqual([409, 'conflict'])
  })

  it('is nobody’s who registers the address anew: then it can’t be taken back either', async () => {
    const body = { email: someone(), password: 'correct horse battery staple' }
    const register = () => callJson<{ tenant_id: string }>('POST', '/api/v1/auth/register', { body })
    const { tenant_id: id } = (await register()).data
    expect((await cancel(id)).status).toBe(204)
    const { delete_after } = await deletionOf(id)
    const again = await register()
    expect([again.status, again.data.tenant_id === id]).toEqual([201, false])
    expect(await deletionOf(id)).toMatchObject({ status: 'scheduled', requested_by: null, delete_after })
    const back = await asPlatform('PATCH', tenantPath(id), { status: 'active' })
    expect([back.status, back.error.code]).toEqual([409, 'conflict'])
    expect((await asPlatform('GET', tenantPath(again.data.tenant_id))).data.status).toBe('active')
  })
})

describe('the deletion', { timeout: 120_000 }, () => {
  let world: World
  let other: World
  const counts: Record<string, number | null> = {}
  let objects: Record<string, DurableObjectStub>

  beforeAll(async () => {
    const seeded = await seed()
    world = seeded.world
    other = (await seed()).world
    const id = world.tenant.id
    await env.FILES.put(`${id}/events/one`, 'a')
    await env.FILES.put(`${other.tenant.id}/events/one`, 'b')
    await env.KV.put(`retention:${id}`, 'x')
    await env.KV.put(`retention:${other.tenant.id}`, 'x')
    const chat = seeded.ids['/api/v1/chats/{id}']
    const endpoint = seeded.ids['/api/v1/webhooks/{id}'] ?? ''
    objects = {
      chat: env.CHATS.getByName(`${id}/${chat}`),
      endpoint: env.ENDPOINTS.getByName(`${id}/${endpoint}`),
      meter: env.METERS.getByName(id),
    }
    // Its object keeps what its attempts were answered, although nothing lists it any more.
    const gone = await call('DELETE', `/api/v1/webhooks/${endpoint}`, { token: world.admin.token })
    expect(gone.status).toBe(204)
    await cancel(id)
    await scheduler.wait(1_500)
    for (const table of ['users', 'chats', 'deliveries', 'sessions'])
      counts[table] = await env.DB.prepare(`select count(*) as n from ${table} where tenant_id = ?`)
        .bind(id)
        .first<number>('n')
    await tend(inDays(31))
  }, 90_000)

  it('was of everything outside of D1, which it found first', async () => {
    for (const [name, stub] of Object.entries(objects)) {
      // The schema that an object makes when it is looked at is all that is there.
      const { tables, keys, alarm } = await stored(stub)
      expect([name, keys, alarm]).toEqual([name, 0, null])
      expect([name, tables.filter((table) => /message|content|log|run/.test(table))]).toEqual([name, []])
    }
  })

  it('ends with the tenant’s own row, and leaves a report of what was removed', async () => {
    const id = world.tenant.id
    const between = await deletionOf(id)
    expect([between.status, between.finished_at]).toEqual(['running', null])
    // What was still on its way when it was gone through first.
    await env.KV.put(`retention:${id}`, 'late')
    await env.DB.prepare(
      `insert into events (tenant_id, id, type, channels, data, dispatched, timestamp) values (?, ?, 'late', '[]', '{}', 1, 'x')`,
    )
      .bind(id, `msg_${crypto.randomUUID()}`)
      .run()
    await tend(inDays(31) + 3 * 3600_000)
    expect(await tracesOf(id)).toEqual([])
    const deletion = await deletionOf(id)
    expect(deletion.status).toBe('done')
    expect(deletion.removed).toMatchObject({
      ...{
        ...counts,
        chat_objects: counts.chats,
        // The one that was deleted, and the one of the application.
        endpoint_objects: 2,
        tenants: 1,
        files: 2,
        kv_retention: 2,
      },
    })
    expect(counts.deliveries).toBeGreaterThan(0)
    expect(counts.chats).toBeGreaterThan(0)
    expect(Object.keys(deletion.removed).sort()).toEqual(
      [...stepsOf().map(({ name }) => name), 'tenants'].sort(),
    )
    expect((await asPlatform('GET', tenantPath(id))).status).toBe(404)
    // Whoever remembers the key refuses it by what he knows, everybody else knows no such key.
    expect([401, 403]).toContain((await call('GET', '/api/v1/interactions', { key: world.apiKey })).status)
  })

  it('leaves everything of others as it was, to the byte', async () => {
    const { world: victim } = await seed()
    await env.FILES.put(`${victim.tenant.id}/agents/a`, 'c')
    await cancel(victim.tenant.id)
    await scheduler.wait(2_000)
    // What the sealer would do at its own time, it has done.
    while ((await sealDue(bindings, waits, Date.now())) > 0);
    const before = await everythingOf(other.tenant.id)
    const all = await rowsOfOthers()
    const { results: gone } = await env.DB.prepare(`select id from tenants where status = 'cancelled'`).all<{
      id: string
    }>()
    expect(before.users?.join()).toContain(other.admin.user.email)
    expect(before.deliveries?.length).toBeGreaterThan(0)
    expect(before.objects).toHaveLength(2)
    expect(all.size).toBeGreaterThan(100)
    await tend(inDays(61))
    await tend(inDays(62))
    expect(await tracesOf(victim.tenant.id)).toEqual([])
    const after = await everythingOf(other.tenant.id)
    for (const [name, rows] of Object.entries(before)) expect([name, after[name]]).toEqual([name, rows])
    // Others may have gone on meanwhile, but nothing of theirs is missing.
    const still = await rowsOfOthers()
    const missing = [...all].filter((one) => !still.has(one) && !gone.some(({ id }) => one.startsWith(id)))
    expect(missing).toEqual([])
    expect((await call('GET', '/api/v1/chats', { token: other.admin.token })).status).toBe(200)
  })

  it('goes on where it was cut off, and counts nothing twice', async () => {
    const cut = await makeWorld()
    const id = cut.tenant.id
    for (let n = 0; n < 30; n++) await env.FILES.put(`${id}/events/${String(n).padStart(3, '0')}`, 'x')
    const rows = Array.from({ length: 1_203 }, () => crypto.randomUUID())
    await env.DB.prepare(
      `insert into interactions (tenant_id, id, type, metadata, occurred_at, created_at)
       select ?1, value, 'text', '{}', 'x', 'x' from json_each(?2)`,
    )
      .bind(id, JSON.stringify(rows))
      .run()
    await cancel(id)
    // R2 fails after it has deleted a part, as if the isolate had died there; then D1 fails at some batches.
    let failures = 0
    const FILES = {
      list: (options: R2ListOptions) => env.FILES.list({ ...options, limit: 7 }),
      delete: async (keys: string[]) => {
        const dies = failures++ % 3 === 0
        await env.FILES.delete(dies ? keys.slice(0, 3) : keys)
        if (dies) throw new Error('cut off')
      },
    } as unknown as R2Bucket
    let batches = 0
    const DB = new Proxy(env.DB, {
      get: (target, key) => {
        if (key === 'batch')
          return async (statements: D1PreparedStatement[]) => {
            if (++batches % 4 === 0) throw new Error('D1 is away')
            const done = await target.batch(statements)
            if (batches % 5 === 0) throw new Error('the answer was lost')
            return done
          }
        const value = Reflect.get(target, key) as unknown
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
    await tend(inDays(31), { FILES, DB })
    await tend(inDays(32), { FILES, DB })
    expect(failures).toBeGreaterThan(3)
    expect(await tracesOf(id)).toEqual([])
    const { removed, status } = await deletionOf(id)
    expect([status, removed.interactions, removed.files, removed.users, removed.api_keys]).toEqual([
      ...['done', 1_203, 30, 4, 1],
    ])
  })

  it('that fails holds up no other, and is tried again', async () => {
    const stuck = await Promise.all(Array.from({ length: 6 }, makeWorld))
    for (const { tenant } of stuck) await cancel(tenant.id)
    const { tenant } = await makeWorld()
    await cancel(tenant.id)
    const names = new Set(stuck.map((one) => one.tenant.id))
    const METERS = {
      getByName: (name: string) => {
        if (names.has(name)) throw new Error('out of reach')
        return env.METERS.getByName(name)
      },
    } as unknown as Bindings['METERS']
    // They are due before it, in every run, and go as far as their objects.
    for (let run = 0; run < 20; run++)
      await tendDeletions({ ...bindings, METERS }, waits, inDays(31) + run * 60_000)
    expect((await deletionOf(tenant.id)).removed.users).toBe(4)
    const [first] = stuck
    expect((await deletionOf(first?.tenant.id ?? '')).removed).not.toHaveProperty('users')
    await tend(inDays(32))
    await tend(inDays(33))
    for (const one of stuck) expect((await deletionOf(one.tenant.id)).status).toBe('done')
  })

  it('is of every object, however many there are', async () => {
    const { tenant, admin } = await makeWorld()
    const ids = Array.from({ length: 45 }, () => newId(Date.now()))
    await env.DB.prepare(
      `insert into chats (tenant_id, id, user_id, agent_id, tags, metadata, is_pinned, is_archived, message_count,
         last_activity_at, created_at, updated_at)
       select ?1, value, ?2, 'none', '[]', '{}', 0, 0, 0, 'x', 'x', 'x' from json_each(?3)`,
    )
      .bind(tenant.id, admin.user.id, JSON.stringify(ids))
      .run()
    // Endpoints that are long gone are known by the log alone.
    const gone = Array.from({ length: 25 }, () => newId(Date.now()))
    await env.DB.prepare(
      `insert into audit_log (tenant_id, seq, id, actor_kind, action, resource, resource_id, created_at)
       select ?1, 100 + key, value, 'user', 'endpoint.create', 'endpoint', value, 'x' from json_each(?2)`,
    )
      .bind(tenant.id, JSON.stringify(gone))
      .run()
    await cancel(tenant.id)
    const erased = { CHATS: new Set<string>(), ENDPOINTS: new Set<string>() }
    const watched = (kind: keyof typeof erased) => ({
      getByName: (name: string) => {
        erased[kind].add(name)
        const erase = async () => ({ value: undefined })
        // A chat’s object is told so, others are asked.
        return { erase, tell: erase }
      },
    })
    const over = { CHATS: watched('CHATS'), ENDPOINTS: watched('ENDPOINTS') }
    await tend(inDays(31), over as unknown as Partial<Bindings>)
    expect([...erased.CHATS].sort()).toEqual(ids.map((id) => `${tenant.id}/${id}`).sort())
    expect([...erased.ENDPOINTS].sort()).toEqual(gone.map((id) => `${tenant.id}/${id}`).sort())
    expect((await deletionOf(tenant.id)).removed).toMatchObject({ chat_objects: 45, endpoint_objects: 25 })
    await tend(inDays(32))
  })

  it('does no more in one run than an invocation may, however many are due', async () => {
    const worlds = await Promise.all(Array.from({ length: 3 }, makeWorld))
    for (const { tenant } of worlds) await cancel(tenant.id)
    let batches = 0
    const DB = new Proxy(env.DB, {
      get: (target, key) => {
        if (key === 'batch') batches += 1
        const value = Reflect.get(target, key) as unknown
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
    for (let run = 1; run <= 3; run++) {
      batches = 0
      await tendDeletions({ ...bindings, DB }, waits, inDays(31))
      expect(batches).toBeGreaterThan(0)
      expect(batches).toBeLessThanOrEqual(30)
    }
    await tend(inDays(31))
    await tend(inDays(32))
    for (const { tenant } of worlds) expect((await deletionOf(tenant.id)).status).toBe('done')
  })

  it('goes through everything again where something came last of all', async () => {
    const { tenant } = await makeWorld()
    await cancel(tenant.id)
    await tend(inDays(31))
    const late = (id: string) =>
      env.DB.prepare(`insert into idempotency_keys (tenant_id, principal, key, fingerprint, claim, created_at)
        values (?, 'x', ?, 'x', 'x', 'x')`).bind(id, crypto.randomUUID())
    let added = 0
    // Just before the tenant's own row would go.
    const DB = new Proxy(env.DB, {
      get: (target, key) => {
        const value = Reflect.get(target, key) as unknown
        if (key !== 'batch') return typeof value === 'function' ? value.bind(target) : value
        return async (statements: D1PreparedStatement[]) => {
          const { step } = (await env.DB.prepare('select step from deletions where id = ?')
            .bind(tenant.id)
            .first<{ step: string }>()) ?? { step: '' }
          if (step === 'end' && added++ === 0) await late(tenant.id).run()
          return target.batch(statements)
        }
      },
    })
    await tend(inDays(32), { DB })
    expect(added).toBeGreaterThan(1)
    expect(await tracesOf(tenant.id)).toEqual([])
    const { status, removed } = await deletionOf(tenant.id)
    expect([status, removed.idempotency_keys, removed.tenants]).toEqual(['done', 1, 1])
  })

  it('by two at once counts nothing twice', async () => {
    const { tenant } = await makeWorld()
    await cancel(tenant.id)
    for (let round = 0; round < 20; round++)
      await Promise.all([1, 2].map(() => tendDeletions(bindings, waits, inDays(31))))
    for (let round = 0; round < 20; round++)
      await Promise.all([1, 2].map(() => tendDeletions(bindings, waits, inDays(32))))
    const { removed, status } = await deletionOf(tenant.id)
    expect([status, removed.users, removed.sessions, removed.tenants]).toEqual(['done', 4, 4, 1])
  })

  it('does nothing to a tenant that is not cancelled, whatever its row says', async () => {
    const { tenant } = await makeWorld()
    await cancel(tenant.id)
    await env.DB.prepare(`update tenants set status = 'active' where id = ?`).bind(tenant.id).run()
    await tendDeletions(bindings, waits, inDays(31))
    expect(await tracesOf(tenant.id)).toContain('users')
    expect((await deletionOf(tenant.id)).removed).toEqual({})
    await env.DB.prepare('delete from deletions where id = ?').bind(tenant.id).run()
  })
})

describe('what is deleted', () => {
  const schema = async () =>
    (
      await env.DB.prepare(`select name, sql from sqlite_master where type = 'table'`).all<{
        name: string
        sql: string
      }>()
    ).results

  it('is every table that names a tenant', async () => {
    const naming = (await schema()).filter(({ sql }) => sql?.includes('`tenant_id`')).map(({ name }) => name)
    const order = tablesInOrder().map((table) => getTableName(table))
    expect(naming.length).toBeGreaterThan(25)
    expect(order.sort()).toEqual(naming.sort())
  })

  it('goes before what it refers to', async () => {
    const order = tablesInOrder().map((table) => getTableName(table))
    const references = (await schema()).flatMap(({ name, sql }) =>
      [...(sql ?? '').matchAll(/REFERENCES `(\w+)`/g)].map(([, parent = '']) => [name, parent] as const),
    )
    expect(references.length).toBeGreaterThan(5)
    for (const [child, parent] of references.filter((one) => tenantTables.has(one[1])))
      expect([child, parent, order.indexOf(child) < order.indexOf(parent)]).toEqual([child, parent, true])
  })

  it('begins with webhooks', () => {
    const first = stepsOf().slice(0, 3)
    expect(first.map(({ name }) => name).sort()).toEqual(['deliveries', 'endpoint_objects', 'endpoints'])
    expect(first[0]?.name).toBe('endpoint_objects')
  })

  it('is found by an index, table by table', async () => {
    for (const table of tablesInOrder().map((one) => getTableName(one))) {
      const { results } = await env.DB.prepare(
        `select group_concat(name, ', ') as key from (select name from pragma_table_info('${table}') where pk > 0 order by pk)`,
      ).all<{ key: string }>()
      const key = results[0]?.key
      const plan = await env.DB.prepare(
        `explain query plan delete from ${table} where tenant_id = ?1 and (${key}) in (select ${key} from ${table} where tenant_id = ?1 limit 500)`,
      )
        .bind('x')
        .all<{ detail: string }>()
      expect(plan.results.map(({ detail }) => detail).filter((detail) => /^SCAN/.test(detail))).toEqual([])
    }
  })
})

import { createExecutionContext, createScheduledController, waitOnExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, it, vi } from 'vitest'
import { headName } from '../../src/domains/audit/head'
import { sealDue, sealTenant } from '../../src/domains/audit/seal'
import type { SealRow } from '../../src/domains/audit/table'
import { verifyLog } from '../../src/domains/audit/verify'
import { tendKeys } from '../../src/domains/identity/tokens/chores'
import { sweep } from '../../src/domains/webhooks/deliveries/sweep'
import { type Bindings, settingsOf } from '../../src/env'
import worker from '../../src/index'
import { log } from '../../src/lib/log'
import type { World } from '../world'
import { byHand, makeLogless, record, rows, sealedLog, verify } from './kit'

const waiting = { waitUntil: () => undefined }
const sealsOf = (world: World) =>
  rows<SealRow>('select * from audit_seals where tenant_id = ? order by number', world.tenant.id)
const marksOf = (world: World) => rows('select * from audit_unsealed where tenant_id = ?', world.tenant.id)

describe('rows', () => {
  it('are numbered from one without a gap, however many write at once, in each tenant by itself', async () => {
    const [world, other] = [await makeLogless(), await makeLogless()]
    await Promise.all(Array.from({ length: 20 }, (_, i) => record(i % 2 ? world.ctx : other.ctx, { i })))
    for (const { tenant } of [world, other])
      expect(await rows('select seq from audit_log where tenant_id = ? order by seq', tenant.id)).toEqual(
        Array.from({ length: 10 }, (_, i) => ({ seq: i + 1 })),
      )
  })

  it('cost their own row, the key, five indexes and no look at others', async () => {
    const world = await makeLogless()
    await sealedLog(world, [30])
    const insert = env.DB.prepare(
      `insert into audit_log (tenant_id, seq, id, actor_kind, action, resource, resource_id, created_at)
       values (?1, coalesce(cast((select max("seq") from "audit_log" where ("audit_log"."tenant_id" = ?1
       and "audit_log"."seq" <= 9007199254740990)) as integer), 0) + 1,
       'x', 'system', 'a.b', 'a', 'b', 'c')`,
    ).bind(world.tenant.id)
    const { meta } = await insert.run()
    expect([meta.rows_read, meta.rows_written]).toEqual([1, 7])
  })
})

describe('the sealer', () => {
  it('seals what stands, each seal over the one before, and takes the mark away', async () => {
    const world = await makeLogless()
    await sealedLog(world, [3, 2], 1)
    const seals = await sealsOf(world)
    expect(seals).toMatchObject([
      { number: 1, first_seq: 1, last_seq: 3, previous: '' },
      { number: 2, first_seq: 4, last_seq: 5, previous: seals[0]?.seal },
    ])
    expect(await marksOf(world)).toHaveLength(1)
    const lines = vi.spyOn(console, 'log').mockImplementation(() => undefined)
    log.setLevel('info')
    await sealTenant(world.ctx)
    log.setLevel('silent')
    // The head goes to the log too, which whoever changes the database can't change.
    const told = lines.mock.calls
      .map(([line]) => String(line))
      .filter((line) => line.includes('audit_sealed'))
    lines.mockRestore()
    expect(told.map((line) => JSON.parse(line))).toMatchObject([
      { tenant_id: world.tenant.id, number: 3, last_seq: 6, seal: (await sealsOf(world))[2]?.seal },
    ])
    expect([await marksOf(world), (await sealsOf(world)).length]).toEqual([[], 3])
    expect(JSON.parse((await env.KV.get(headName(world.tenant.id))) ?? '')).toMatchObject({
      ...{ tenant_id: world.tenant.id, number: 3, last_seq: 6 },
    })
    expect(await verify(world)).toMatchObject({ status: 'intact', rows: 6, seals: 3, unsealed: 0 })
  })

  it('makes one chain where several run at once, and none for nothing', async () => {
    const world = await makeLogless()
    await sealedLog(world, [], 7)
    await Promise.all([sealTenant(world.ctx), sealTenant(world.ctx), sealTenant(world.ctx)])
    await sealTenant(world.ctx)
    expect((await sealsOf(world)).map(({ number, last_seq }) => [number, last_seq])).toEqual([[1, 7]])
    expect(await verify(world)).toMatchObject({ status: 'intact', findings: [] })
  })

  it('takes a log in ranges of five hundred', async () => {
    const world = await makeLogless()
    await byHand(
      world,
      `insert into audit_log (tenant_id, seq, id, actor_kind, action, resource, resource_id, created_at)
       select ?1, value, 'id', 'system', 'thing.change', 'thing', 'x', '2026-01-01T00:00:00.000Z'
       from json_each('[${Array.from({ length: 1_200 }, (_, i) => i + 1).join()}]')`,
    )
    await sealTenant(world.ctx)
    expect((await sealsOf(world)).map(({ last_seq }) => last_seq)).toEqual([500, 1000, 1200])
    expect(await verify(world)).toMatchObject({ status: 'intact', rows: 1200, seals: 3, unsealed: 0 })
  })

  it('leaves what is young, and what comes while it works, to the next time', async () => {
    const world = await makeLogless()
    await sealedLog(world, [], 2)
    const bindings = env as unknown as Bindings
    await byHand(world, "update audit_unsealed set since = '2020-01-01T00:00:00.000Z' where tenant_id = ?")
    await sealDue(bindings, waiting, Date.parse('2019-01-01'))
    expect(await sealsOf(world)).toEqual([])
    // Written once the sealer has read what stands.
    const racing: World['ctx'] = {
      ...world.ctx,
      db: new Proxy(world.ctx.db, {
        get: (db, name) =>
          name === 'batch'
            ? async (statements: never) => {
                if ((await sealsOf(world)).length === 0) await record(world.ctx, { late: true })
                return db.batch(statements)
              }
            : Reflect.get(db, name, db),
      }),
    }
    await sealTenant(racing)
    const seals = await sealsOf(world)
    expect(seals).toMatchObject([{ first_seq: 1, last_seq: 2 }])
    expect(await marksOf(world)).toHaveLength(1)
    expect(await verify(world)).toMatchObject({ status: 'intact', unsealed: 1 })
  })

  it('works for the sweeper on what has waited twenty seconds, and for cron on all there is', async () => {
    const [world, other] = [await makeLogless(), await makeLogless()]
    const sealed = async ({ tenant }: World) =>
      (await rows('select seal from audit_seals where tenant_id = ?', tenant.id)).length
    const bindings = env as unknown as Bindings
    // However much other tests left behind.
    while ((await sealDue(bindings, waiting, Date.now())) > 0);
    const later = (ms: number) => sweep(bindings, waiting, Date.now() + ms)
    await sealedLog(world, [], 1)
    await later(15_000)
    expect(await sealed(world)).toBe(0)
    await later(21_000)
    expect(await sealed(world)).toBe(1)
    await sealedLog(other, [], 1)
    const ctx = createExecutionContext()
    const minute = Date.UTC(2026, 0, 1, 0, 30)
    const controller = createScheduledController({ scheduledTime: new Date(minute), cron: '* * * * *' })
    await worker.scheduled(controller, bindings, ctx)
    await waitOnExecutionContext(ctx)
    expect(await sealed(other)).toBe(1)
  })

  it('keeps the mark until the head is kept: a KV that is away, or a crash, is made up for', async () => {
    const world = await makeLogless()
    await sealedLog(world, [2], 2)
    let puts = 0
    const KV = {
      get: (name: string) => env.KV.get(name),
      put: async () => {
        puts += 1
        throw new Error('429')
      },
    }
    const bindings = { ...world.ctx.env, KV } as unknown as Bindings
    await expect(sealTenant({ ...world.ctx, env: bindings })).rejects.toThrow('429')
    const head = async () => JSON.parse((await env.KV.get(headName(world.tenant.id))) ?? '') as object
    expect([puts, (await sealsOf(world)).length, (await marksOf(world)).length]).toEqual([1, 2, 1])
    expect(await head()).toMatchObject({ number: 1 })
    await sealTenant(world.ctx)
    expect(await marksOf(world)).toEqual([])
    expect(await head()).toMatchObject({ number: 2, last_seq: 4 })
  })

  it('writes the head once, however many seals it makes: KV takes one write a second of a name', async () => {
    const world = await makeLogless()
    await byHand(
      world,
      `insert into audit_log (tenant_id, seq, id, actor_kind, action, resource, resource_id, created_at)
       select ?1, value, 'id', 'system', 'thing.change', 'thing', 'x', '2026-01-01T00:00:00.000Z'
       from json_each('[${Array.from({ length: 1_200 }, (_, i) => i + 1).join()}]')`,
    )
    const names: string[] = []
    const KV = {
      get: (name: string) => env.KV.get(name),
      put: (name: string, text: string) => {
        names.push(name)
        return env.KV.put(name, text)
      },
    }
    await sealTenant({ ...world.ctx, env: { ...world.ctx.env, KV } as unknown as Bindings })
    expect([names, (await sealsOf(world)).length]).toEqual([[headName(world.tenant.id)], 3])
  })

  it('keeps the head of seals that are gone', async () => {
    const world = await makeLogless()
    await sealedLog(world, [2, 2])
    const [, second] = await sealsOf(world)
    await byHand(world, 'delete from audit_seals where tenant_id = ? and number = 2')
    await record(world.ctx)
    await sealTenant(world.ctx)
    expect(JSON.parse((await env.KV.get(headName(world.tenant.id))) ?? '')).toMatchObject({
      seal: second?.seal,
    })
  })
})

describe('seals', () => {
  it('outlive the master key they were made under', async () => {
    const world = await makeLogless()
    await sealedLog(world, [2])
    const old = settingsOf(world.ctx.env).MASTER_KEY
    const under = (key: string, previous: string) =>
      ({ ...world.ctx.env, MASTER_KEY: key, MASTER_KEY_PREVIOUS: previous }) as Bindings
    const [next, last] = [
      'the_next_master_key_of_these_tests_0123456789',
      'the_last_master_key_of_these_tests_0123456789',
    ]
    const look = (bindings: Bindings) =>
      verifyLog({ ...world.ctx, env: bindings, settings: settingsOf(bindings) }, undefined)
    expect(await look(under(next, ''))).toMatchObject({
      status: 'broken',
      findings: [{ code: 'key_unknown', seal: 1, first_seq: 1, last_seq: 2 }],
    })
    expect(await look(under(next, old))).toMatchObject({ status: 'intact' })
    await tendKeys(under(next, old), Date.now())
    const changed = under(next, '')
    await record(world.ctx)
    await sealTenant({ ...world.ctx, env: changed, settings: settingsOf(changed) })
    expect(await look(changed)).toMatchObject({ status: 'intact', seals: 2 })
    await tendKeys(under(last, next), Date.now())
    expect(await look(under(last, ''))).toMatchObject({ status: 'intact', seals: 2 })
    // The tests' own key, for whoever comes next.
    await tendKeys(under(old, last), Date.now())
    expect(await look(world.ctx.env)).toMatchObject({ status: 'intact' })
  })
})

import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { headName } from '../../src/domains/audit/head'
import { sealTenant } from '../../src/domains/audit/seal'
import { verifyLog } from '../../src/domains/audit/verify'
import { encodeCursor } from '../../src/lib/cursor'
import { callJson, makeWorld, type World } from '../world'
import { byHand, makeLogless, record, sealedLog, verify } from './kit'

/** Rows 1–3 and 4–6 under two seals, and 7–8 under none. */
async function aLog(): Promise<World> {
  const world = await makeLogless()
  await sealedLog(world, [3, 3], 2)
  return world
}

const COLUMNS = 'id, actor_kind, action, resource, resource_id, created_at'
const copy = (seq: string) =>
  `insert into audit_log (tenant_id, seq, ${COLUMNS})
   select tenant_id, ${seq}, ${COLUMNS} from audit_log where tenant_id = ? and seq = 2`

const UPDATES: [string, string][] = [
  ['action', "'thing.harmless'"],
  ['actor_id', "'somebody-else'"],
  ['actor_kind', "'system'"],
  ['impersonator_id', "'nobody'"],
  ['resource_id', "'thing-2'"],
  ['address', 'null'],
  ['user_agent', "''"],
  ['request_id', "'req_x'"],
  ['before', "'{}'"],
  ['after', `'{"i": 1}'`],
  ['created_at', "'2020-01-01T00:00:00.000Z'"],
]

type Found = [code: string, seal: number | null, first: number, last: number]

/** What is done by hand to a log, and what is found of it. */
const HARM: [string, string[], Found[]][] = [
  [
    'a row in the middle removed',
    ['delete from audit_log where tenant_id = ? and seq = 2'],
    [['row_missing', 1, 2, 2]],
  ],
  [
    'the first row removed',
    ['delete from audit_log where tenant_id = ? and seq = 1'],
    [['row_missing', 1, 1, 1]],
  ],
  [
    'the last sealed row removed',
    ['delete from audit_log where tenant_id = ? and seq = 6'],
    [['row_missing', 2, 6, 6]],
  ],
  [
    'an unsealed row removed',
    ['delete from audit_log where tenant_id = ? and seq = 7'],
    [['row_missing', null, 7, 7]],
  ],
  [
    'all rows removed',
    ['delete from audit_log where tenant_id = ?'],
    [
      ['row_missing', 1, 1, 3],
      ['row_missing', 2, 4, 6],
    ],
  ],
  ['a row added before the first', [copy('0')], [['row_unexpected', 1, 0, 0]]],
  ['a row squeezed in between', [copy('2.5')], [['row_unexpected', 1, 2.5, 2.5]]],
  ['a row squeezed in between two seals', [copy('3.5')], [['row_unexpected', 2, 3.5, 3.5]]],
  ['a row with no number at all', [copy("'x'")], [['row_unexpected', null, 9, 9]]],
  [
    'two rows in each other’s place',
    [
      'update audit_log set seq = 99 where tenant_id = ? and seq = 1',
      'update audit_log set seq = 1 where tenant_id = ? and seq = 2',
      'update audit_log set seq = 2 where tenant_id = ? and seq = 99',
    ],
    [['altered', 1, 1, 3]],
  ],
  [
    'two rows of two seals in each other’s place',
    [
      'update audit_log set seq = 99 where tenant_id = ? and seq = 3',
      'update audit_log set seq = 3 where tenant_id = ? and seq = 4',
      'update audit_log set seq = 4 where tenant_id = ? and seq = 99',
    ],
    [
      ['altered', 1, 1, 3],
      ['altered', 2, 4, 6],
    ],
  ],
  [
    'the first seal removed',
    ['delete from audit_seals where tenant_id = ? and number = 1'],
    [['seal_missing', 1, 1, 3]],
  ],
  [
    'the last seal removed',
    ['delete from audit_seals where tenant_id = ? and number = 2'],
    [['seal_missing', 2, 4, 6]],
  ],
  [
    'the end cut off, seals and all',
    [
      'delete from audit_seals where tenant_id = ? and number = 2',
      'delete from audit_log where tenant_id = ? and seq > 3',
    ],
    [['seal_missing', 2, 4, 6]],
  ],
  [
    'everything cut off',
    ['delete from audit_seals where tenant_id = ?', 'delete from audit_log where tenant_id = ?'],
    [['seal_missing', 1, 1, 6]],
  ],
  [
    'a seal changed',
    ["update audit_seals set seal = 'AAAA' where tenant_id = ? and number = 1"],
    [
      ['altered', 1, 1, 3],
      ['seal_altered', 2, 4, 6],
    ],
  ],
  [
    'a seal that says it covers less',
    [
      'update audit_seals set last_seq = 5 where tenant_id = ? and number = 2',
      'delete from audit_log where tenant_id = ? and seq = 6',
    ],
    [
      ['altered', 2, 4, 5],
      ['row_missing', null, 6, 6],
    ],
  ],
  [
    'a seal under a key that nobody has',
    ["update audit_seals set key_id = 'unknown_' where tenant_id = ? and number = 2"],
    [['key_unknown', 2, 4, 6]],
  ],
]

async function found(world: World): Promise<Found[]> {
  const { status, findings } = await verify(world)
  expect(status).toBe(findings.length > 0 ? 'broken' : 'intact')
  return findings.map(({ code, seal, first_seq, last_seq }) => [code, seal, first_seq, last_seq])
}

describe('a log that is verified', () => {
  it('is intact where nobody was at it', async () => {
    const world = await aLog()
    const { head, ...rest } = await verify(world)
    expect(rest).toEqual({
      ...{ status: 'intact', rows: 8, seals: 2, unsealed: 2, sealed_through: 6, findings: [] },
      next_cursor: null,
    })
    expect(head).toMatchObject({ number: 2, last_seq: 6 })
  })

  for (const [column, value] of UPDATES)
    it(`tells of a row whose ${column} was changed`, async () => {
      const world = await aLog()
      await byHand(world, `update audit_log set ${column} = ${value} where tenant_id = ? and seq = 5`)
      expect(await found(world)).toEqual([['altered', 2, 4, 6]])
    })

  for (const [what, statements, expected] of HARM)
    it(`tells of ${what}`, async () => {
      const world = await aLog()
      await byHand(world, ...statements)
      expect(await found(world)).toEqual(expected)
    })

  const ODD = ["'x'", "x'00'", '2.5', '8.5', '-5', '9007199254740993', '9223372036854775807']
  for (const seq of ODD)
    it(`goes on beside a row under the number ${seq}, and forgets it once it is taken away`, async () => {
      const world = await aLog()
      await byHand(world, copy(seq))
      for (let i = 0; i < 2; i++) {
        await record(world.ctx)
        await sealTenant(world.ctx)
        expect((await found(world)).map(([code]) => code)).toEqual(['row_unexpected'])
      }
      const mark = await env.DB.prepare('select * from audit_unsealed where tenant_id = ?')
        .bind(world.tenant.id)
        .first()
      expect(mark).toBe(null)
      await byHand(
        world,
        `delete from audit_log where tenant_id = ? and (typeof(seq) <> 'integer' or seq < 1 or seq > 1000)`,
      )
      expect(await verify(world)).toMatchObject({ status: 'intact', rows: 10, unsealed: 0 })
    })

  for (const [column, value] of [
    ['number', "'x'"],
    ['number', '1.5'],
    ['first_seq', "x'00'"],
    ['last_seq', "'x'"],
    ['last_seq', '5.5'],
    ['last_seq', '-1'],
    ['last_seq', '9223372036854775807'],
    ['seal', "x'00'"],
    ['previous', "x'00'"],
    ['key_id', "x'00'"],
    ['created_at', 'null'],
  ])
    it(`says that it is broken where a seal’s ${column} is ${value}`, async () => {
      const world = await aLog()
      const change = `update or ignore audit_seals set ${column} = ${value} where tenant_id = ? and number = 2`
      await byHand(world, column === 'created_at' ? change.replace('null', "'x'") : change)
      expect((await verify(world)).status).toBe('broken')
    })

  it('tells of rows whose seal is kept away', async () => {
    const world = await aLog()
    const MINUTE = 60_000
    const look = async (ms: number) =>
      (await verifyLog({ ...world.ctx, now: Date.now() + ms }, undefined)).findings
    const overdue = [{ code: 'seal_overdue', seal: null, first_seq: 7, last_seq: 8 }]
    // A service that was down for a while has the mark, and seals.
    expect(await look(23 * 60 * MINUTE)).toEqual([])
    expect(await look(25 * 60 * MINUTE)).toEqual(overdue)
    await byHand(world, "update audit_unsealed set since = '9999-01-01T00:00:00.000Z' where tenant_id = ?")
    expect([await look(9 * MINUTE), await look(11 * MINUTE)]).toEqual([[], overdue])
    await byHand(world, 'delete from audit_unsealed where tenant_id = ?')
    expect([await look(9 * MINUTE), await look(11 * MINUTE)]).toEqual([[], overdue])
    await sealTenant(world.ctx)
    expect(await look(25 * 60 * MINUTE)).toEqual([])
  })

  it('tells of an end that was cut off and grown again', async () => {
    const world = await aLog()
    await byHand(
      world,
      'delete from audit_seals where tenant_id = ? and number = 2',
      'delete from audit_log where tenant_id = ? and seq > 3',
    )
    await record(world.ctx, { i: 'another' })
    await sealTenant(world.ctx)
    expect(await found(world)).toEqual([['seal_altered', 2, 4, 6]])
    await record(world.ctx)
    await sealTenant(world.ctx)
    expect(await found(world)).toEqual([['seal_altered', 2, 4, 6]])
  })

  it('tells of another tenant’s rows and seals in the place of its own', async () => {
    const [world, other] = [await aLog(), await aLog()]
    await byHand(
      world,
      'delete from audit_log where tenant_id = ?',
      'delete from audit_seals where tenant_id = ?',
    )
    await env.DB.batch(
      ['audit_log', 'audit_seals'].map((table) =>
        env.DB.prepare(`update ${table} set tenant_id = ? where tenant_id = ?`).bind(
          world.tenant.id,
          other.tenant.id,
        ),
      ),
    )
    expect(await found(world)).toEqual([
      ['altered', 1, 1, 3],
      ['altered', 2, 4, 6],
      ['seal_altered', 2, 4, 6],
    ])
  })

  it('tells of a head that is gone, once it must be everywhere', async () => {
    const world = await aLog()
    await env.KV.delete(headName(world.tenant.id))
    expect(await found(world)).toEqual([])
    await sealTenant(world.ctx)
    expect((await verify(world)).head).toMatchObject({ number: 3 })
    await env.KV.put(headName(world.tenant.id), 'nonsense')
    const late = { ...world.ctx, now: Date.now() + 600_000 }
    expect((await verifyLog(late, undefined)).findings).toMatchObject([{ code: 'head_missing', seal: 3 }])
  })

  it('tells at the next seal of what was added by nobody, and never forgets a gap', async () => {
    const world = await aLog()
    await byHand(world, 'delete from audit_log where tenant_id = ? and seq = 7')
    await record(world.ctx)
    await sealTenant(world.ctx)
    expect(await found(world)).toEqual([['row_missing', 3, 7, 7]])
  })

  it('is looked through in parts where it is long', { timeout: 60_000 }, async () => {
    const world = await makeLogless()
    const rows = Array.from({ length: 12_600 }, (_, i) => i + 1).join()
    await byHand(
      world,
      `insert into audit_log (tenant_id, seq, id, actor_kind, action, resource, resource_id, created_at)
       select ?1, value, 'id', 'system', 'thing.change', 'thing', 'x', '2026-01-01T00:00:00.000Z'
       from json_each('[${rows}]')`,
    )
    await sealTenant(world.ctx)
    await sealTenant(world.ctx)
    const first = await verify(world)
    expect(first).toMatchObject({ status: 'intact', rows: 10_000, seals: 20, sealed_through: 10_000 })
    const second = await verify(world, first.next_cursor ?? '')
    expect(second).toMatchObject({ status: 'intact', rows: 2_600, seals: 6, next_cursor: null })
    await byHand(world, "update audit_log set action = 'thing.other' where tenant_id = ? and seq = 12001")
    expect(await verify(world)).toMatchObject({ status: 'intact' })
    expect(await verify(world, first.next_cursor ?? '')).toMatchObject({
      status: 'broken',
      findings: [{ code: 'altered', seal: 25, first_seq: 12_001, last_seq: 12_500 }],
    })
  })

  it('is nobody else’s: neither its cursor, nor without the scope', async () => {
    const [world, other] = [await aLog(), await makeWorld()]
    const list = `audit-verify:${world.tenant.id}`
    for (const cursor of [
      'WyJub25zZW5zZSIsMSwiMSJd',
      encodeCursor(list, { key: 'x', id: '3:x' }),
      encodeCursor(list, { key: -1, id: '3:x' }),
      encodeCursor(list, { key: 1, id: 'x:x' }),
      encodeCursor(list, { key: 1e300, id: '1e300:x' }),
    ]) {
      const path = `/api/v1/audit/verify?cursor=${cursor}`
      const { error } = await callJson('GET', path, { token: world.admin.token })
      expect([cursor, error?.code]).toEqual([cursor, 'validation_failed'])
    }
    const { data } = await callJson('GET', '/api/v1/audit/verify', { token: other.admin.token })
    expect(data).toMatchObject({ status: 'intact', rows: 1, seals: 0, head: null })
  })
})

import { env } from 'cloudflare:workers'
import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { type Change, commit } from '../../src/data/commit'
import type { IdempotencyClaim } from '../../src/data/context'
import { send } from '../catalog/items/kit'
import { makeWorld, requestContext, type World } from '../world'

// A row of D1 ends at 2 MB.

const kept = (world: World) =>
  env.DB.prepare('select status, length(body) as length from idempotency_keys where tenant_id = ?')
    .bind(world.tenant.id)
    .first<{ status: number; length: number }>()

/** One item with many fields that there are not: each is named in the answer. */
const unknown = (count: number, nameOf: (n: number) => string) =>
  JSON.stringify({
    ...{ external_id: 'one', title: 'One' },
    ...Object.fromEntries(Array.from({ length: count }, (_, n) => [nameOf(n), 1])),
  })

describe('an answer that is longer than a row', { timeout: 30_000 }, () => {
  it('is kept for its key all the same, and given again whole', async () => {
    const world = await makeWorld()
    const key = { 'Idempotency-Key': crypto.randomUUID() }
    const body = unknown(60_000, (n) => `field_${n}`)
    const first = await send(world, 'application/json', body, key)
    expect([first.status, Object.keys(first.error.details.fields ?? {}).length]).toEqual([422, 60_000])
    expect(JSON.stringify(first.error).length).toBeGreaterThan(2_000_000)
    expect((await kept(world))?.length).toBeLessThan(1_300_000)
    const again = await send(world, 'application/json', body, key)
    expect([again.status, again.headers.get('Idempotency-Replayed')]).toEqual([422, 'true'])
    expect(again.error.details).toEqual(first.error.details)
  })

  it('and can’t be packed is not, where it refuses: a repeat gets it again anyway', async () => {
    const world = await makeWorld()
    const key = { 'Idempotency-Key': crypto.randomUUID() }
    const body = unknown(60_000, () => randomBytes(24).toString('hex'))
    for (let i = 0; i < 2; i++) {
      const refused = await send(world, 'application/json', body, key)
      expect([refused.status, refused.error.code]).toEqual([422, 'validation_failed'])
      expect(refused.headers.get('Idempotency-Replayed')).toBeNull()
    }
    // It stands for nothing yet.
    expect((await send(world, 'application/json', '{"external_id":"one","title":"One"}', key)).status).toBe(
      201,
    )
  })

  it('and can’t be packed is no change’s: nothing is written', async () => {
    const world = await makeWorld()
    const changed = async (result: string) => {
      const claim: IdempotencyClaim = {
        ...{ tenant_id: world.tenant.id, principal: 'user:x', key: crypto.randomUUID() },
        ...{ fingerprint: 'x', claim: crypto.randomUUID(), claimed: false, finished: false },
        render: (value) => ({ status: 200, headers: {}, body: String(value), secret: false }),
      }
      const audit = { action: 'test.long', resource: 'test', resource_id: world.tenant.id }
      const change: Change<string> = { statements: [], audit, result }
      await commit({ ...world.ctx, ...requestContext(), idempotency: claim } as typeof world.ctx, change)
    }
    const written = () =>
      env.DB.prepare("select count(*) as n from audit_log where tenant_id = ? and action = 'test.long'")
        .bind(world.tenant.id)
        .first<number>('n')
    const random = Array.from({ length: 50 }, () => randomBytes(30_000).toString('hex')).join('')
    await expect(changed(random)).rejects.toMatchObject({
      status: 413,
      code: 'body_too_large',
    })
    expect(await written()).toBe(0)
    await changed('x'.repeat(3_000_000))
    expect(await written()).toBe(1)
    expect((await kept(world))?.length).toBeLessThan(10_000)
  })
})

it('a bulk names as many of its errors as an answer has room for', { timeout: 30_000 }, async () => {
  const world = await makeWorld()
  const bad = (_: unknown, line: number) => JSON.parse(unknown(100, (n) => `line_${line}_field_${n}`))
  const good = { external_id: 'good', title: 'Good' }
  const text = [...Array.from({ length: 400 }, bad), good].map((line) => JSON.stringify(line)).join('\n')
  const { status, data } = await send(world, 'application/x-ndjson', text)
  expect([status, data.created, data.failed]).toEqual([200, 1, 400])
  expect(data.errors.length).toBeGreaterThan(10)
  expect(JSON.stringify(data.errors).length).toBeLessThan(256 * 1024 + 1_000)
})

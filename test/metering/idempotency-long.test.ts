import { env } from 'cloudflare:workers'
import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { send } from '../catalog/items/kit'
import { makeWorld, type World } from '../world'

// A row of D1 ends at 2 MB; a request that gets more with a key gets the same without one.

const NDJSON = 'application/x-ndjson'
const kept = (world: World) =>
  env.DB.prepare('select status, length(body) as length from idempotency_keys where tenant_id = ?')
    .bind(world.tenant.id)
    .first<{ status: number; length: number }>()

/** Lines that are refused, each for many fields, and a good one. */
const lines = (count: number, nameOf: (n: number) => string) =>
  [
    ...Array.from({ length: count }, (_, line) => {
      const unknown = Array.from({ length: 150 }, (_, n) => [nameOf(n), 1])
      return { external_id: `bad-${line}`, title: 'Bad', ...Object.fromEntries(unknown) }
    }),
    { external_id: 'good', title: 'Good' },
  ]
    .map((line) => JSON.stringify(line))
    .join('\n')

describe('an answer that is longer than a row', { timeout: 30_000 }, () => {
  it('is kept for its key all the same, and given again whole', async () => {
    const world = await makeWorld()
    const key = { 'Idempotency-Key': crypto.randomUUID() }
    const text = lines(1_000, (n) => `field_${n}`)
    const first = await send(world, NDJSON, text, key)
    expect([first.status, first.data.created, first.data.errors.length]).toEqual([200, 1, 1_000])
    expect(JSON.stringify(first.data).length).toBeGreaterThan(2_000_000)
    expect((await kept(world))?.length).toBeLessThan(500_000)
    const again = await send(world, NDJSON, text, key)
    expect([again.status, again.headers.get('Idempotency-Replayed')]).toEqual([200, 'true'])
    expect(again.data).toEqual(first.data)
  })

  it('is refused where it is too long even so, and nothing is done', async () => {
    const world = await makeWorld()
    const key = { 'Idempotency-Key': crypto.randomUUID() }
    const text = lines(500, () => randomBytes(24).toString('hex'))
    const refused = await send(world, NDJSON, text, key)
    expect([refused.status, refused.error.code]).toEqual([413, 'body_too_large'])
    expect(refused.error.message).toContain('without one')
    const bare = await send(world, NDJSON, text)
    expect([bare.status, bare.data.created]).toEqual([200, 1])
  })

  it('that refuses is given anew where it is too long even so', async () => {
    const world = await makeWorld()
    const key = { 'Idempotency-Key': crypto.randomUUID() }
    const unknown = Array.from({ length: 60_000 }, () => [randomBytes(24).toString('hex'), 1])
    const body = JSON.stringify({ external_id: 'one', title: 'One', ...Object.fromEntries(unknown) })
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
})

import { env } from 'cloudflare:workers'
import { Webhook } from 'standardwebhooks'
import { describe, expect, it } from 'vitest'
import { retainTenant } from '../../src/domains/webhooks/retention/service'
import { base64 } from '../../src/lib/encoding'
import { callJson, makeWorld, type World } from '../world'
import { connect, makeEndpoint, send, settled } from './deliver'
import { eventually } from './receiver'

const URL = 'https://example.com/hook'
const DAY_MS = 86_400_000

type Rotated = { secret: string; previous_expires_at: string | null }

const rotate = (world: World, id: string, body: unknown = {}, headers = {}) =>
  callJson<Rotated>('POST', `/api/v1/webhooks/${id}/secret/rotate`, {
    ...{ token: world.developer.token, body, headers },
  })

const own = (size: number) => `whsec_${base64(crypto.getRandomValues(new Uint8Array(size)))}`

const stored = async (id: string) => {
  const row = await env.DB.prepare('select secrets from endpoints where id = ?')
    .bind(id)
    .first<string>('secrets')
  return JSON.parse(row ?? '[]') as { sealed: string; expires_at: string | null }[]
}

/** As if the overlaps that stand had ended. */
const pass = async (id: string) => {
  const past = (await stored(id)).map((one) => ({
    ...one,
    expires_at: one.expires_at && '2020-01-01T00:00:00.000Z',
  }))
  await env.DB.prepare('update endpoints set secrets = ? where id = ?').bind(JSON.stringify(past), id).run()
}

const signs = (secret: string, { body, headers }: { body: string; headers: Record<string, string> }) => {
  try {
    return new Webhook(secret).verify(body, headers) !== undefined
  } catch {
    return false
  }
}

describe('a signing secret that is rotated', { timeout: 20_000 }, () => {
  it('signs beside the one before until the overlap has ended, and alone from then on', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{}, {}, {}])
    const now = Date.now()
    const { status, data } = await rotate(world, endpoint.id)
    expect(status).toBe(200)
    expect(data.secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/)
    expect(data.secret).not.toBe(endpoint.secret)
    const ends = Date.parse(data.previous_expires_at ?? '')
    expect(ends - now).toBeGreaterThan(DAY_MS - 1)
    expect(ends - now).toBeLessThan(DAY_MS + 10_000)
    const shown = await callJson('GET', `/api/v1/webhooks/${endpoint.id}/secret`, {
      token: world.developer.token,
    })
    expect(shown.data).toEqual({ secret: data.secret })

    const next = async (count: number) => {
      await send(world)
      const seen = await eventually(async () => {
        const all = await receiver.seen()
        return all.length === count && all[count - 1]
      })
      return [endpoint.secret, data.secret].map((secret) => signs(secret, seen))
    }
    expect(await next(1)).toEqual([true, true])
    await pass(endpoint.id)
    // The endpoint's object knows the endpoint by its version.
    await callJson('PATCH', `/api/v1/webhooks/${endpoint.id}`, {
      ...{ token: world.developer.token, body: { description: 'Later' } },
    })
    expect(await next(2)).toEqual([false, true])
  })

  it('ends the one before at once where that is asked for', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{}])
    const { data } = await rotate(world, endpoint.id, { overlap_seconds: 0 })
    expect(data.previous_expires_at).toBe(null)
    expect(await stored(endpoint.id)).toHaveLength(1)
    await send(world)
    await settled(world, endpoint.id)
    const [seen] = await receiver.seen()
    expect(seen && [endpoint.secret, data.secret].map((secret) => signs(secret, seen))).toEqual([false, true])
  })

  it('may be brought along', async () => {
    const world = await makeWorld()
    const { id, secret: first } = await makeEndpoint(world, { url: URL })
    const secret = own(24)
    expect((await rotate(world, id, { secret })).data.secret).toBe(secret)
    expect((await rotate(world, id, { secret: own(64) })).status).toBe(200)
    for (const known of [secret, first]) {
      const again = await rotate(world, id, { secret: known })
      expect([again.status, Object.keys(again.error.details.fields ?? {})]).toEqual([422, ['secret']])
    }
    expect(await stored(id)).toHaveLength(3)
  })

  it('is one of ten at most; what expired leaves the row', async () => {
    const world = await makeWorld()
    const { id } = await makeEndpoint(world, { url: URL })
    for (let i = 0; i < 9; i++) expect((await rotate(world, id)).status).toBe(200)
    const refused = await rotate(world, id)
    expect(refused.status).toBe(409)
    expect(refused.error).toMatchObject({ code: 'conflict', details: { limit: 10 } })
    expect(await stored(id)).toHaveLength(10)
    expect((await rotate(world, id, { overlap_seconds: 0 })).status).toBe(200)
    expect(await stored(id)).toHaveLength(10)
    await pass(id)
    expect((await rotate(world, id)).status).toBe(200)
    expect(await stored(id)).toHaveLength(2)
  })

  it('leaves the row when it has expired, though nobody rotates again', async () => {
    const world = await makeWorld()
    const { id } = await makeEndpoint(world, { url: URL })
    await rotate(world, id)
    await rotate(world, id)
    const [current] = await stored(id)
    await retainTenant({ ...world.ctx, now: Date.now() })
    expect(await stored(id)).toHaveLength(3)
    await retainTenant({ ...world.ctx, now: Date.now() + DAY_MS + 60_000 })
    expect(await stored(id)).toEqual([current])
  })

  it('is answered again, encrypted at rest, to who repeats the request, however many do at once', async () => {
    const world = await makeWorld()
    const { id } = await makeEndpoint(world, { url: URL })
    const once = { 'Idempotency-Key': 'rotate' }
    const answers = await Promise.all(Array.from({ length: 20 }, () => rotate(world, id, {}, once)))
    const good = answers.filter(({ status }) => status === 200)
    expect(answers.filter(({ status }) => status !== 200 && status !== 409)).toEqual([])
    expect(new Set(good.map(({ data }) => data.secret)).size).toBe(1)
    expect(await stored(id)).toHaveLength(2)
    const kept = await env.DB.prepare('select body from idempotency_keys where tenant_id = ?')
      .bind(world.tenant.id)
      .all()
    expect(JSON.stringify(kept.results)).not.toContain(good[0]?.data.secret.slice(6))
  })

  it.each([
    ['a week and a second', { overlap_seconds: 604_801 }, 'overlap_seconds'],
    ['a negative overlap', { overlap_seconds: -1 }, 'overlap_seconds'],
    ['no prefix', { secret: base64(new Uint8Array(32)) }, 'secret'],
    ['too short', { secret: own(23) }, 'secret'],
    ['too long', { secret: own(65) }, 'secret'],
    ['base64url', { secret: `whsec_${'-_'.repeat(22)}` }, 'secret'],
    ['no padding', { secret: own(32).slice(0, -1) }, 'secret'],
  ])('is refused for %s', async (_, body, field) => {
    const world = await makeWorld()
    const { id } = await makeEndpoint(world, { url: URL })
    const refused = await rotate(world, id, body)
    expect(Object.keys(refused.error.details.fields ?? {})).toEqual([field])
    expect(await stored(id)).toHaveLength(1)
  })
})

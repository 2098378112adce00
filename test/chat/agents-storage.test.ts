import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { callJson, makePlatformAdmin, makeWorld, type World } from '../world'

type Agent = { id: string; avatar: string | null }
type Window = { window: string; per: string | null; limit: number; used: number; remaining: number }

/** A GIF of so many bytes. */
const gif = (size: number) => {
  const bytes = new Uint8Array(size)
  bytes.set([...'GIF89a'].map((c) => c.charCodeAt(0)))
  return bytes
}

const make = async ({ developer: { token } }: World) =>
  (await callJson<Agent>('POST', '/api/v1/agents', { token, body: { name: 'A' } })).data.id

async function upload({ developer: { token } }: World, id: string, size: number) {
  const data = new FormData()
  data.append('file', new Blob([gif(size)]), 'a.gif')
  const request = new Request('http://x', { method: 'POST', body: data })
  const raw = await request.arrayBuffer()
  const headers = {
    'Content-Type': request.headers.get('Content-Type') ?? '',
    'Content-Length': String(raw.byteLength),
  }
  return callJson<Agent>('POST', `/api/v1/agents/${id}/avatar`, { token, raw, headers })
}

async function stored({ developer: { token } }: World) {
  const { data } = await callJson<{ windows: Window[] }>('GET', '/api/v1/usage/limits', { token })
  return data.windows.find(({ window }) => window === 'storage_bytes')
}

const kept = async ({ tenant }: World) =>
  (await env.FILES.list({ prefix: `${tenant.id}/agents/` })).objects.map(({ size }) => size).sort()

describe('a tenant’s storage', () => {
  it('is what its pictures take, shown beside the other limits', async () => {
    const world = await makeWorld({ rate_limits: { storage_bytes: 1000 } })
    const limit = { window: 'storage_bytes', per: null, limit: 1000, resets: null }
    expect(await stored(world)).toEqual({ ...limit, used: 0, remaining: 1000 })
    const [one, two] = [await make(world), await make(world)]
    await upload(world, one, 300)
    await upload(world, two, 500)
    expect(await stored(world)).toEqual({ ...limit, used: 800, remaining: 200 })
    await upload(world, one, 100)
    expect(await stored(world)).toMatchObject({ used: 600 })
    const { token } = world.developer
    await callJson('PATCH', `/api/v1/agents/${one}`, { token, body: { name: 'B' } })
    expect(await stored(world)).toMatchObject({ used: 600 })
    await callJson('PATCH', `/api/v1/agents/${one}`, { token, body: { avatar: null } })
    expect(await stored(world)).toMatchObject({ used: 500 })
    await callJson('DELETE', `/api/v1/agents/${two}`, { token })
    expect(await stored(world)).toMatchObject({ used: 0 })
  })

  it('takes nothing beyond it: the agent, the count and the objects are as they were', async () => {
    const world = await makeWorld({ rate_limits: { storage_bytes: 1000 } })
    const [one, two] = [await make(world), await make(world)]
    const first = await upload(world, one, 1000)
    expect(first.status).toBe(200)
    for (const [id, size] of [
      [two, 7],
      [one, 1001],
    ] as const) {
      const { status, error } = await upload(world, id, size)
      expect(status).toBe(409)
      expect(error).toMatchObject({ code: 'storage_limit_reached', details: { limit_bytes: 1000 } })
    }
    expect(await stored(world)).toMatchObject({ used: 1000, remaining: 0 })
    await expect.poll(() => kept(world)).toEqual([1000])
    const { data } = await callJson<Agent>('GET', `/api/v1/agents/${one}`, { token: world.developer.token })
    expect(data.avatar).toBe(first.data.avatar)
  })

  it('holds for uploads at once', async () => {
    const world = await makeWorld({ rate_limits: { storage_bytes: 1000 } })
    const ids = await Promise.all(Array.from({ length: 8 }, () => make(world)))
    const answers = await Promise.all(ids.map((id) => upload(world, id, 300)))
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 200, 409, 409, 409, 409, 409])
    expect(await stored(world)).toMatchObject({ used: 900 })
    await expect.poll(() => kept(world)).toEqual([300, 300, 300])
  })

  it('lets a tenant that has too much store less, and counts nobody else’s', async () => {
    const world = await makeWorld({ rate_limits: { storage_bytes: 1000 } })
    const other = await makeWorld({ rate_limits: { storage_bytes: 1000 } })
    const one = await make(world)
    await upload(world, one, 900)
    const { token } = await makePlatformAdmin()
    const body = { rate_limits: { storage_bytes: 100 } }
    await callJson('PATCH', `/api/platform/tenants/${world.tenant.id}`, { token, body })
    expect((await upload(world, one, 400)).status).toBe(200)
    expect((await upload(world, one, 401)).status).toBe(409)
    expect(await stored(world)).toMatchObject({ used: 400 })
    expect(await stored(other)).toMatchObject({ used: 0 })
  })
})

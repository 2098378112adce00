import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import type { PlatformStats } from '../../src/domains/operations/stats/schema'
import { iso } from '../../src/lib/ids'
import { chatWith } from '../chat/kit'
import { expectError } from '../http/expect-error'
import { Isolate } from '../identity/isolates'
import { makePerson, makePlatformAdmin, makeWorld } from '../world'

const platform = makePlatformAdmin()
const DAY_MS = 24 * 3600_000

/** By an isolate of its own, which remembers nothing of the backlog. */
async function stats(path = '/api/platform/stats', over: object = {}): Promise<PlatformStats> {
  const answer = await new Isolate(over).ask('GET', path, { token: (await platform).token })
  expect(answer.status).toBe(200)
  return ((await answer.json()) as { data: PlatformStats }).data
}

describe('what there is on the platform', { timeout: 30_000 }, () => {
  it('is counted: tenants, users, what they asked, what waits', async () => {
    const { user } = await platform
    const before = await stats()
    const world = await makeWorld()
    const gone = await makeWorld()
    await makePerson(world.tenant, 'member')
    const ask = (method: string, path: string, body?: object) =>
      new Isolate().ask(method, path, { token: gone.admin.token, body })
    expect((await ask('PATCH', `/api/v1/users/${gone.viewer.user.id}`, { status: 'suspended' })).status).toBe(
      200,
    )
    const { token } = await platform
    await new Isolate().ask('PATCH', `/api/platform/tenants/${world.tenant.id}`, {
      token,
      body: { plan: 'pro' },
    })
    await new Isolate().ask('DELETE', `/api/platform/tenants/${gone.tenant.id}`, { token })
    const now = Date.now()
    const today = Math.floor(now / DAY_MS) * DAY_MS
    const log = (tenantId: string, grain: string, at: number, requests: number, errors: number) =>
      env.DB.prepare(`insert into usage_logs values (?, ?, 'total', ?, '', ?, ?, 0, 0, '[]', null)`)
        .bind(tenantId, grain, iso(at), requests, errors)
        .run()
    await log(world.tenant.id, 'day', today, 40, 2)
    await log(gone.tenant.id, 'day', today - 6 * DAY_MS, 5, 1)
    await log(world.tenant.id, 'day', today - 7 * DAY_MS, 1_000, 1_000)
    await log(world.tenant.id, 'hour', today, 5_000, 5_000)
    const after = await stats()
    expect(after.tenants).toEqual({
      total: before.tenants.total + 2,
      by_status: {
        active: before.tenants.by_status.active + 1,
        suspended: before.tenants.by_status.suspended,
        cancelled: before.tenants.by_status.cancelled + 1,
      },
      by_plan: {
        starter: before.tenants.by_plan.starter + 1,
        pro: before.tenants.by_plan.pro + 1,
        enterprise: before.tenants.by_plan.enterprise,
      },
    })
    expect(after.users).toEqual({ total: before.users.total + 9, suspended: before.users.suspended + 1 })
    expect(after.deletions).toEqual({ ...before.deletions, scheduled: before.deletions.scheduled + 1 })
    const { from, requests, errors } = after.usage
    expect(from).toBe(iso(today - 6 * DAY_MS))
    // Of others a few may have been written down meanwhile; the thousands of another time and grain are not among them.
    expect(requests - before.usage.requests).toBeGreaterThanOrEqual(45)
    expect(requests - before.usage.requests).toBeLessThan(1_000)
    expect(errors - before.usage.errors).toBeGreaterThanOrEqual(3)
    expect(errors - before.usage.errors).toBeLessThan(1_000)
    expect(user.tenant_id).not.toBe(world.tenant.id)
  })

  it('includes the streams that are open and the deliveries that are due', async () => {
    const before = await stats('/api/admin/stats')
    const world = await makeWorld()
    const chat = await chatWith(world, { name: 'Echo', kind: 'echo' })
    const socket = await chat.socket()
    await socket.until('snapshot')
    await env.DB.batch([
      env.DB.prepare(
        `insert into endpoints (tenant_id, id, tail, url, description, event_types, channels, payload, headers, secrets,
           timeout_ms, status, created_at, updated_at)
         values (?1, 'e', 'e', 'https://x.example/', '', '[]', '[]', 'event', '{}', '[]', 1, 'active', 'x', 'x')`,
      ).bind(world.tenant.id),
      env.DB.prepare(
        `insert into deliveries (tenant_id, id, event_id, event_type, endpoint_id, status, next_attempt_at, created_at) values (?1, 'd', 'm', 't', 'e', 'pending', ?2, ?2)`,
      ).bind(world.tenant.id, iso(Date.now() - 1_000)),
    ])
    const after = await stats('/api/admin/stats')
    expect(after.deliveries_due).toBeGreaterThan(0)
    expect(after.deliveries_due).toBeGreaterThanOrEqual(before.deliveries_due ?? 0)
    expect(after.deliveries_overdue_seconds).toBeGreaterThanOrEqual(1)
    expect(after.open_streams).toBeGreaterThanOrEqual(0)
    await env.DB.prepare('delete from deliveries where tenant_id = ?').bind(world.tenant.id).run()
    socket.ws.close()
  })

  it('is shown as far as it can be read', async () => {
    const METRICS = { getByName: () => ({ totals: () => Promise.reject(new Error('away')), add: () => {} }) }
    const half = await stats('/api/platform/stats', { METRICS })
    expect(half.open_streams).toBeNull()
    expect(half.tenants.total).toBeGreaterThan(0)
  })

  it('is for the platform', async () => {
    const world = await makeWorld()
    await expectError(
      new Isolate().ask('GET', '/api/platform/stats', { token: world.admin.token }),
      'platform_only',
    )
  })
})

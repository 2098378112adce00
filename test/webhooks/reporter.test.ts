import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import type { Report } from '../../src/domains/webhooks/deliveries/attempt-log'
import { makeWorld } from '../world'

const arrived = (delivery_id: string): Report => ({
  ...{ delivery_id, event_id: 'msg_1', event_type: 'a.b', number: 1, retries: 0, ended_at: Date.now() },
  ...{ response_status: 200, error: null },
  verdict: {
    ...{ status: 'delivered', next_attempt_at: null, disable: null, wait_until: null, circuit: null },
  },
})

/** A delivery that stands as it was claimed. */
async function pending(tenant_id: string): Promise<string> {
  const [id, at] = [crypto.randomUUID(), new Date().toISOString()]
  await env.DB.prepare(
    `insert into deliveries (tenant_id, id, event_id, event_type, endpoint_id, status, next_attempt_at, created_at)
     values (?, ?, 'msg_1', 'a.b', ?, 'pending', ?, ?)`,
  )
    .bind(tenant_id, id, crypto.randomUUID(), at, at)
    .run()
  return id
}

const statusOf = (id: string) =>
  env.DB.prepare('select status, attempt_count from deliveries where id = ?').bind(id).first()

/** The reporter of a tenant over a D1 that counts its calls, and fails while `away` says so. */
async function over(tenant_id: string, away: () => boolean) {
  const stub = env.REPORTERS.getByName(tenant_id)
  const calls = { count: 0 }
  await runInDurableObject(stub, (instance) => {
    const batch = (statements: D1PreparedStatement[]) => {
      calls.count += 1
      return away() ? Promise.reject(new Error('D1 is away')) : env.DB.batch(statements)
    }
    const DB = { prepare: (sql: string) => env.DB.prepare(sql), batch }
    Object.assign(instance, { env: { ...env, DB } })
  })
  return { stub, calls }
}

describe('the reporter', () => {
  it('tells D1 of what arrived at many endpoints by one call, and answers when D1 knows', async () => {
    const { tenant } = await makeWorld()
    const ids = await Promise.all(Array.from({ length: 20 }, () => pending(tenant.id)))
    const { stub, calls } = await over(tenant.id, () => false)
    // Called in the object, all at once: calls from without may take longer than it gathers for.
    await runInDurableObject(stub, (instance) =>
      Promise.all(ids.map((id) => instance.tell(tenant.id, [arrived(id)]))),
    )
    for (const id of ids) expect(await statusOf(id)).toEqual({ status: 'delivered', attempt_count: 1 })
    expect(calls.count).toBe(1)
  })

  it('tells each who asked where D1 is away, and the next round all the same', async () => {
    const { tenant } = await makeWorld()
    const ids = [await pending(tenant.id), await pending(tenant.id)]
    let isAway = true
    const { stub } = await over(tenant.id, () => isAway)
    const outcomes = await runInDurableObject(stub, (instance) =>
      Promise.allSettled(ids.map((id) => instance.tell(tenant.id, [arrived(id)]))),
    )
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    for (const id of ids) expect(await statusOf(id)).toEqual({ status: 'pending', attempt_count: 0 })
    isAway = false
    await Promise.all(ids.map((id) => stub.tell(tenant.id, [arrived(id)])))
    for (const id of ids) expect(await statusOf(id)).toEqual({ status: 'delivered', attempt_count: 1 })
  })

  it('reaches no delivery of another tenant', async () => {
    const [mine, theirs] = [await makeWorld(), await makeWorld()]
    const id = await pending(theirs.tenant.id)
    const { stub } = await over(mine.tenant.id, () => false)
    await stub.tell(mine.tenant.id, [arrived(id)])
    expect(await statusOf(id)).toEqual({ status: 'pending', attempt_count: 0 })
  })
})

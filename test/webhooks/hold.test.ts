import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { iso } from '../../src/lib/ids'
import { callJson, makeWorld } from '../world'
import { makeEndpoint } from './deliver'

const BACKLOG = 100_000

describe('an endpoint with a backlog of a hundred thousand', { timeout: 120_000 }, () => {
  it('is paused, enabled and deleted within seconds each, and nothing of it is left open', async () => {
    const world = await makeWorld()
    const { id, tenant_id } = await makeEndpoint(world, { url: 'http://127.0.0.1:1025/' })
    await env.DB.prepare(
      `with recursive n(i) as (select 1 union all select i + 1 from n where i < ?1)
       insert into deliveries (tenant_id, id, event_id, event_type, endpoint_id, status, next_attempt_at, created_at)
       select ?2, printf('01970000-0000-7000-8000-%012x', i), 'msg_' || i, 'a.b', ?3, 'pending', ?4, ?4 from n`,
    )
      .bind(BACKLOG, tenant_id, id, iso(Date.now() + 3_600_000))
      .run()
    const all = async () => {
      const { results } = await env.DB.prepare(
        'select status, count(*) as n from deliveries where tenant_id = ? and endpoint_id = ? group by status',
      )
        .bind(tenant_id, id)
        .all()
      return results
    }
    const within = async (method: string, path: string) => {
      const began = Date.now()
      const answer = await callJson(method, `/api/v1/webhooks/${id}${path}`, { token: world.developer.token })
      expect(answer.status).toBeLessThan(300)
      // A statement of D1 may take thirty seconds.
      expect(Date.now() - began).toBeLessThan(10_000)
    }
    try {
      await within('POST', '/pause')
      expect(await all()).toEqual([{ status: 'held', n: BACKLOG }])
      await within('POST', '/enable')
      // Some of it goes out meanwhile, and fails, since there are no such events.
      await within('DELETE', '')
      const left = await all()
      expect(left.filter(({ status }) => status === 'pending' || status === 'held')).toEqual([])
      expect(left.reduce((sum, { n }) => sum + Number(n), 0)).toBe(BACKLOG)
    } finally {
      await env.DB.prepare('delete from deliveries where tenant_id = ?').bind(tenant_id).run()
    }
  })
})

import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { commit } from '../../src/data/commit'
import { fanOut } from '../../src/domains/webhooks/deliveries/fan-out'
import { type Input, notBegun, recovery } from '../../src/domains/webhooks/recovery/job'
import { iso } from '../../src/lib/ids'
import { makeWorld, requestContext } from '../world'
import { deliveriesOf, makeEndpoint, send } from './deliver'

describe('a step of a recovery', { timeout: 20_000 }, () => {
  it('sends again only what still stands as it was found, and done twice does so once', async () => {
    const world = await makeWorld()
    const endpoint = await makeEndpoint(world, { url: 'http://127.0.0.1:1025/', status: 'paused' })
    for (let n = 0; n < 3; n++) await fanOut(world.ctx, [await send(world)])
    const all = await deliveriesOf(world, `endpoint_id=${endpoint.id}`)
    const ids = all.map(({ id }) => id).sort()
    const set = (id: string | undefined, status: string) =>
      env.DB.prepare(
        'update deliveries set status = ?, next_attempt_at = null where tenant_id = ? and id = ?',
      )
        .bind(status, world.tenant.id, id)
        .run()
    for (const id of ids) await set(id, 'exhausted')
    await env.DB.prepare(`update endpoints set status = 'active' where id = ?`).bind(endpoint.id).run()
    const input: Input = {
      ...{ endpoint_id: endpoint.id, since: iso(Date.now() - 3_600_000), until: iso(Date.now() + 1_000) },
      ...{ status: ['exhausted'], event_types: null, dry_run: false },
    }
    const ctx = { ...world.ctx, ...requestContext() }
    const state = { ...notBegun(input), is_counted: true }
    const [one, another] = [
      await recovery.step(ctx, { id: 'one', input, state, failures: 0 }),
      await recovery.step(ctx, { id: 'another', input, state, failures: 0 }),
    ]
    expect([one.state.resent, another.state.resent]).toEqual([3, 3])
    // Between the look and the batch somebody ends two of them otherwise.
    await set(ids[0], 'cancelled')
    await set(ids[1], 'delivered')
    for (const { change } of [one, another])
      await commit(ctx, { statements: change?.statements ?? [], result: undefined })
    const { results } = await env.DB.prepare(
      'select status, retries from deliveries where tenant_id = ? and endpoint_id = ? order by id',
    )
      .bind(world.tenant.id, endpoint.id)
      .all()
    expect(results).toEqual([
      { status: 'cancelled', retries: 0 },
      { status: 'delivered', retries: 0 },
      { status: 'pending', retries: 1 },
    ])
    await env.DB.prepare('delete from deliveries where tenant_id = ?').bind(world.tenant.id).run()
  })
})

import { runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, it, vi } from 'vitest'
import { callJson, makeWorld } from '../world'
import { connect, deliveriesOf, pass, send, settled } from './deliver'
import { eventually } from './receiver'

/** Has everything fail that anybody asks of D1, in a session or not, until what is answered is called. */
function outage(): () => void {
  const away = () => Promise.reject(new Error('D1_ERROR: the database is away'))
  const statement = Object.getPrototypeOf(env.DB.prepare('select 1'))
  const spies = [
    ...[env.DB, env.DB.withSession()].map((door) => [Object.getPrototypeOf(door), 'batch'] as const),
    ...(['all', 'raw', 'run', 'first'] as const).map((name) => [statement, name] as const),
  ].map(([prototype, name]) => vi.spyOn(prototype, name).mockImplementation(away))
  return () => {
    for (const spy of spies) spy.mockRestore()
  }
}

/** As many runs of an alarm as ten minutes have at the longest wait; it is dropped for good after seven that throw. */
const RUNS = 20

describe('ten minutes without D1', { timeout: 90_000 }, () => {
  it('lose nothing, repeat nothing, and everything goes on by itself', async () => {
    const world = await makeWorld()
    const hanging = await connect(world, [{ delay_ms: 500 }, {}], { event_types: ['in.flight'] })
    const failing = await connect(world, [{ status: 500 }, {}], { event_types: ['to.retry'] })
    const fresh = await connect(world, [{}], { event_types: ['just.accepted'] })

    const toRetry = await send(world, 'to.retry')
    await settled(
      world,
      failing.endpoint.id,
      (one) => one.attempt_count === 1 && one.next_attempt_at !== null,
    )
    const inFlight = await send(world, 'in.flight')
    await eventually(async () => (await hanging.receiver.seen()).length === 1)
    await pass(world, failing.endpoint.id).catch(() => undefined)
    const accepted = await send(world, 'just.accepted')
    const restore = outage()
    try {
      const refused = await callJson('POST', '/api/v1/events', {
        token: world.developer.token,
        body: { type: 'just.accepted', data: {} },
      })
      expect(refused.status).toBeGreaterThanOrEqual(500)
      await scheduler.wait(1_000)
      const senders = [hanging, failing, fresh].map(({ endpoint }) =>
        env.ENDPOINTS.getByName(`${world.tenant.id}/${endpoint.id}`),
      )
      const sweeper = env.SWEEPER.getByName('sweeper')
      for (let run = 0; run < RUNS; run++)
        for (const object of [...senders, sweeper]) await runDurableObjectAlarm(object as DurableObjectStub)
      // Whoever has something to do still has an alarm to do it by.
      const alarms = await Promise.all(
        [senders[0], sweeper].map((object) =>
          runInDurableObject(object as DurableObjectStub, (_, state) => state.storage.getAlarm()),
        ),
      )
      for (const alarm of alarms) expect(alarm).toBeGreaterThan(Date.now() - 5_000)
    } finally {
      restore()
    }
    await eventually(
      async () => (await deliveriesOf(world, 'status=delivered&limit=100')).length === 3,
      60_000,
    )
    const idsOf = async ({ receiver }: typeof fresh) =>
      (await receiver.seen()).map(({ headers }) => headers['webhook-id'])
    expect(await idsOf(hanging)).toEqual([inFlight])
    expect(await idsOf(failing)).toEqual([toRetry, toRetry])
    expect(await idsOf(fresh)).toEqual([accepted])
    expect(await deliveriesOf(world, 'limit=100')).toHaveLength(3)
  })
})

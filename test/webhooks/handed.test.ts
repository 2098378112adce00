import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { tenantDatabase } from '../../src/data/database'
import { fanOutWork } from '../../src/domains/webhooks/deliveries/fan-out'
import { newId } from '../../src/lib/ids'
import { callJson, makeWorld, requestContext, type World } from '../world'
import { connect, deliveriesOf, send } from './deliver'
import { eventually } from './receiver'

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** Fans an event out, and answers with what its endpoint is to be handed, which is on its way for long. */
async function onItsWay(world: World, endpointId: string) {
  const id = `msg_${newId(Date.now())}`
  await env.DB.prepare(
    `insert into events (tenant_id, id, type, channels, data, timestamp) values (?, ?, 'order.shipped', '[]', '{"n":1}', ?)`,
  )
    .bind(world.tenant.id, id, new Date().toISOString())
    .run()
  const ctx = { ...world.ctx, ...requestContext(), db: tenantDatabase(env, world.tenant.id) }
  const handed = (await fanOutWork({ ...ctx, now: Date.now() }, [id])).get(endpointId)
  if (!handed) throw new Error('the event is nobody’s')
  expect(handed.deliveries).toHaveLength(1)
  const sender = env.ENDPOINTS.getByName(`${world.tenant.id}/${endpointId}`)
  return { id, sender, arrive: () => sender.hand(world.tenant.id, endpointId, handed) }
}

describe('what an endpoint is handed', { timeout: 30_000 }, () => {
  const ready = async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{}])
    const seen = async () => (await receiver.seen()).map(({ headers }) => headers['webhook-id'])
    const again = async () => {
      const id = await send(world)
      await eventually(async () => (await seen()).includes(id))
      await pause(100)
    }
    await again()
    return { world, endpoint, again, seen }
  }

  it('goes out at once', async () => {
    const { world, endpoint, seen } = await ready()
    const { id, arrive } = await onItsWay(world, endpoint.id)
    await arrive()
    await eventually(async () => (await seen()).includes(id))
  })

  it('does not where the delivery was cancelled meanwhile', async () => {
    const { world, endpoint, again, seen } = await ready()
    const { id, arrive } = await onItsWay(world, endpoint.id)
    const [delivery] = await deliveriesOf(world, `event_id=${id}`)
    const cancelled = await callJson('POST', `/api/v1/deliveries/${delivery?.id}/cancel`, {
      token: world.developer.token,
    })
    expect(cancelled.status).toBe(200)
    // The endpoint is read anew, and stands as it did.
    await again()
    await arrive()
    await pause(300)
    expect(await seen()).not.toContain(id)
  })

  it('does not where its event was erased meanwhile', async () => {
    const { world, endpoint, seen } = await ready()
    const { id, sender, arrive } = await onItsWay(world, endpoint.id)
    const [delivery] = await deliveriesOf(world, `event_id=${id}`)
    await env.DB.batch([
      env.DB.prepare(`update events set data = null where id = ?`).bind(id),
      env.DB.prepare(`update deliveries set status = 'cancelled' where id = ?`).bind(delivery?.id),
    ])
    await sender.forget([delivery?.id ?? ''])
    await arrive()
    await pause(300)
    expect(await seen()).not.toContain(id)
  })

  it('does not twice, where it was sent by who looked for it', async () => {
    const { world, endpoint, seen } = await ready()
    const { id, sender, arrive } = await onItsWay(world, endpoint.id)
    await sender.wake(world.tenant.id, endpoint.id, false)
    await eventually(async () => (await deliveriesOf(world, `event_id=${id}`))[0]?.status === 'delivered')
    await pause(100)
    await arrive()
    await pause(300)
    expect((await seen()).filter((one) => one === id)).toHaveLength(1)
  })
})

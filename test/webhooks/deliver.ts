import { env } from 'cloudflare:workers'
import { expect } from 'vitest'
import type { Delivery, DeliveryDetail } from '../../src/domains/webhooks/deliveries/schema'
import type { Endpoint } from '../../src/domains/webhooks/endpoints/schema'
import { callJson, type World } from '../world'
import { eventually, makeReceiver } from './receiver'

type Receiver = Awaited<ReturnType<typeof makeReceiver>>
type Steps = Parameters<typeof makeReceiver>

/** An endpoint of the tenant; 201 is taken for granted. */
export async function makeEndpoint(world: World, input: Record<string, unknown>) {
  const body = { event_types: ['order.shipped'], ...input }
  const made = await callJson<Endpoint & { secret: string }>('POST', '/api/v1/webhooks', {
    token: world.developer.token,
    body,
  })
  expect(made.status, JSON.stringify(made.error)).toBe(201)
  return made.data
}

/** A receiver that takes these steps, with an endpoint that points to it. */
export async function connect(world: World, steps: Steps, input: Record<string, unknown> = {}) {
  const receiver: Receiver = await makeReceiver(...steps)
  const endpoint = await makeEndpoint(world, { url: receiver.url, ...input })
  return { receiver, endpoint }
}

/** Sends an event of the tenant's own and answers with its id. */
export async function send(world: World, type = 'order.shipped', data: unknown = { n: 1 }, more = {}) {
  const sent = await callJson<{ id: string }>('POST', '/api/v1/events', {
    token: world.developer.token,
    body: { type, data, ...more },
  })
  expect(sent.status, JSON.stringify(sent.error)).toBe(201)
  return sent.data.id
}

export async function deliveriesOf(world: World, query = ''): Promise<Delivery[]> {
  const listed = await callJson<Delivery[]>('GET', `/api/v1/deliveries?${query}`, {
    token: world.developer.token,
  })
  expect(listed.status, JSON.stringify(listed.error)).toBe(200)
  return listed.data
}

export async function readDelivery(world: World, id: string): Promise<DeliveryDetail> {
  return (await callJson<DeliveryDetail>('GET', `/api/v1/deliveries/${id}`, { token: world.developer.token }))
    .data
}

/** The one delivery to the endpoint, once it is as `is` wants it: by default once an attempt of it has ended. */
export function settled(
  world: World,
  endpointId: string,
  is: (delivery: DeliveryDetail) => boolean = ({ attempt_count }) => attempt_count > 0,
  ms?: number,
): Promise<DeliveryDetail> {
  return eventually(async () => {
    const [row] = await deliveriesOf(world, `endpoint_id=${endpointId}`)
    const detail = row && row.attempt_count > 0 ? await readDelivery(world, row.id) : null
    return detail && is(detail) ? detail : null
  }, ms)
}

/** Makes the pending deliveries of an endpoint due now, as if their time had come, and wakes its object. */
export async function pass(world: World, endpointId: string): Promise<void> {
  await env.DB.prepare(
    `update deliveries set next_attempt_at = ? where tenant_id = ? and endpoint_id = ? and status = 'pending'`,
  )
    .bind(new Date().toISOString(), world.tenant.id, endpointId)
    .run()
  await wake(world, endpointId)
}

export const wake = (world: World, endpointId: string): Promise<void> =>
  env.ENDPOINTS.getByName(`${world.tenant.id}/${endpointId}`).wake(world.tenant.id, endpointId, false)

import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { publish } from '../../src/domains/realtime/channels'
import type { Bindings } from '../../src/env'
import { newId } from '../../src/lib/ids'
import { insertJob } from '../jobs/kit'
import { makeWorld, type World } from '../world'
import { Client, type Frame } from './socket'

/** A channel that says more than may be on its way to one client. */
async function loud(): Promise<{ world: World; channel: string; shout: () => Promise<boolean> }> {
  const world = await makeWorld()
  const channel = `jobs:${await insertJob(world.tenant.id)}`
  const said = Array.from({ length: 120 }, (_, n) => ({
    type: 'job_status',
    data: { n, x: 'x'.repeat(5_000) },
  }))
  const shout = () => publish(env as unknown as Bindings, world.tenant.id, channel, said)
  return { world, channel, shout }
}

const numbers = (frames: Frame[]) => frames.flatMap(({ data }) => (typeof data?.n === 'number' ? data.n : []))

describe('a client of a channel', { timeout: 20_000 }, () => {
  it('that acknowledges nothing is closed as too slow, and misses none when it comes again', async () => {
    const { world, channel, shout } = await loud()
    const client = await Client.of(world.developer.token)
    await client.subscribe(channel)
    expect(await shout()).toBe(true)
    expect(await client.end(8_000)).toBe(4409)
    const first = numbers(client.seen)
    expect(first.length).toBeGreaterThan(40)
    expect(first.length).toBeLessThan(60)
    const last = client.seen.findLast(({ id }) => id !== undefined)?.id
    const again = await Client.of(world.developer.token)
    again.socket.addEventListener('message', ({ data }) => acknowledge(again, JSON.parse(`${data}`)))
    again.send({ type: 'subscribe', channel, after: last })
    await expect.poll(() => numbers(again.seen).at(-1), { timeout: 8_000 }).toBe(119)
    expect([...first, ...numbers(again.seen)]).toEqual(Array.from({ length: 120 }, (_, n) => n))
    expect(again.closed).toBeNull()
  })

  it('that acknowledges what it was not sent is told so, or heard without effect', async () => {
    const { world, channel } = await loud()
    const client = await Client.of(world.developer.token)
    client.send({ type: 'ack', channel, id: 'x-1' })
    expect(await client.next('error')).toMatchObject({ code: 'not_found', channel })
    await client.subscribe(channel)
    client.send({ type: 'ack', channel, id: newId(Date.now()) })
    client.send({ type: 'ping' })
    await client.next('pong')
    expect(client.closed).toBeNull()
  })
})

/** Every tenth frame: fifty a second are allowed. */
function acknowledge(client: Client, { id, channel, data }: Frame): void {
  if (id && Number(data?.n) % 10 === 0) client.send({ type: 'ack', channel, id })
}

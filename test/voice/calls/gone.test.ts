import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { tenantKeepings } from '../../../src/data/erasure'
import { wakeCalls } from '../../../src/domains/voice/calls/wake'
import { eventually } from '../../webhooks/receiver'
import { makeWorld } from '../../world'
import { credit, makeAgent, place, rowOf } from './kit'

const keysOf = (tenantId: string) =>
  runInDurableObject(env.CALLS.getByName(tenantId), async (_, { storage }) => ({
    kept: [...(await storage.list()).keys()],
    alarm: await storage.getAlarm(),
  }))

describe('who drives calls', () => {
  it('keeps nothing once no call is under way', async () => {
    const world = await makeWorld()
    await credit(world, 100)
    const metadata = { simulated_speed: 1000 }
    const [call] = await place(world, [{ agent_id: await makeAgent(world), metadata }])
    await wakeCalls(world.ctx.env, world.tenant.id)
    await eventually(
      async () => ((await rowOf(call?.id ?? ''))?.next_at === null ? { over: true } : null),
      20_000,
    )
    const left = await eventually(async () => {
      const { kept, alarm } = await keysOf(world.tenant.id)
      return kept.length === 0 && alarm === null ? { left: [] } : null
    }, 20_000)
    expect(left).toEqual({ left: [] })
  })

  it('goes with its tenant', async () => {
    const world = await makeWorld()
    await credit(world, 100)
    const metadata = { simulated_speed: 1 }
    await place(world, [{ agent_id: await makeAgent(world), to: '+14155550005', metadata }])
    await wakeCalls(world.ctx.env, world.tenant.id)
    expect((await keysOf(world.tenant.id)).kept).toEqual(['tenant_id'])
    const keeping = tenantKeepings().find(({ name }) => name === 'call_drivers')
    const [key = ''] = (await keeping?.keys(world.ctx, '', 10)) ?? []
    expect(await keeping?.keys(world.ctx, key, 10)).toEqual([])
    await keeping?.erase(world.ctx.env, world.tenant.id, key)
    // A look that was under way may set one more alarm, which finds nothing.
    const left = await eventually(async () => {
      const { kept, alarm } = await keysOf(world.tenant.id)
      return kept.length === 0 && alarm === null ? { left: [] } : null
    }, 20_000)
    expect(left).toEqual({ left: [] })
  })
})

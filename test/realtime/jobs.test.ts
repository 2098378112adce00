import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { bareTenant, systemContext } from '../../src/data/system'
import { jobKind, type Step } from '../../src/domains/jobs/kinds'
import { startJob } from '../../src/domains/jobs/service'
import { wakeJob } from '../../src/domains/jobs/wake'
import type { Bindings } from '../../src/env'
import { callJson, makeWorld } from '../world'
import { Client } from './socket'

const bindings = env as unknown as Bindings

const slow = jobKind<{ steps: number }, number>({
  name: 'test.slow',
  scope: 'events:write',
  step: async (_, { input, state }): Promise<Step<number>> => ({
    ...{ state: state + 1, progress: (100 * (state + 1)) / input.steps, result: { made: state + 1 } },
    ...{ done: state + 1 === input.steps, wait_ms: 50 },
  }),
})

describe('the channel of a job', () => {
  it('says how it stands to who comes, and every step of it', async () => {
    const world = await makeWorld()
    const first: Step<number> = { state: 0, progress: 0, result: {}, done: false, wait_ms: 300_000 }
    const ctx = { ...world.ctx, now: Date.now() }
    const { id } = await startJob(ctx, slow, { steps: 4 }, first, () => [])
    const client = await Client.of(world.viewer.token)
    await client.subscribe(`jobs:${id}`)
    const data = { id, kind: 'test.slow', error: null }
    expect((await client.next('job_status')).data).toEqual({
      ...data,
      status: 'queued',
      progress: 0,
      result: {},
    })
    await env.DB.prepare('update jobs set next_at = ? where id = ?').bind(new Date().toISOString(), id).run()
    const system = systemContext(bindings, bareTenant(world.tenant.id), 'test', () => {})
    await wakeJob(system.env, { tenant_id: world.tenant.id, job_id: id })
    for (const made of [1, 2, 3, 4])
      expect((await client.next('job_status')).data).toEqual({
        ...{ ...data, result: { made } },
        ...{ status: made < 4 ? 'running' : 'completed', progress: 25 * made },
      })
    // Who comes late hears of the end.
    const late = await Client.of(world.viewer.token)
    await late.subscribe(`jobs:${id}`)
    expect((await late.next('job_status')).data).toMatchObject({ status: 'completed', progress: 100 })
  })

  it('says that it was cancelled, and is another tenant’s to nobody', async () => {
    const world = await makeWorld()
    const first: Step<number> = { state: 0, progress: 0, result: {}, done: false, wait_ms: 300_000 }
    const { id } = await startJob({ ...world.ctx, now: Date.now() }, slow, { steps: 4 }, first, () => [])
    const client = await Client.of(world.developer.token)
    await client.subscribe(`jobs:${id}`)
    await client.next('job_status')
    const { token } = world.developer
    expect((await callJson('POST', `/api/v1/jobs/${id}/cancel`, { token })).status).toBe(200)
    expect((await client.next('job_status')).data).toMatchObject({ status: 'cancelled' })
    const stranger = await Client.of((await makeWorld()).admin.token)
    stranger.send({ type: 'subscribe', channel: `jobs:${id}` })
    expect(await stranger.next('error')).toMatchObject({ code: 'not_found' })
    const { data } = await callJson<{ key: string }>('POST', '/api/v1/auth/api-keys', {
      token: world.admin.token,
      body: { name: 'blind', scopes: ['events:read', 'deliveries:read'] },
    })
    const blind = await Client.of(data.key)
    blind.send({ type: 'subscribe', channel: `jobs:${id}` })
    expect(await blind.next('error')).toMatchObject({ code: 'insufficient_scope' })
  })
})

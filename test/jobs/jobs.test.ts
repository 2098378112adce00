import { runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { bareTenant, systemContext } from '../../src/data/system'
import { jobKind, type Step } from '../../src/domains/jobs/kinds'
import type { JobRunner } from '../../src/domains/jobs/object'
import { wakeOverdueJobs } from '../../src/domains/jobs/overdue'
import { dropOldJobs } from '../../src/domains/jobs/retention'
import type { Job } from '../../src/domains/jobs/schema'
import { startJob } from '../../src/domains/jobs/service'
import { makeStep } from '../../src/domains/jobs/steps'
import type { Bindings } from '../../src/env'
import { iso, newId } from '../../src/lib/ids'
import { problem } from '../../src/lib/problem'
import { expectError } from '../http/expect-error'
import { eventually } from '../webhooks/receiver'
import { call, callJson, makeWorld, type World } from '../world'
import { endedJob, insertJob, readJob } from './kit'

const bindings = env as unknown as Bindings
const HOUR = 3600_000

/** What the steps of the test's jobs do besides, by the job's name for it. */
const doings = new Map<string, (step: number) => unknown>()
/** Every step that was begun, by the same name. */
const begun = new Map<string, number[]>()

type Input = { name: string; steps: number; wait_ms?: number }

/** Each step puts an event of the tenant beside its checkpoint, so that what stands can be counted. */
const counting = jobKind<Input, { step: number }>({
  name: 'test.counting',
  scope: 'events:write',
  step: async (ctx, { id, input, state }): Promise<Step<{ step: number }>> => {
    const step = state.step + 1
    begun.set(input.name, [...(begun.get(input.name) ?? []), step])
    await doings.get(input.name)?.(step)
    expect(ctx.tenant.id).toMatch(/^[0-9a-f-]{36}$/)
    return {
      state: { step },
      progress: (100 * step) / input.steps,
      result: { made: step },
      done: step === input.steps,
      ...(input.wait_ms === undefined ? {} : { wait_ms: input.wait_ms }),
      change: { statements: [], events: [{ type: 'step.made', data: { job: id, step } }] },
    }
  },
})

const none: Step<{ step: number }> = { state: { step: 0 }, progress: 0, result: {}, done: false }

async function start(world: World, steps: number, doing?: (step: number) => unknown, more = {}) {
  const name = crypto.randomUUID()
  if (doing) doings.set(name, doing)
  const input = { name, steps, ...more }
  const job = await startJob({ ...world.ctx, now: Date.now() }, counting, input, none, () => [])
  return { id: job.id, steps: () => begun.get(name) ?? [] }
}

/** The numbers of the steps that stand, in the order of their commit. */
async function made(world: World, id: string): Promise<number[]> {
  const { results } = await env.DB.prepare(
    `select data ->> 'step' as step from events where tenant_id = ? and type = 'step.made' and data ->> 'job' = ? order by seq`,
  )
    .bind(world.tenant.id, id)
    .all<{ step: number }>()
  return results.map(({ step }) => step)
}

const eventsOf = async (world: World, type: string) => {
  const { results } = await env.DB.prepare('select data from events where tenant_id = ? and type = ?')
    .bind(world.tenant.id, type)
    .all<{ data: string }>()
  return results.map(({ data }) => JSON.parse(data))
}

const system = (world: World) => systemContext(bindings, bareTenant(world.tenant.id), 'job', () => {})
const runnerOf = (world: World, id: string) => env.JOBS.getByName(`${world.tenant.id}/${id}`)
const set = (id: string, columns: string) =>
  env.DB.prepare(`update jobs set ${columns} where id = ?`).bind(id).run()
const ask = (
  world: World,
  id: string,
  verb: 'cancel' | 'retry',
  init: object = { token: world.developer.token },
) => callJson<Job>('POST', `/api/v1/jobs/${id}/${verb}`, init)

describe('a job', { timeout: 30_000 }, () => {
  it('makes its steps one after the other, is told of, and leaves nothing behind in its object', async () => {
    const world = await makeWorld()
    const { id } = await start(world, 5)
    const job = await endedJob(world, id)
    expect(job).toMatchObject({
      ...{ kind: 'test.counting', status: 'completed', progress: 100, result: { made: 5 }, error: null },
      created_by: world.admin.user.id,
    })
    expect(await made(world, id)).toEqual([1, 2, 3, 4, 5])
    expect(await eventsOf(world, 'job.completed')).toEqual([
      {
        ...{ job_id: id, kind: 'test.counting', result: { made: 5 } },
        ...{ created_at: job.created_at, finished_at: job.finished_at },
      },
    ])
    await eventually(() =>
      runInDurableObject(runnerOf(world, id), async (_, { storage }) => {
        const [kept, alarm] = await Promise.all([storage.list(), storage.getAlarm()])
        return kept.size === 0 && alarm === null
      }),
    )
    expect(Object.keys(job)).not.toContain('state')
  })

  it('stands step by step, however many make it at once', async () => {
    const world = await makeWorld()
    const { id, steps } = await start(world, 6, () => scheduler.wait(20))
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        while ((await makeStep(system(world), id)) !== null);
      }),
    )
    expect((await endedJob(world, id)).result).toEqual({ made: 6 })
    expect(await made(world, id)).toEqual([1, 2, 3, 4, 5, 6])
    expect(steps().length).toBeGreaterThan(6)
  })

  it('repeats one step at most after a crash', async () => {
    const world = await makeWorld()
    let crashed = false
    const { promise: never } = Promise.withResolvers<void>()
    const { id, steps } = await start(world, 4, (step) => {
      if (step !== 3 || crashed) return
      crashed = true
      return never
    })
    await eventually(async () => crashed)
    expect(await made(world, id)).toEqual([1, 2])
    // As another life of the object finds it: nothing in memory, and its alarm set.
    const at = await runInDurableObject(runnerOf(world, id), (_, { storage }) => storage.getAlarm())
    expect(at).toBeGreaterThan(Date.now())
    while ((await makeStep(system(world), id)) !== null);
    expect((await readJob(world, id)).status).toBe('completed')
    expect(await made(world, id)).toEqual([1, 2, 3, 4])
    expect(steps()).toEqual([1, 2, 3, 3, 4])
  })

  it('waits where its step says so, and answers meanwhile', async () => {
    const world = await makeWorld()
    const { id } = await start(world, 2, undefined, { wait_ms: 1_200 })
    const waiting = await endedJob(world, id, ({ progress }) => progress === 50)
    expect(waiting.status).toBe('running')
    const begun = Date.parse(waiting.updated_at)
    const done = await endedJob(world, id)
    expect(Date.parse(done.updated_at) - begun).toBeGreaterThanOrEqual(1_200)
  })

  it('is tried again where a step fails, and says so', async () => {
    const world = await makeWorld()
    let failures = 0
    const { id, steps } = await start(world, 3, (step) => {
      if (step === 2 && failures++ < 1) throw new Error('a secret of the machine')
    })
    const trying = await endedJob(world, id, ({ error }) => error !== null)
    expect(trying).toMatchObject({ status: 'running', error: { code: 'internal_error' } })
    expect(JSON.stringify(trying)).not.toContain('a secret')
    const done = await endedJob(world, id)
    expect(done).toMatchObject({ status: 'completed', error: null })
    expect(steps()).toEqual([1, 2, 2, 3])
    expect(await made(world, id)).toEqual([1, 2, 3])
  })

  it('fails after eight failures of one step, and goes on from its checkpoint when it is retried', async () => {
    const world = await makeWorld()
    let healed = false
    const { id, steps } = await start(world, 3, (step) => {
      if (step === 2 && !healed) throw new Error('still')
    })
    await endedJob(world, id, ({ error }) => error !== null)
    for (let n = 2; n <= 8; n++) {
      expect((await readJob(world, id)).status).toBe('running')
      await set(id, `next_at = '${iso(Date.now())}', failures = ${n - 1}`)
      await makeStep(system(world), id)
    }
    const failed = await endedJob(world, id)
    expect(failed).toMatchObject({ status: 'failed', progress: 33, error: { code: 'internal_error' } })
    expect(await eventsOf(world, 'job.failed')).toMatchObject([
      { job_id: id, result: { made: 1 }, error: { code: 'internal_error' } },
    ])
    healed = true
    const retried = await ask(world, id, 'retry')
    expect([retried.status, retried.data.status, retried.data.error]).toEqual([202, 'queued', null])
    expect(await endedJob(world, id)).toMatchObject({ status: 'completed', result: { made: 3 } })
    expect(await made(world, id)).toEqual([1, 2, 3])
    expect(steps().filter((step) => step === 1)).toEqual([1])
  })

  it('fails at once where the step refuses, with its reason', async () => {
    const world = await makeWorld()
    const { id, steps } = await start(world, 2, () => {
      throw problem.notFound('campaign', 'x')
    })
    const failed = await endedJob(world, id)
    expect(failed.error).toEqual({ code: 'not_found', message: 'There is no campaign with the id x' })
    expect(steps()).toEqual([1])
    const unknown = await insertJob(world.tenant.id, { kind: 'gone.kind', next_at: iso(Date.now()) })
    await makeStep(system(world), unknown)
    expect((await readJob(world, unknown)).error?.message).toBe(
      'There is no job of the kind gone.kind any more',
    )
  })

  it('is cancelled in the middle of a step, which is taken back', async () => {
    const world = await makeWorld()
    const gate = Promise.withResolvers<void>()
    const { id, steps } = await start(world, 3, (step) => (step === 2 ? gate.promise : undefined))
    await eventually(async () => steps().includes(2))
    const cancelled = await ask(world, id, 'cancel')
    expect([cancelled.status, cancelled.data.status]).toEqual([200, 'cancelled'])
    gate.resolve()
    await scheduler.wait(300)
    expect(await readJob(world, id)).toMatchObject({ status: 'cancelled', result: { made: 1 } })
    expect(await made(world, id)).toEqual([1])
    expect(await eventsOf(world, 'job.completed')).toEqual([])
    expect((await ask(world, id, 'retry')).status).toBe(202)
    expect((await endedJob(world, id)).status).toBe('completed')
    expect(await made(world, id)).toEqual([1, 2, 3])
  })

  it('goes on by itself after D1 was away, and no step has failed by that', async () => {
    const world = await makeWorld()
    const { id } = await start(world, 3, undefined, { wait_ms: HOUR })
    await endedJob(world, id, ({ progress }) => progress === 33)
    await set(id, `next_at = '${iso(Date.now())}'`)
    const away = {
      batch: () => Promise.reject(new Error('D1 is away')),
      prepare: () => {
        throw new Error('D1 is away')
      },
    }
    const stub = runnerOf(world, id)
    const waits = await runInDurableObject(stub, async (runner: JobRunner, { storage }) => {
      const broken = runner as unknown as { env: Bindings }
      const own = broken.env
      broken.env = { ...own, DB: away as never }
      const waits: number[] = []
      for (let n = 0; n < 8; n++) {
        await runner.alarm()
        waits.push(((await storage.getAlarm()) ?? 0) - Date.now())
      }
      broken.env = own
      return waits
    })
    for (const [n, wait] of waits.entries()) {
      expect(wait).toBeGreaterThan(Math.min(1_000 * 2 ** n, 30_000) - 500)
      expect(wait).toBeLessThanOrEqual(Math.min(1_000 * 2 ** n, 30_000))
    }
    expect(await readJob(world, id)).toMatchObject({ status: 'running', error: null })
    expect(await runDurableObjectAlarm(stub)).toBe(true)
    await endedJob(world, id, ({ progress }) => progress === 66)
  })

  it('is taken up by the sweep where nobody was told of it, and waits for a tenant that is suspended', async () => {
    const world = await makeWorld()
    const input = { name: crypto.randomUUID(), steps: 1 }
    const overdue = { kind: 'test.counting', input, state: { step: 0 }, next_at: iso(Date.now() - 10_000) }
    const status = (to: string) =>
      env.DB.prepare('update tenants set status = ? where id = ?').bind(to, world.tenant.id).run()
    await status('suspended')
    const id = await insertJob(world.tenant.id, overdue)
    await wakeOverdueJobs(bindings, Date.now())
    expect(await makeStep(system(world), id)).toBeNull()
    expect(await made(world, id)).toEqual([])
    await status('active')
    expect(await wakeOverdueJobs(bindings, Date.now())).toBeGreaterThan(0)
    expect((await endedJob(world, id)).status).toBe('completed')
  })

  it('of a tenant that is gone ends its object', async () => {
    const world = await makeWorld()
    const { id } = await start(world, 2, undefined, { wait_ms: HOUR })
    await endedJob(world, id, ({ progress }) => progress === 50)
    await env.DB.prepare('delete from jobs where tenant_id = ?').bind(world.tenant.id).run()
    expect(await runDurableObjectAlarm(runnerOf(world, id))).toBe(true)
    const kept = await runInDurableObject(runnerOf(world, id), (_, { storage }) => storage.list())
    expect(kept.size).toBe(0)
  })

  it('is dropped ninety days after it began, if it has ended by then', async () => {
    const world = await makeWorld()
    const old = (more: object) =>
      insertJob(world.tenant.id, { id: newId(Date.now() - 91 * 24 * HOUR), ...more })
    const [waiting] = [await old({}), await old({ status: 'failed', next_at: null })]
    const young = await insertJob(world.tenant.id, { status: 'completed', next_at: null })
    await dropOldJobs({ ...world.ctx, now: Date.now() })
    const { results } = await env.DB.prepare('select id from jobs where tenant_id = ? order by id')
      .bind(world.tenant.id)
      .all<{ id: string }>()
    expect(results.map(({ id }) => id)).toEqual([waiting, young])
  })

  it('is completed when the caller hears of it where its first step was all', async () => {
    const world = await makeWorld()
    const first = { ...none, state: { step: 1 }, done: true, result: { made: 1 } }
    const input = { name: 'once', steps: 1 }
    const job = await startJob(world.ctx, counting, input, first, () => [])
    expect(job).toMatchObject({ status: 'completed', progress: 100, result: { made: 1 } })
    expect(await eventsOf(world, 'job.completed')).toHaveLength(1)
  })
})

describe('what a caller may', { timeout: 30_000 }, () => {
  it('is told by the job’s state: 409 otherwise', async () => {
    const world = await makeWorld()
    const refused = async (
      status: 'queued' | 'running' | 'completed' | 'failed',
      verb: 'cancel' | 'retry',
    ) => {
      const ended = status === 'completed' || status === 'failed'
      const id = await insertJob(world.tenant.id, { status, ...(ended ? { next_at: null } : {}) })
      await expectError(
        call('POST', `/api/v1/jobs/${id}/${verb}`, { token: world.developer.token }),
        'conflict',
      )
      expect((await readJob(world, id)).status).toBe(status)
    }
    await refused('completed', 'cancel')
    await refused('failed', 'cancel')
    await refused('completed', 'retry')
    await refused('queued', 'retry')
    await refused('running', 'retry')
  })

  it('needs the scope that starting it needs, and is nothing to a reader', async () => {
    const world = await makeWorld()
    const id = await insertJob(world.tenant.id)
    const keyOf = async (scopes: string[]) => {
      const body = { name: scopes.join(), scopes }
      return (
        await callJson<{ key: string }>('POST', '/api/v1/auth/api-keys', { token: world.admin.token, body })
      ).data.key
    }
    const half = await keyOf(['jobs:read', 'jobs:write'])
    const error = await expectError(
      call('POST', `/api/v1/jobs/${id}/cancel`, { key: half }),
      'insufficient_scope',
    )
    expect(error.details).toEqual({ required: ['deliveries:write'], missing: 'deliveries:write' })
    for (const reader of [world.viewer, world.member])
      await expectError(
        call('POST', `/api/v1/jobs/${id}/cancel`, { token: reader.token }),
        'insufficient_scope',
      )
    const whole = await keyOf(['jobs:write', 'deliveries:write'])
    expect((await ask(world, id, 'cancel', { key: whole })).status).toBe(200)
  })

  it('is to be cancelled once: of ten at once one is on record', async () => {
    const world = await makeWorld()
    const id = await insertJob(world.tenant.id)
    const answers = await Promise.all(Array.from({ length: 10 }, () => ask(world, id, 'cancel')))
    const statuses = answers.map(({ status }) => status).sort()
    expect(statuses).toEqual([200, ...Array.from({ length: 9 }, () => 409)])
    const { results } = await env.DB.prepare(
      `select action from audit_log where tenant_id = ? and resource = 'job' and resource_id = ?`,
    )
      .bind(world.tenant.id, id)
      .all()
    expect(results).toEqual([{ action: 'job.cancel' }])
  })

  it('is a list, by status, kind and time, and a version to go by', async () => {
    const world = await makeWorld()
    const made = [
      await insertJob(world.tenant.id, { status: 'failed', next_at: null }),
      await insertJob(world.tenant.id, { kind: 'test.counting' }),
      await insertJob(world.tenant.id, { status: 'failed', kind: 'test.counting', next_at: null }),
    ]
    const list = async (query: string) =>
      (await callJson<Job[]>('GET', `/api/v1/jobs?${query}`, { token: world.viewer.token })).data.map(
        ({ id }) => made.indexOf(id),
      )
    expect(await list('')).toEqual([2, 1, 0])
    expect(await list('status=failed')).toEqual([2, 0])
    expect(await list('kind=test.counting')).toEqual([2, 1])
    expect(await list('kind=test.counting&status=failed')).toEqual([2])
    expect(await list(`created_before=${iso(Date.now() - HOUR)}`)).toEqual([])
    expect(await list(`created_after=${iso(Date.now() - HOUR)}&limit=2`)).toEqual([2, 1])
    const path = `/api/v1/jobs/${made[1]}`
    const read = await call('GET', path, { token: world.viewer.token })
    const etag = read.headers.get('ETag') ?? ''
    expect(etag).toBe('"v1"')
    const stale = { token: world.developer.token, headers: { 'If-Match': '"v9"' } }
    await expectError(call('POST', `${path}/cancel`, stale), 'precondition_failed')
    const fresh = await call('POST', `${path}/cancel`, { ...stale, headers: { 'If-Match': etag } })
    expect(fresh.status).toBe(200)
  })

  it('keeps a tenant’s jobs to itself', async () => {
    const [a, b] = [await makeWorld(), await makeWorld()]
    const id = await insertJob(a.tenant.id)
    await expectError(call('GET', `/api/v1/jobs/${id}`, { token: b.admin.token }), 'not_found')
    await expectError(call('POST', `/api/v1/jobs/${id}/cancel`, { token: b.admin.token }), 'not_found')
    expect(await makeStep(system(b), id)).toBeNull()
    expect((await readJob(a, id)).status).toBe('queued')
  })
})

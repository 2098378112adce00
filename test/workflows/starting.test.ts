import { createExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { allSweeps, dueNext } from '../../src/data/sweeping'
import { bareTenant, systemContext } from '../../src/data/system'
import { makeStep } from '../../src/domains/jobs/steps'
import { sweep } from '../../src/domains/webhooks/deliveries/sweep'
import { startAwaited } from '../../src/domains/workflows/awaited'
import { nextTick } from '../../src/domains/workflows/cron'
import type { Workflow } from '../../src/domains/workflows/schema'
import type { Bindings } from '../../src/env'
import { iso } from '../../src/lib/ids'
import { expectError } from '../http/expect-error'
import { eventually, makeReceiver } from '../webhooks/receiver'
import { call, callJson, makeWorld, type World } from '../world'
import { endedRun, eventsOf, makeWorkflow, runsOf, sendEvent, startWorkflow } from './kit'

const bindings = env as unknown as Bindings
const TELL = { name: 'tell', type: 'webhook', event_type: 'test.told', data: { from: '{{input}}' } }
const PAUSE = { name: 'pause', type: 'wait', seconds: 3600 }
const system = (world: World) => systemContext(bindings, bareTenant(world.tenant.id), 'test', () => {})
const waiting = async (world: World) =>
  env.DB.prepare('select count(*) as n from workflow_events where tenant_id = ?')
    .bind(world.tenant.id)
    .first<number>('n')
const patch = (world: World, { id }: Workflow, body: object) =>
  callJson<Workflow>('PATCH', `/api/v1/workflows/${id}`, { token: world.developer.token, body })
const sweepNow = (now = Date.now()) => sweep(bindings, createExecutionContext(), now)
const soon = () => Date.now() + 5_000
/** How many workflows the sweep says are to be looked after still. */
const startsLeft = () =>
  allSweeps().get('workflows_not_started')?.(bindings, createExecutionContext(), Date.now())
const setStatus = (world: World, status: string) =>
  env.DB.prepare('update tenants set status = ? where id = ?').bind(status, world.tenant.id).run()

/** The database, as if it failed whatever is asked of it about a tenant by its id. */
const failingFor = (world: World) =>
  ({
    ...{ batch: (...all: Parameters<D1Database['batch']>) => env.DB.batch(...all) },
    prepare: (text: string) => {
      const statement = env.DB.prepare(text)
      const bind = (...values: unknown[]) => {
        if (!text.includes('recursive') && values.includes(world.tenant.id)) throw new Error('D1 is away')
        return statement.bind(...values)
      }
      return { bind }
    },
  }) as unknown as D1Database

describe('an event', { timeout: 40_000 }, () => {
  it('starts the workflows that take its type and whose filter lets it pass, each once', async () => {
    const world = await makeWorld()
    const filter = { path: 'total', compare: { gte: 100 } }
    const exact = await makeWorkflow(world, {
      steps: [TELL],
      triggers: [{ type: 'event', event_type: 'order.shipped', filter }],
    })
    const both = await makeWorkflow(world, {
      steps: [PAUSE],
      triggers: [
        { type: 'event', event_type: 'order.*' },
        { type: 'event', event_type: 'order.shipped' },
      ],
    })
    const off = await makeWorkflow(world, {
      ...{ steps: [TELL], is_active: false, triggers: [{ type: 'event', event_type: 'order.*' }] },
    })
    await sendEvent(world, 'orders.shipped', { total: 500 })
    await sendEvent(world, 'order.shipped', { total: 5 })
    const id = await sendEvent(world, 'order.shipped', { total: 120 })
    const [run] = await eventually(async () => {
      const runs = await runsOf(world, exact)
      return runs.length > 0 && runs
    })
    expect(run?.input).toMatchObject({
      ...{ workflow_id: exact.id, workflow_version: 1, input: { total: 120 } },
      trigger: { type: 'event', event: { id, type: 'order.shipped', subject: null } },
    })
    await endedRun(world, exact, run?.id ?? '')
    expect(await eventsOf(world, 'test.told')).toMatchObject([{ data: { from: { total: 120 } } }])
    await eventually(async () => (await runsOf(world, both)).length === 2)
    expect(await waiting(world)).toBe(0)
    await sweepNow()
    expect((await runsOf(world, exact)).length).toBe(1)
    expect((await runsOf(world, both, 'status=running')).length).toBe(2)
    expect(await runsOf(world, off)).toEqual([])
  })

  it('starts a run once, however many look at once and though nobody was nudged', async () => {
    const world = await makeWorld()
    const workflow = await makeWorkflow(world, {
      steps: [PAUSE],
      triggers: [{ type: 'event', event_type: 'a.b' }],
    })
    await setStatus(world, 'suspended')
    // As a crash leaves it: the event stands, and what it starts with it.
    await env.DB.prepare(
      `insert into events (tenant_id, id, type, channels, data, dispatched, timestamp) values (?, ?, 'a.b', '[]', '{}', 1, ?)`,
    )
      .bind(world.tenant.id, `msg_${crypto.randomUUID()}`, iso(Date.now()))
      .run()
    expect(await waiting(world)).toBe(1)
    await startAwaited(system(world), workflow.id, soon())
    expect(await waiting(world)).toBe(1)
    await setStatus(world, 'active')
    await Promise.all(Array.from({ length: 8 }, () => startAwaited(system(world), workflow.id, soon())))
    await sweepNow()
    expect(await runsOf(world, workflow)).toHaveLength(1)
    expect(await waiting(world)).toBe(0)
  })

  it('waits while the workflow has its most runs under way, and starts one when there is room', async () => {
    const world = await makeWorld()
    const workflow = await makeWorkflow(world, {
      ...{ steps: [PAUSE], max_runs: 2, triggers: [{ type: 'event', event_type: 'a.b' }] },
    })
    for (let n = 0; n < 4; n++) await sendEvent(world, 'a.b', { n })
    const runs = await eventually(async () => {
      const all = await runsOf(world, workflow)
      return all.length === 2 && all
    })
    await sweepNow()
    expect([await waiting(world), (await runsOf(world, workflow)).length]).toEqual([2, 2])
    // Nothing is to be done until a run ends, so the sweeper may sleep.
    expect(await startsLeft()).toBe(0)
    const path = `/api/v1/workflows/${workflow.id}/start`
    const error = await expectError(
      call('POST', path, { token: world.developer.token, body: {} }),
      'conflict',
    )
    expect(error.message).toContain('max_runs')
    await callJson('POST', `/api/v1/jobs/${runs[0]?.id}/cancel`, { token: world.developer.token })
    await sweepNow()
    const inputs = (await runsOf(world, workflow)).map(({ input }) => (input.input as { n: number }).n)
    expect([await waiting(world), inputs]).toEqual([1, [2, 1, 0]])
    await patch(world, workflow, { is_active: false })
    expect(await waiting(world)).toBe(0)
  })

  it('waits behind no hundred workflows of somebody else', async () => {
    const [busy, other] = (await Promise.all([makeWorld(), makeWorld()])).sort((one, two) =>
      one.tenant.id < two.tenant.id ? -1 : 1,
    ) as [World, World]
    const making = { steps: [PAUSE], triggers: [{ type: 'event', event_type: 'a.b' }] }
    const [mine, theirs] = [await makeWorkflow(busy, making), await makeWorkflow(other, making)]
    const wait = (world: World, id: string) =>
      env.DB.prepare(
        'insert into workflow_events (tenant_id, workflow_id, seq, event_id) values (?, ?, ?, ?)',
      ).bind(...[world.tenant.id, id, Date.now(), 'msg_gone'])
    const copies = Array.from({ length: 100 }, (_, n) => `${mine.id.slice(0, -3)}${100 + n}`)
    const columns = 'name, description, is_active, triggers, steps, max_runs, version, created_at, updated_at'
    await env.DB.batch([
      ...copies.map((id) =>
        env.DB.prepare(
          `insert into workflows (tenant_id, id, ${columns}) select tenant_id, ?, ${columns} from workflows where id = ?`,
        ).bind(id, mine.id),
      ),
      ...copies.map((id) => wait(busy, id)),
      wait(other, theirs.id),
    ])
    // Those of the first can't be started, now and later.
    const failing = { ...bindings, DB: failingFor(busy) }
    const look = allSweeps().get('workflows_not_started')
    expect(await look?.(failing, createExecutionContext(), Date.now())).toBeGreaterThanOrEqual(100)
    await look?.(failing, createExecutionContext(), Date.now())
    expect([await waiting(busy), await waiting(other)]).toEqual([100, 0])
    await look?.(bindings, createExecutionContext(), Date.now())
    // Of what stands before where a look began, another has to tell.
    expect([await waiting(busy), await startsLeft(), await startsLeft()]).toEqual([0, 1, 0])
  })

  it('of a run’s own starts others no more than five deep, and a run that was refused nothing at all', async () => {
    const world = await makeWorld()
    const workflow = await makeWorkflow(world, {
      ...{ steps: [{ ...TELL, data: {} }], triggers: [{ type: 'event', event_type: 'test.told' }] },
    })
    await startWorkflow(world, workflow)
    const failed = await eventually(async () => (await runsOf(world, workflow, 'status=failed'))[0])
    expect(failed.error?.message).toMatch(/^The step tell failed: 5 runs of workflows stand behind this one/)
    await sweepNow()
    await scheduler.wait(500)
    expect((await runsOf(world, workflow)).map(({ status }) => status)).toEqual([
      'failed',
      ...Array(6).fill('completed'),
    ])
    const ends = await makeWorkflow(world, {
      ...{ steps: [{ ...TELL, event_type: 'test.end' }], triggers: [{ type: 'event', event_type: 'job.*' }] },
    })
    await startWorkflow(world, ends)
    await eventually(async () => (await runsOf(world, ends, 'status=failed')).length === 1)
    await sweepNow()
    await scheduler.wait(500)
    expect((await runsOf(world, ends)).length).toBe(7)
  })
})

describe('a schedule', { timeout: 40_000 }, () => {
  const due = (workflow: Workflow, at: number) =>
    env.DB.prepare('update workflow_triggers set next_at = ? where workflow_id = ?')
      .bind(iso(at), workflow.id)
      .run()
  const nextOf = async (world: World, { id }: Workflow) =>
    (await callJson<Workflow>('GET', `/api/v1/workflows/${id}`, { token: world.viewer.token })).data
      .next_run_at

  it('starts a run when it is due; of ticks that were missed, one', async () => {
    const world = await makeWorld()
    const workflow = await makeWorkflow(world, {
      steps: [PAUSE],
      triggers: [{ type: 'schedule', cron: '*/5 * * * *', time_zone: 'Europe/Berlin' }],
    })
    const next = Date.parse(workflow.next_run_at ?? '')
    expect([next > Date.now(), next <= Date.now() + 300_000, next % 300_000]).toEqual([true, true, 0])
    expect(await dueNext(bindings)).toBeLessThanOrEqual(next)
    const missed = Date.now() - 24 * 3600_000
    await due(workflow, missed)
    await Promise.all([sweepNow(), sweepNow()])
    const runs = await runsOf(world, workflow)
    expect(runs.map(({ input }) => input.trigger)).toEqual([{ type: 'schedule', scheduled_for: iso(missed) }])
    expect(Date.parse((await nextOf(world, workflow)) ?? '')).toBeGreaterThan(Date.now())
    expect(runs[0]?.created_by).toBeNull()
  })

  it('means its own time zone, whatever the season', async () => {
    const world = await makeWorld()
    const workflow = await makeWorkflow(world, {
      steps: [PAUSE],
      triggers: [{ type: 'schedule', cron: '0 9 * * *', time_zone: 'America/New_York' }],
    })
    const at = new Date(workflow.next_run_at ?? '')
    const local = new Intl.DateTimeFormat('en', {
      timeZone: 'America/New_York',
      hour: 'numeric',
      hourCycle: 'h23',
    })
    expect([local.format(at), at.getUTCMinutes()]).toEqual(['09', 0])
  })

  it('comes once where daylight saving skips its time, or repeats it; each hour comes all the same', () => {
    const ticks = (cron: string, from: string, count: number) => {
      const all: string[] = []
      for (let at = Date.parse(from); all.length < count; all.push(iso(at).slice(5, 16)))
        at = nextTick(cron, 'Europe/Berlin', at) ?? Number.NaN
      return all
    }
    const daily = '30 2 * * *'
    expect(ticks(daily, '2026-03-28T12:00:00Z', 2)).toEqual(['03-29T01:00', '03-30T00:30'])
    expect(ticks(daily, '2026-10-24T12:00:00Z', 2)).toEqual(['10-25T00:30', '10-26T01:30'])
    expect(ticks('0 * * * *', '2026-10-24T23:30:00Z', 3)).toEqual([
      '10-25T00:00',
      '10-25T01:00',
      '10-25T02:00',
    ])
    expect(ticks('0 * * * *', '2026-03-28T23:30:00Z', 3)).toEqual([
      '03-29T00:00',
      '03-29T01:00',
      '03-29T02:00',
    ])
  })

  it('leaves a tick out where the most runs are under way, the tenant is suspended, or it is switched off', async () => {
    const world = await makeWorld()
    const workflow = await makeWorkflow(world, {
      ...{ steps: [PAUSE], max_runs: 1, triggers: [{ type: 'schedule', cron: '@hourly' }] },
    })
    const tick = async () => {
      await due(workflow, Date.now() - 1_000)
      await sweepNow()
      expect(Date.parse((await nextOf(world, workflow)) ?? '')).toBeGreaterThan(Date.now())
      return (await runsOf(world, workflow)).length
    }
    await setStatus(world, 'suspended')
    await due(workflow, Date.now() - 1_000)
    await sweepNow()
    await setStatus(world, 'active')
    expect((await runsOf(world, workflow)).length).toBe(0)
    expect([await tick(), await tick()]).toEqual([1, 1])
    const off = await patch(world, workflow, { is_active: false })
    expect([off.data.is_active, off.data.next_run_at]).toEqual([false, null])
    const on = await patch(world, workflow, { is_active: true, max_runs: 5 })
    expect(Date.parse(on.data.next_run_at ?? '')).toBeGreaterThan(Date.now())
    expect(await tick()).toBe(2)
  })
})

describe('a run', { timeout: 40_000 }, () => {
  it('goes on with the steps that it began with, and is cancelled with its workflow', async () => {
    const world = await makeWorld()
    const workflow = await makeWorkflow(world, { steps: [PAUSE, TELL] })
    const id = await startWorkflow(world, workflow)
    await endedRun(world, workflow, id, ({ current_step }) => current_step === 'tell')
    const changed = await patch(world, workflow, { steps: [{ ...TELL, event_type: 'test.other' }] })
    expect(changed.data.version).toBe(2)
    await env.DB.prepare('update jobs set next_at = ? where id = ?').bind(iso(Date.now()), id).run()
    await makeStep(system(world), id)
    expect(await endedRun(world, workflow, id)).toMatchObject({
      status: 'completed',
      input: { workflow_version: 1 },
    })
    expect(await eventsOf(world, 'test.other')).toEqual([])
    await patch(world, workflow, { steps: [PAUSE] })
    const second = await startWorkflow(world, workflow)
    const deleted = await call('DELETE', `/api/v1/workflows/${workflow.id}`, { token: world.developer.token })
    expect(deleted.status).toBe(204)
    const job = await callJson('GET', `/api/v1/jobs/${second}`, { token: world.viewer.token })
    expect(job.data).toMatchObject({ status: 'cancelled', kind: 'workflows.run' })
    const again = call('POST', `/api/v1/jobs/${second}/retry`, { token: world.developer.token })
    expect((await expectError(again, 'conflict')).message).toContain('was deleted')
    const path = `/api/v1/workflows/${workflow.id}/runs/${second}`
    await expectError(
      call('GET', `/api/v1/workflows/${workflow.id}/runs`, { token: world.viewer.token }),
      'not_found',
    )
    expect((await call('GET', path, { token: world.viewer.token })).status).toBe(200)
  })

  it('goes on again where there is room for it', async () => {
    const world = await makeWorld()
    const workflow = await makeWorkflow(world, { steps: [PAUSE], max_runs: 1 })
    const first = await startWorkflow(world, workflow)
    const { token } = world.developer
    await callJson('POST', `/api/v1/jobs/${first}/cancel`, { token })
    const second = await startWorkflow(world, workflow)
    const error = await expectError(call('POST', `/api/v1/jobs/${first}/retry`, { token }), 'conflict')
    expect(error.message).toContain('max_runs')
    await callJson('POST', `/api/v1/jobs/${second}/cancel`, { token })
    const retried = await callJson('POST', `/api/v1/jobs/${first}/retry`, { token })
    expect(retried.status).toBe(202)
    expect(retried.data).toMatchObject({ id: first, status: 'queued' })
  })

  it('repeats after a crash the step that was under way and no other, with the same key', async () => {
    const world = await makeWorld()
    const answer = { status: 200, body: 'fine' }
    const receiver = await makeReceiver(answer, answer, answer)
    const workflow = await makeWorkflow(world, {
      steps: [
        { name: 'one', type: 'http', url: receiver.url },
        { name: 'two', type: 'http', url: receiver.url },
        { name: 'told', type: 'webhook', event_type: 'test.told', data: {} },
      ],
    })
    const id = await startWorkflow(world, workflow)
    const run = await endedRun(world, workflow, id)
    // As the crash left it: the request of the second step was made, its checkpoint was not.
    const { results } = await env.DB.prepare('select state from jobs where id = ?')
      .bind(id)
      .all<{ state: string }>()
    const state = JSON.parse(results[0]?.state ?? '')
    const { one } = state.done
    const before = JSON.stringify({ ...state, at: 'two', made: 1, done: { one } })
    await env.DB.prepare(
      `update jobs set status = 'running', finished_at = null, state = ?, next_at = ? where id = ?`,
    )
      .bind(before, iso(Date.now()), id)
      .run()
    while ((await makeStep(system(world), id)) !== null);
    expect(run.steps.map(({ name }) => name)).toEqual(['one', 'two', 'told'])
    const keys = (await receiver.seen()).map(({ headers }) => headers['idempotency-key'])
    expect(keys).toEqual([`${id}:one:1`, `${id}:two:1`, `${id}:two:1`])
    // The event has its place in the run as its origin: it came once.
    expect(await eventsOf(world, 'test.told')).toHaveLength(1)
  })
})

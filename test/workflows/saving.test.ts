import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { contextFor } from '../../src/data/system'
import { scopesOf } from '../../src/domains/tenancy/scopes'
import { nextTick, refusalOfCron } from '../../src/domains/workflows/cron'
import { CreateWorkflow, type Workflow } from '../../src/domains/workflows/schema'
import { createWorkflow } from '../../src/domains/workflows/service'
import { expectError } from '../http/expect-error'
import { eventually } from '../webhooks/receiver'
import { call, callJson, makePlatformAdmin, makeWorld, requestContext, type World } from '../world'
import { makeWorkflow, runsOf, sendEvent, startWorkflow } from './kit'

const TELL = { name: 'tell', type: 'webhook', event_type: 'test.told' }
const CALL = { name: 'call', type: 'http', url: 'https://api.example.com/{{input.id}}' }

const create = (world: World, body: object, init: object = { token: world.developer.token }) =>
  call('POST', '/api/v1/workflows', { ...init, body: { name: 'Test', ...body } })

/** The fields that a body is refused for. */
async function refused(world: World, body: object): Promise<Record<string, string>> {
  const error = await expectError(create(world, body), 'validation_failed')
  return error.details.fields ?? {}
}

describe('what is saved', { timeout: 30_000 }, () => {
  it('fits together: names, where steps lead, what they use', async () => {
    const world = await makeWorld()
    expect(await refused(world, { steps: [] })).toEqual({ steps: 'must have at least one step' })
    expect(await refused(world, { steps: [{ name: 'x', type: 'mail' }] })).toEqual({
      'steps.0.type': 'must have a type: http, webhook, agent, wait or branch',
    })
    const steps = [
      { ...TELL, next: 'nowhere', on_failure: 'gone' },
      { ...TELL, data: { list: [{ x: '{{steps.other.output}}' }], y: '{{inputs.x}}', z: '{{secrets.k}}' } },
      { name: 'pause', type: 'wait', until: '{{ input.at ?? 5 }}', seconds: 5 },
      { name: 'Pause', type: 'wait', seconds: 5 },
      { name: 'constructor', type: 'wait', seconds: 0 },
      { name: 'get', type: 'http', method: 'GET', url: 'https://example.com/', body: {} },
      {
        name: 'choose',
        type: 'branch',
        branches: [{ when: { path: 'input.x', like: 'y' }, next: 'nowhere' }],
      },
    ]
    const wrong = await refused(world, { steps })
    expect(Object.keys(wrong).sort()).toEqual([
      ...['steps.0.next', 'steps.0.on_failure', 'steps.1.data.list.0.x', 'steps.1.data.y', 'steps.1.data.z'],
      ...[
        'steps.1.name',
        'steps.2.seconds',
        'steps.3.name',
        'steps.4.name',
        'steps.4.seconds',
        'steps.5.body',
      ],
      ...['steps.6.branches.0.next', 'steps.6.branches.0.when.like'],
    ])
    expect(wrong['steps.4.name']).toBe('is a word that can’t be used; choose another')
    expect(wrong['steps.1.data.list.0.x']).toBe('uses {{steps.other.output}}, but no step is called other')
    expect(wrong['steps.0.next']).toBe('leads to nowhere, which is no step of the workflow')
  })

  it('is bounded: steps, their size, how deep they are nested', async () => {
    const world = await makeWorld()
    const many = Array.from({ length: 51 }, (_, n) => ({ ...TELL, name: `s${n}` }))
    expect(await refused(world, { steps: many })).toEqual({ steps: 'must have at most 50 steps' })
    const size = 'must have at most 64 KiB as JSON, nested 32 deep at most'
    expect(await refused(world, { steps: [{ ...TELL, data: { x: 'y'.repeat(66_000) } }] })).toEqual({
      steps: size,
    })
    const text = `{"name":"Deep","steps":[{"name":"a","type":"http","url":"https://example.com","body":${'['.repeat(40)}${']'.repeat(40)}}]}`
    const headers = { 'Content-Type': 'application/json' }
    const error = await expectError(
      call('POST', '/api/v1/workflows', { token: world.developer.token, raw: text, headers }),
      'validation_failed',
    )
    expect(error.details.fields).toEqual({ steps: size })
    const workflow = await makeWorkflow(world, { steps: [TELL] })
    const start = await expectError(
      call('POST', `/api/v1/workflows/${workflow.id}/start`, {
        ...{ token: world.developer.token, body: { input: { x: 'y'.repeat(66_000) } } },
      }),
      'validation_failed',
    )
    expect(start.details.fields).toEqual({ input: size })
  })

  it('sends no event of the service’s own, nor a header that is ours or a credential in clear', async () => {
    const world = await makeWorld()
    expect(await refused(world, { steps: [{ ...TELL, event_type: 'job.completed' }] })).toEqual({
      'steps.0.event_type': 'is one of the service’s own types; send it under a name of yours',
    })
    const headers = {
      Host: 'x',
      'Idempotency-Key': 'x',
      Authorization: 'Bearer k',
      'X-Fine': 'x',
      'X-Bad': 'a\nb',
    }
    expect(await refused(world, { steps: [{ ...CALL, headers }] })).toEqual({
      'steps.0.headers.Host': 'belongs to the connection and can’t be set',
      'steps.0.headers.Idempotency-Key': 'is set by the service; choose another name',
      'steps.0.headers.Authorization': expect.stringMatching(/^must not stand here in clear/),
      'steps.0.headers.X-Bad': 'must be visible ASCII without spaces at its ends',
    })
  })

  it('leads to no address that may not be called, uses no secret or agent that is not there', async () => {
    const world = await makeWorld()
    const agent_id = crypto.randomUUID()
    const steps = [
      { ...CALL, name: 'a', url: 'http://169.254.169.254/{{input.x}}' },
      { ...CALL, name: 'b', headers: { Authorization: 'Bearer {{secrets.gone}}' } },
      { ...CALL, name: 'c', body: { key: '{{secrets.elsewhere}}' } },
      { name: 'd', type: 'agent', agent_id, prompt: 'Hello' },
    ]
    await callJson('PUT', '/api/v1/secrets/elsewhere', {
      token: world.admin.token,
      body: { value: 'key-1', hosts: ['elsewhere.example.com'] },
    })
    expect(await refused(world, { steps })).toEqual({
      'steps.0.url': 'must not be the address of a cloud’s metadata service',
      'steps.1.headers':
        'uses {{secrets.gone}}, which is not there: set it first with PUT /api/v1/secrets/gone',
      'steps.2.body': 'uses {{secrets.elsewhere}}, which may not go to api.example.com',
      'steps.3.agent_id': 'must be the id of an agent of the tenant',
    })
    const other = await makeWorld()
    const theirs = await callJson<{ id: string }>('POST', '/api/v1/agents', {
      token: other.developer.token,
      body: { name: 'Theirs', kind: 'echo' },
    })
    expect(await refused(world, { steps: [{ ...steps[3], agent_id: theirs.data.id }] })).toEqual({
      'steps.0.agent_id': 'must be the id of an agent of the tenant',
    })
  })

  it('is started by cron expressions that come, in time zones that there are', async () => {
    const world = await makeWorld()
    const at = (cron: string, time_zone = 'UTC') =>
      refused(world, { steps: [TELL], triggers: [{ type: 'schedule', cron, time_zone }] })
    for (const cron of [
      '* * * *',
      '* * * * * *',
      '61 * * * *',
      '0 0 30 2 *',
      'daily',
      '2026-01-01T00:00:00Z',
      '',
    ])
      expect(Object.keys(await at(cron))).toEqual(['triggers.0.cron'])
    expect(await at('0 9 * * *', 'Mars/Olympus')).toEqual({
      'triggers.0.time_zone': 'must be the name of a time zone, such as Europe/Berlin',
    })
    for (const cron of ['@daily', '*/15 8-17 * * mon-fri', '0 0 29 2 *', '0 12 L * *'])
      expect(refusalOfCron(cron)).toBeNull()
    // The hour that the clocks leave out in spring, and the one that comes twice in autumn.
    const berlin = (from: string) =>
      new Date(nextTick('30 2 * * *', 'Europe/Berlin', Date.parse(from)) ?? 0).toISOString()
    expect(berlin('2027-03-28T00:00:00Z')).toBe('2027-03-28T01:00:00.000Z')
    expect(berlin('2026-10-25T00:45:00Z')).toBe('2026-10-26T01:30:00.000Z')
  })
})

describe('who saves it', { timeout: 30_000 }, () => {
  it('must be allowed what its steps do', async () => {
    const world = await makeWorld()
    const keyOf = async (scopes: string[]) =>
      (
        await callJson<{ key: string }>('POST', '/api/v1/auth/api-keys', {
          ...{ token: world.admin.token, body: { name: scopes.join(), scopes } },
        })
      ).data.key
    await callJson('PUT', '/api/v1/secrets/k', {
      token: world.admin.token,
      body: { value: 'value', hosts: ['api.example.com'] },
    })
    const agent = await callJson<{ id: string }>('POST', '/api/v1/agents', {
      token: world.developer.token,
      body: { name: 'Echo', kind: 'echo' },
    })
    const wanted: [object, string][] = [
      [TELL, 'events:write'],
      [{ name: 'ask', type: 'agent', agent_id: agent.data.id, prompt: 'Hello' }, 'chats:write'],
      [{ ...CALL, body: '{{secrets.k}}' }, 'secrets:use'],
    ]
    const bare = await keyOf(['workflows:write'])
    for (const [step, missing] of wanted) {
      const error = await expectError(create(world, { steps: [step] }, { key: bare }), 'insufficient_scope')
      expect(error.details).toEqual({ required: [missing], missing })
      const allowed = await create(
        world,
        { steps: [step] },
        { key: await keyOf(['workflows:write', missing]) },
      )
      expect(allowed.status).toBe(201)
    }
    const off = await makeWorkflow(world, { steps: [TELL], is_active: false })
    const patched = (body: object) => call('PATCH', `/api/v1/workflows/${off.id}`, { key: bare, body })
    await expectError(patched({ is_active: true }), 'insufficient_scope')
    expect((await patched({ name: 'Other' })).status).toBe(200)
  })

  it('who acts in a tenant of others has none of its secrets sent', async () => {
    const world = await makeWorld()
    await callJson('PUT', '/api/v1/secrets/k', {
      token: world.admin.token,
      body: { value: 'value', hosts: ['api.example.com'] },
    })
    const platform = await makePlatformAdmin()
    const acting = { token: platform.token, headers: { 'X-Target-Tenant-ID': world.tenant.id } }
    const body = { steps: [{ ...CALL, body: '{{secrets.k}}' }] }
    await expectError(create(world, body, acting), 'forbidden_while_acting')
    expect((await create(world, { steps: [CALL] }, acting)).status).toBe(201)
  })

  it('changes it with its version, and finds it again', async () => {
    const world = await makeWorld()
    const workflow = await makeWorkflow(world, {
      name: 'Große Bestellungen',
      steps: [TELL],
      description: 'for sales',
    })
    const path = `/api/v1/workflows/${workflow.id}`
    const stale = { token: world.developer.token, headers: { 'If-Match': '"v9"' }, body: { name: 'x' } }
    await expectError(call('PATCH', path, stale), 'precondition_failed')
    const changed = await call('PATCH', path, {
      ...stale,
      headers: { 'If-Match': '"v1"' },
      body: { max_runs: 7 },
    })
    expect([changed.status, changed.headers.get('ETag')]).toEqual([200, '"v2"'])
    await makeWorkflow(world, { name: 'Other', steps: [TELL], is_active: false })
    const list = async (query: string) =>
      (
        await callJson<Workflow[]>('GET', `/api/v1/workflows?${query}`, { token: world.viewer.token })
      ).data.map(({ name }) => name)
    expect(await list('')).toEqual(['Other', 'Große Bestellungen'])
    expect(await list('q=große sales')).toEqual(['Große Bestellungen'])
    expect(await list('is_active=false')).toEqual(['Other'])
    const { results } = await env.DB.prepare(
      `select action, before, after from audit_log where tenant_id = ? and resource_id = ? order by seq`,
    )
      .bind(world.tenant.id, workflow.id)
      .all<{ action: string; before: string; after: string }>()
    expect(results.map(({ action }) => action)).toEqual(['workflow.create', 'workflow.update'])
    expect([JSON.parse(results[1]?.before ?? ''), JSON.parse(results[1]?.after ?? '')]).toEqual([
      { max_runs: 100 },
      { max_runs: 7 },
    ])
  })

  it('has a hundred at most', async () => {
    const world = await makeWorld()
    const { tenant, admin } = world
    const scopes = new Set<string>(scopesOf('admin'))
    const { id, email } = admin.user
    const ctx = contextFor(
      requestContext(),
      { ...tenant, settings: {} as never, rate_limits: {} },
      { kind: 'user', id, email, role: 'admin', scopes, session_id: null },
    )
    const input = CreateWorkflow.parse({ name: 'Many', steps: [TELL] }) as never
    for (let n = 0; n < 100; n++) await createWorkflow({ ...ctx, now: Date.now() }, input)
    const error = await expectError(create(world, { steps: [TELL] }), 'conflict')
    expect(error.message).toBe('A tenant has at most 100 workflows; delete one first')
  })

  it('one that is switched off is started by nobody; a repeated start starts one run', async () => {
    const world = await makeWorld()
    const workflow = await makeWorkflow(world, { steps: [{ name: 'pause', type: 'wait', seconds: 60 }] })
    const path = `/api/v1/workflows/${workflow.id}/start`
    const init = { token: world.developer.token, headers: { 'Idempotency-Key': crypto.randomUUID() } }
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => call('POST', path, { ...init, body: {} })),
    )
    for (const { status } of answers) expect([202, 409]).toContain(status)
    expect(await runsOf(world, workflow)).toHaveLength(1)
    expect((await call('POST', path, { token: world.developer.token })).status).toBe(202)
    await expectError(call('POST', path, { token: world.member.token, body: {} }), 'insufficient_scope')
    await callJson('PATCH', `/api/v1/workflows/${workflow.id}`, {
      token: world.developer.token,
      body: { is_active: false },
    })
    await expectError(call('POST', path, { token: world.developer.token, body: {} }), 'conflict')
    const run = await startWorkflow(world, await makeWorkflow(world, { steps: [TELL] }))
    const jobs = await callJson<{ id: string }[]>('GET', '/api/v1/jobs?kind=workflows.run', {
      token: world.viewer.token,
    })
    expect(jobs.data.map(({ id }) => id)).toContain(run)
  })

  it('an event that is erased takes its runs along', async () => {
    const world = await makeWorld()
    const workflow = await makeWorkflow(world, {
      steps: [{ name: 'pause', type: 'wait', seconds: 60 }],
      triggers: [{ type: 'event', event_type: 'a.*' }],
    })
    await sendEvent(world, 'a.kept', {})
    const body = { type: 'a.b', data: { email: 'ada@example.com' }, subject: 'ada' }
    await callJson('POST', '/api/v1/events', { token: world.developer.token, body })
    await eventually(async () => (await runsOf(world, workflow)).length === 2)
    await callJson('DELETE', '/api/v1/events?subject=ada', { token: world.developer.token })
    await eventually(async () => (await runsOf(world, workflow)).length === 1)
    const left = await env.DB.prepare('select input, state from jobs where tenant_id = ?')
      .bind(world.tenant.id)
      .all()
    expect(JSON.stringify(left.results)).not.toContain('ada@example.com')
  })
})

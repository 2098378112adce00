import { describe, expect, it } from 'vitest'
import { eventually, makeReceiver } from '../webhooks/receiver'
import { callJson, makeWorld } from '../world'
import { endedRun, eventsOf, makeWorkflow, outputOf, ran, readRun, startWorkflow } from './kit'

const json = (body: unknown, more: object = {}) => ({
  ...{ status: 200, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) },
  ...more,
})

describe('an http step', { timeout: 30_000 }, () => {
  it('sends what its texts come to, and later steps use what it was answered', async () => {
    const world = await makeWorld()
    const receiver = await makeReceiver(json({ total: 120, tags: ['a', 'b'] }), { status: 204 })
    const run = await ran(
      world,
      [
        {
          ...{ name: 'first', type: 'http', url: `${receiver.url}&to={{input.who}}` },
          headers: { 'X-Who': 'is {{input.who}}' },
          body: {
            who: '{{input.who}}',
            list: '{{input.list}}',
            said: 'total {{input.list.1}}',
            no: '{{input.x ?? null}}',
          },
        },
        {
          ...{ name: 'second', type: 'http', method: 'PUT', url: receiver.url },
          body: '{{steps.first.output.body.total}} {{steps.first.output.body.tags}} {{trigger.type}}',
        },
      ],
      { who: 'a&b/c', list: [1, { deep: true }] },
    )
    expect(run).toMatchObject({ status: 'completed', progress: 100, current_step: null, error: null })
    const [one, two] = await receiver.seen()
    expect(JSON.parse(one?.body ?? '')).toEqual({
      ...{ who: 'a&b/c', list: [1, { deep: true }], said: 'total {"deep":true}', no: null },
    })
    expect(one).toMatchObject({
      method: 'POST',
      headers: { 'x-who': 'is a&b/c', 'content-type': 'application/json' },
    })
    expect(one?.headers['idempotency-key']).toBe(`${run.id}:first:1`)
    expect(two).toMatchObject({ method: 'PUT', body: '120 ["a","b"] manual' })
    expect(two?.headers['content-type']).toBe('text/plain; charset=utf-8')
    expect(outputOf(run, 'first')).toMatchObject({ status: 200, body: { total: 120, tags: ['a', 'b'] } })
    expect(run.result).toMatchObject({
      steps_made: 2,
      last_step: 'second',
      output: { status: 204, body: '' },
    })
  })

  it('is tried again with the same key while the receiver may recover, and says so meanwhile', async () => {
    const world = await makeWorld()
    const receiver = await makeReceiver({ status: 503 }, json({ ok: true }))
    const workflow = await makeWorkflow(world, { steps: [{ name: 'call', type: 'http', url: receiver.url }] })
    const id = await startWorkflow(world, workflow)
    const trying = await endedRun(world, workflow, id, ({ error }) => error !== null)
    expect(trying).toMatchObject({
      ...{ status: 'running', current_step: 'call' },
      error: {
        code: 'upstream_failed',
        message: expect.stringContaining('The step call failed: it was answered 503'),
      },
    })
    const run = await endedRun(world, workflow, id)
    expect(run.steps).toMatchObject([{ name: 'call', status: 'completed', attempts: 2, visits: 1 }])
    const seen = await receiver.seen()
    expect(seen.map(({ headers }) => headers['idempotency-key'])).toEqual([`${id}:call:1`, `${id}:call:1`])
  })

  it('that always fails fails the run after its attempts; a retry goes on from there', async () => {
    const world = await makeWorld()
    const receiver = await makeReceiver(json({ n: 1 }), { status: 500, body: 'out of order' })
    const steps = [
      { name: 'first', type: 'http', url: receiver.url },
      { name: 'call', type: 'http', url: receiver.url, attempts: 2 },
    ]
    const workflow = await makeWorkflow(world, { steps })
    const id = await startWorkflow(world, workflow)
    const failed = await endedRun(world, workflow, id)
    expect(failed).toMatchObject({
      ...{ status: 'failed', current_step: 'call' },
      error: {
        code: 'workflow_step_failed',
        message: 'The step call failed: it was answered 500: out of order',
      },
    })
    expect(await receiver.seen()).toHaveLength(3)
    expect(await eventsOf(world, 'job.failed')).toMatchObject([
      { data: { job_id: id, kind: 'workflows.run', error: { code: 'workflow_step_failed' } } },
    ])
    await receiver.plan(json({ n: 2 }))
    const retried = await callJson('POST', `/api/v1/jobs/${id}/retry`, { token: world.developer.token })
    expect(retried.status).toBe(202)
    const run = await endedRun(world, workflow, id)
    expect(run).toMatchObject({ status: 'completed', steps: [{ name: 'first' }, { name: 'call' }] })
    expect(await receiver.seen()).toHaveLength(4)
  })

  it('fails at once where trying again would be of no use, and goes on where it says', async () => {
    const world = await makeWorld()
    const receiver = await makeReceiver({ status: 404, body: 'no such order' })
    const run = await ran(world, [
      { name: 'call', type: 'http', url: receiver.url, on_failure: 'mend' },
      { name: 'never', type: 'webhook', event_type: 'test.never' },
      { name: 'mend', type: 'webhook', event_type: 'test.mended', data: { why: '{{steps.call.error}}' } },
    ])
    expect(run).toMatchObject({
      status: 'completed',
      steps: [{ name: 'call', status: 'failed' }, { name: 'mend' }],
    })
    expect(await eventsOf(world, 'test.mended')).toMatchObject([
      { data: { why: 'it was answered 404: no such order' } },
    ])
    expect(await eventsOf(world, 'test.never')).toEqual([])
    expect(await receiver.seen()).toHaveLength(1)
  })

  it('keeps to the rules for outgoing addresses, wherever its URL comes from', async () => {
    const world = await makeWorld()
    const at = (url: string) =>
      ran(world, [{ name: 'call', type: 'http', url }], { url: 'http://169.254.169.254/', port: '22' })
    for (const url of ['{{input.url}}', 'http://127.0.0.1:{{input.port}}/'])
      expect((await at(url)).error).toMatchObject({
        ...{
          code: 'workflow_step_failed',
          message: expect.stringMatching(/^The step call failed: its URL must /),
        },
      })
    const led = await ran(
      world,
      [{ name: 'call', type: 'http', url: 'http://127.0.0.1:8443/orders/{{input.id}}' }],
      { id: '..' },
    )
    expect(led.error?.message).toBe(
      'The step call failed: it has a value of nothing but dots in its URL, which would lead elsewhere',
    )
  })

  it('has secrets sent to their own hosts, and to nobody who reads', async () => {
    const world = await makeWorld()
    const receiver = await makeReceiver(json({ echo: 'k3y-of-the-service', said: 'fine' }))
    const { hostname } = new URL(receiver.url)
    const put = (hosts: string[]) =>
      callJson('PUT', '/api/v1/secrets/billing', {
        token: world.admin.token,
        body: { value: 'k3y-of-the-service', hosts },
      })
    await put([hostname])
    const step = {
      ...{ name: 'call', type: 'http', url: receiver.url, attempts: 1 },
      ...{ headers: { Authorization: 'Bearer {{secrets.billing}}' }, body: { key: '{{secrets.billing}}' } },
    }
    const run = await ran(world, [step])
    const [seen] = await receiver.seen()
    expect(seen?.headers.authorization).toBe('Bearer k3y-of-the-service')
    expect(seen?.body).toBe('{"key":"k3y-of-the-service"}')
    expect(outputOf(run, 'call')).toMatchObject({ body: { echo: '********', said: 'fine' } })
    expect(JSON.stringify(run)).not.toContain('k3y-of')
    const workflow = await makeWorkflow(world, { steps: [step] })
    await put(['elsewhere.example.com'])
    const refused = await endedRun(world, workflow, await startWorkflow(world, workflow))
    expect(refused.error?.message).toContain(`which may not go to ${hostname}`)
    expect(await receiver.seen()).toHaveLength(1)
  })

  it('keeps no secret that is echoed, however the answer writes it', async () => {
    const world = await makeWorld()
    const value = 'k3y/of&the+service=="'
    const written = JSON.stringify({ it: value, list: [{ [value]: `Bearer ${value}` }], number: 1 })
      .replaceAll('/', '\\/')
      .replaceAll('&', '\\u0026')
      .replaceAll('k3y', '\\u006b3y')
    const headers = { 'content-type': 'application/json' }
    const form = `token=${encodeURIComponent(value)}`
    const receiver = await makeReceiver({ status: 200, headers, body: written })
    const { hostname } = new URL(receiver.url)
    const body = { value, hosts: [hostname] }
    await callJson('PUT', '/api/v1/secrets/billing', { token: world.admin.token, body })
    const step = {
      ...{ name: 'call', type: 'http', url: receiver.url, attempts: 1 },
      headers: { Authorization: 'Bearer {{secrets.billing}}' },
    }
    expect(outputOf(await ran(world, [step]), 'call')).toMatchObject({
      body: { it: '********', list: [{ '********': 'Bearer ********' }], number: 1 },
    })
    const refusing = await makeReceiver({
      status: 400,
      headers: { 'content-type': 'text/plain' },
      body: form,
    })
    const run = await ran(world, [{ ...step, url: refusing.url }])
    expect(run.error?.message).toContain('token=********')
  })

  it('keeps what is nested too deep as the text that it is', async () => {
    const world = await makeWorld()
    const body = `${'['.repeat(20_000)}1${']'.repeat(20_000)}`
    const headers = { 'content-type': 'application/json' }
    const receiver = await makeReceiver({ status: 200, headers, body })
    const run = await ran(world, [{ name: 'call', type: 'http', url: receiver.url, attempts: 1 }])
    expect([run.status, outputOf(run, 'call')]).toMatchObject(['completed', { body }])
  })

  it('waits for an answer no longer than it says, and reads no more than it keeps', async () => {
    const world = await makeWorld()
    const hangs = await makeReceiver({ does: 'hang' })
    const late = await ran(world, [
      { name: 'call', type: 'http', url: hangs.url, timeout_seconds: 1, attempts: 1 },
    ])
    expect(late.error?.message).toBe('The step call failed: there was no complete answer within 1 seconds')
    const large = await makeReceiver({ status: 200, body: 'x'.repeat(70_000) })
    const over = await ran(world, [{ name: 'call', type: 'http', url: large.url }])
    expect(over.error?.message).toBe('The step call failed: its answer is over 64 KiB')
  })

  it('heeds how long it is asked to wait', async () => {
    const world = await makeWorld()
    const receiver = await makeReceiver({ status: 429, headers: { 'retry-after': '3' } }, json({}))
    const run = await ran(world, [{ name: 'call', type: 'http', url: receiver.url }])
    expect(run.status).toBe('completed')
    const [one, two] = await receiver.seen()
    expect((two?.at ?? 0) - (one?.at ?? 0)).toBeGreaterThanOrEqual(3_000)
  })
})

describe('other steps', { timeout: 30_000 }, () => {
  it('webhook: an event goes to the tenant’s endpoints, once', async () => {
    const world = await makeWorld()
    const receiver = await makeReceiver({ status: 200 })
    await callJson('POST', '/api/v1/webhooks', {
      token: world.developer.token,
      body: { url: receiver.url, event_types: ['order.*'] },
    })
    const run = await ran(
      world,
      [
        {
          ...{ name: 'tell', type: 'webhook', event_type: 'order.large', channels: ['big'] },
          ...{ data: { id: '{{input.id}}' }, subject: 'customer-{{input.id}}' },
        },
      ],
      { id: 7 },
    )
    const [event] = await eventsOf(world, 'order.large')
    expect(event).toMatchObject({ id: outputOf<{ event_id: string }>(run, 'tell').event_id, data: { id: 7 } })
    const seen = await eventually(async () => (await receiver.seen())[0])
    expect(JSON.parse(seen.body)).toMatchObject({ type: 'order.large', data: { id: 7 } })
  })

  it('webhook: an event that its type’s schema refuses fails the step', async () => {
    const world = await makeWorld()
    const schema = { type: 'object', required: ['id'], properties: { id: { type: 'number' } } }
    await callJson('POST', '/api/v1/webhooks/event-types', {
      token: world.developer.token,
      body: { name: 'order.checked', schema, validation: 'enforce' },
    })
    const run = await ran(world, [
      { name: 'tell', type: 'webhook', event_type: 'order.checked', data: { id: '{{input.id ?? "x"}}' } },
    ])
    expect(run.error).toMatchObject({
      ...{
        code: 'workflow_step_failed',
        message: expect.stringMatching(/^The step tell failed: its event is refused: data/),
      },
    })
    expect(await eventsOf(world, 'order.checked')).toEqual([])
  })

  it('agent: is asked as a chat asks it, and its text is there, and its JSON', async () => {
    const world = await makeWorld()
    const made = await callJson<{ id: string }>('POST', '/api/v1/agents', {
      token: world.developer.token,
      body: { name: 'Echo', kind: 'echo' },
    })
    const ask = (prompt: string) => ({ name: 'ask', type: 'agent', agent_id: made.data.id, prompt })
    const said = await ran(world, [ask('Hello {{input.name}}')], { name: 'Ada' })
    expect(outputOf(said, 'ask')).toEqual({ text: 'Hello Ada', json: null })
    const counted = await ran(world, [ask('{"n": {{input.n}}}')], { n: 3 })
    expect(outputOf(counted, 'ask')).toEqual({ text: '{"n": 3}', json: { n: 3 } })
    const today = new Date().toISOString().slice(0, 10)
    const usage = await eventually(async () => {
      const path = `/api/v1/usage?from=${today}T00:00:00.000Z&group_by=endpoint`
      const { data } = await callJson<object>('GET', path, { token: world.admin.token })
      const text = JSON.stringify(data)
      return text.includes('/api/v1/workflows/:id/start') && text
    })
    expect(usage).toContain('"runs":2')
    const workflow = await makeWorkflow(world, { steps: [ask('Hello')] })
    await callJson('PATCH', `/api/v1/agents/${made.data.id}`, {
      token: world.developer.token,
      body: { is_active: false },
    })
    const off = await endedRun(world, workflow, await startWorkflow(world, workflow))
    expect(off.error?.message).toBe('The step ask failed: the agent Echo is switched off')
  })

  it('agent: one that fails fails the step with what it said', async () => {
    const world = await makeWorld()
    const receiver = await makeReceiver({ status: 500, ...{ body: '{"error":"no credit left"}' } })
    const made = await callJson<{ id: string }>('POST', '/api/v1/agents', {
      token: world.developer.token,
      body: { name: 'Down', kind: 'webhook', webhook_url: receiver.url },
    })
    const run = await ran(world, [
      { name: 'ask', type: 'agent', agent_id: made.data.id, prompt: 'Hello', attempts: 2 },
    ])
    expect(run.error?.message).toBe('The step ask failed: The agent answered 500: no credit left')
    const seen = await receiver.seen()
    expect(seen).toHaveLength(2)
    expect(seen[0]?.headers['x-causeway-run-id']).toMatch(
      /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}$/,
    )
    expect(seen[1]?.headers['webhook-id']).toBe(seen[0]?.headers['webhook-id'])
    expect(JSON.parse(seen[0]?.body ?? '').sessionId).toBe(run.id)
  })

  it('wait: so many seconds, or until a time; the last step too', async () => {
    const world = await makeWorld()
    const workflow = await makeWorkflow(world, {
      steps: [
        { name: 'pause', type: 'wait', seconds: 1 },
        { name: 'passed', type: 'wait', until: '{{input.at}}' },
        { name: 'last', type: 'wait', seconds: 1 },
      ],
    })
    const id = await startWorkflow(world, workflow, { at: '2020-01-01T00:00:00Z' })
    const run = await endedRun(world, workflow, id)
    expect(run.status).toBe('completed')
    expect(Date.parse(run.finished_at ?? '') - Date.parse(run.created_at)).toBeGreaterThanOrEqual(2_000)
    const never = await endedRun(world, workflow, await startWorkflow(world, workflow, { at: 'tomorrow' }))
    expect(never.error?.message).toBe(
      'The step passed failed: it waits until “tomorrow”, which is no time in ISO 8601',
    )
    const far = await endedRun(world, workflow, await startWorkflow(world, workflow, { at: '2999-01-01' }))
    expect(far.error?.message).toContain('which is more than 366 days away')
  })

  it('branch: the first condition that holds says where the run goes on', async () => {
    const world = await makeWorld()
    const workflow = await makeWorkflow(world, {
      steps: [
        {
          ...{ name: 'size', type: 'branch', next: 'small' },
          branches: [
            { when: { path: 'input.total', compare: { gte: 1000 } }, next: null },
            { when: { path: 'input.total', compare: { gte: 100 } }, next: 'large' },
          ],
        },
        { name: 'small', type: 'webhook', event_type: 'test.small', next: null },
        { name: 'large', type: 'webhook', event_type: 'test.large' },
      ],
    })
    const went = async (total: number) => {
      const run = await endedRun(world, workflow, await startWorkflow(world, workflow, { total }))
      return [run.status, ...run.steps.map(({ name }) => name)]
    }
    expect(await went(5)).toEqual(['completed', 'size', 'small'])
    expect(await went(500)).toEqual(['completed', 'size', 'large'])
    expect(await went(5_000)).toEqual(['completed', 'size'])
  })

  it('a value that is not there fails the step by its name; what it says is never read as a template', async () => {
    const world = await makeWorld()
    const step = {
      name: 'tell',
      type: 'webhook',
      event_type: 'test.told',
      data: { x: 'a {{input.text}}', y: '{{steps.tell.output ?? 1}}' },
    }
    const missing = await ran(world, [step])
    expect(missing.error?.message).toBe(
      'The step tell failed: it uses {{input.text}}, and there is no such value; give it another with {{input.text ?? null}}',
    )
    await ran(world, [step], { text: '{{secrets.billing}} {{input.text}} $&' })
    expect(await eventsOf(world, 'test.told')).toMatchObject([
      { data: { x: 'a {{secrets.billing}} {{input.text}} $&', y: 1 } },
    ])
    const large = {
      name: 'tell',
      type: 'webhook',
      event_type: 'test.told',
      data: { list: Array(20).fill('{{input.text}}') },
    }
    const over = await ran(world, [large], { text: 'x'.repeat(30_000) })
    expect(over.error?.message).toBe('The step tell failed: it comes to more than 256 KiB with its values')
  })

  it('a loop goes on until its condition ends it, each time with a key of its own, and no run for ever', async () => {
    const world = await makeWorld()
    const receiver = await makeReceiver(json({ left: 2 }), json({ left: 1 }), json({ left: 0 }))
    const call = { name: 'page', type: 'http', method: 'GET', url: receiver.url }
    const run = await ran(world, [
      call,
      {
        ...{ name: 'more', type: 'branch', next: null },
        branches: [{ when: { path: 'steps.page.output.body.left', compare: { gt: 0 } }, next: 'page' }],
      },
    ])
    expect(run.steps).toMatchObject([
      { name: 'page', visits: 3 },
      { name: 'more', visits: 3 },
    ])
    const seen = await receiver.seen()
    expect(seen.map(({ headers }) => headers['idempotency-key']?.split(':')[2])).toEqual(['1', '2', '3'])
    const workflow = await makeWorkflow(world, {
      steps: [
        {
          name: 'round',
          type: 'branch',
          branches: [{ when: { path: 'run.id', exists: true }, next: 'round' }],
        },
      ],
    })
    const id = await startWorkflow(world, workflow)
    const endless = await endedRun(world, workflow, id)
    expect(endless.error?.message).toBe(
      'The step round failed: the run has made 1000 steps, and a loop must end before',
    )
    expect(await readRun(world, workflow, id)).toMatchObject({ steps: [{ visits: 1000 }] })
  })
})

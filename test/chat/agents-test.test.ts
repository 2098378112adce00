import { env } from 'cloudflare:workers'
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { lineUp } from '../../src/domains/chat/room/readers/line-up'
import type { Seen } from '../receiver/upstreams'
import { call, callJson, makeWorld, type World } from '../world'

const at = (path: string) => `${env.RECEIVER_URL}/upstream/${path}`
const HELLO = 'Hi there! How can I help you?'

// As production prints it; a room of another file may have switched the lining up on.
beforeEach(() => lineUp(false))

let world: World
beforeAll(async () => {
  world = await makeWorld()
})

const make = async (body: Record<string, unknown>) => {
  const made = await callJson<{ id: string }>('POST', '/api/v1/agents', {
    token: world.developer.token,
    body: { name: 'A', ...body },
  })
  expect(made.status, JSON.stringify(made.error)).toBe(201)
  return made.data.id
}
const test = (id: string, content: unknown = 'Hello, how are you?') =>
  call('POST', `/api/v1/agents/${id}/test`, { token: world.developer.token, body: { content } })

type Event = { type: string; data: Record<string, unknown> }

/** Reads the events as the chat guide's own code does. */
async function eventsOf(response: Response): Promise<Event[]> {
  const text = await response.text()
  return text
    .split('\n')
    .flatMap((line) => (line.startsWith('data: ') ? (JSON.parse(line.slice(6)) as Event) : []))
}
const said = (events: Event[]) =>
  events.map(({ type, data }) => (type === 'message' ? data.content : '')).join('')

describe('trying an agent', () => {
  it('streams an echo in the documented wire format', async () => {
    const response = await test(await make({}))
    expect(response.status).toBe(200)
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      'content-encoding': 'identity',
      'x-accel-buffering': 'no',
    })
    const text = await response.text()
    expect(text.startsWith('retry: 2000\n\ndata: {"type":"message","data":{"content":"Hello,"}}\n\n')).toBe(
      true,
    )
    const last = text.split('\n').findLast((line) => line.startsWith('data: ')) ?? ''
    expect(JSON.parse(last.slice(6))).toEqual({
      type: 'done',
      data: {
        message: 'Stream completed',
        run_id: expect.any(String),
        finish: 'stop',
        usage: {
          prompt_tokens: null,
          completion_tokens: null,
          time_to_first_token_ms: expect.any(Number),
          duration_ms: expect.any(Number),
        },
      },
    })
  })

  it('calls each kind as a chat would, an inactive one too', async () => {
    const key = crypto.randomUUID()
    const hook = { webhook_url: at(`n8n?key=${key}`), webhook_token: 'tok', is_active: false }
    const events = await eventsOf(await test(await make(hook)))
    expect(events[0]).toMatchObject({ type: 'status', data: { level: 'info', done: false } })
    expect(said(events)).toBe(HELLO)
    const [seen] = await (await fetch(at(`requests/${key}`))).json<Seen[]>()
    expect(seen?.headers).toMatchObject({
      authorization: 'Bearer tok',
      'webhook-signature': expect.stringMatching(/^v1,/),
    })
    expect(JSON.parse(seen?.body ?? '')).toMatchObject({ chatInput: 'Hello, how are you?' })

    const openai = { kind: 'openai', base_url: at('openai'), config: { model: 'm' } }
    const answer = await eventsOf(await test(await make(openai)))
    expect(said(answer)).toBe(HELLO)
    expect(answer.at(-1)?.data).toMatchObject({ usage: { prompt_tokens: 9, completion_tokens: 7 } })
  })

  it('ends in one error event where the agent fails, after what it said', async () => {
    const events = await eventsOf(await test(await make({ webhook_url: at('reset?after=2') })))
    expect(said(events)).toBe('Hi there!')
    expect(events.at(-1)).toEqual({
      type: 'error',
      data: { code: 'upstream_reset', message: expect.stringContaining('broke off'), retryable: true },
    })
    expect(events.filter(({ type }) => type === 'done' || type === 'error')).toHaveLength(1)
    const html = await eventsOf(await test(await make({ webhook_url: at('html') })))
    expect(html.at(-1)).toMatchObject({ type: 'error', data: { code: 'upstream_html', retryable: false } })
  })

  it('cuts a long word so that no event is over 4 KiB', async () => {
    const word = 'é"\n👋'.repeat(3000)
    const text = await (await test(await make({}), `${word} end`)).text()
    for (const event of text.split('\n\n'))
      expect(new TextEncoder().encode(event).byteLength).toBeLessThanOrEqual(4094)
    expect(said(await eventsOf(new Response(text)))).toBe(`${word} end`)
  })

  it('ends the call when the reader leaves', async () => {
    const key = crypto.randomUUID()
    const response = await test(await make({ webhook_url: at(`slow?n=500&ms=10&key=${key}`) }))
    const reader = response.body?.getReader()
    let text = ''
    while (!text.includes('word3')) text += new TextDecoder().decode((await reader?.read())?.value)
    await reader?.cancel()
    await expect
      .poll(async () => (await (await fetch(at(`requests/${key}`))).json<Seen[]>())[0]?.aborted, {
        timeout: 3000,
      })
      .toBe(true)
  })

  it('refuses by status what can’t begin', async () => {
    const id = await make({})
    for (const content of ['', '  ', 5, 'x'.repeat(140_000)])
      expect((await test(id, content)).status).toBe(422)
    expect((await test(crypto.randomUUID())).status).toBe(404)
  })
})

describe('trying an agent under an idempotency key', () => {
  const keyed = (id: string, key: string, content = 'Hello') =>
    call('POST', `/api/v1/agents/${id}/test`, {
      token: world.developer.token,
      headers: { 'Idempotency-Key': key },
      body: { content },
    })
  const asked = async (key: string) => (await (await fetch(at(`requests/${key}`))).json<Seen[]>()).length

  it('asks it once, and answers a repeat with what it said', async () => {
    const key = crypto.randomUUID()
    const id = await make({ webhook_url: at(`n8n?key=${key}`) })
    const first = await keyed(id, key)
    const text = await first.text()
    const again = await keyed(id, key)
    expect(again.headers.get('Idempotency-Replayed')).toBe('true')
    expect(again.headers.get('Content-Type')).toBe(first.headers.get('Content-Type'))
    expect(await again.text()).toBe(text)
    expect(await asked(key)).toBe(1)
    expect((await keyed(id, key, 'Another question')).status).toBe(422)
    const { results } = await env.DB.prepare('select body from idempotency_keys where key = ?')
      .bind(key)
      .all<{ body: string }>()
    expect(results.map(({ body }) => body.includes('How can I'))).toEqual([false])
  })

  it('refuses a repeat while it answers', async () => {
    const key = crypto.randomUUID()
    const id = await make({ webhook_url: at(`n8n?key=${key}`) })
    const first = await keyed(id, key)
    const meanwhile = await keyed(id, key)
    expect(meanwhile.status).toBe(409)
    await meanwhile.body?.cancel()
    await first.text()
  })

  it('asks again after an answer that failed', async () => {
    const key = crypto.randomUUID()
    const id = await make({ webhook_url: at(`status/500?key=${key}`) })
    for (let time = 0; time < 2; time++) {
      const response = await keyed(id, key)
      expect(response.headers.get('Idempotency-Replayed')).toBeNull()
      expect(await response.text()).toContain('"type":"error"')
    }
  })
})

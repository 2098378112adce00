// A new version is deployed in the middle of an answer, to a client that follows as a browser does.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { EventSource } from 'eventsource'
import { must, signUp, startReceiver, startService, waitFor } from './harness.mjs'

const WORDS = Array.from({ length: 200 }, (_, n) => `word${n} `)

/** An agent that says a word every 50 ms, and goes on though nobody listens any more. */
const talker = (said) => async (_request, response) => {
  response.writeHead(200, { 'Content-Type': 'text/event-stream' })
  response.on('error', () => {})
  for (const content of WORDS) {
    response.write(`data: ${JSON.stringify({ content })}\n\n`)
    said.push(content)
    await wait(50)
  }
  response.end('data: [DONE]\n\n')
}

test('a deployment in the middle of an answer', { timeout: 600_000 }, async (t) => {
  const service = await startService(t, { redeploys: true })
  const { key } = await signUp(service)
  const get = (route) => must(service, 'GET', route, { as: key })
  const post = (route, body, headers) => must(service, 'POST', route, { as: key, body, headers })
  const said = []
  const agent = await startReceiver(t, talker(said))
  const { id: agent_id } = await post('/api/v1/agents', { name: 'Talker', webhook_url: agent.url })
  const chat = `/api/v1/chats/${(await post('/api/v1/chats', { agent_id })).id}`

  const events = []
  const source = new EventSource(`${service.url}${chat}/stream`, {
    fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, 'X-API-Key': key } }),
  })
  t.after(() => source.close())
  source.addEventListener('message', ({ data, lastEventId }) =>
    events.push({ id: lastEventId, ...JSON.parse(data) }),
  )
  const words = () => events.filter(({ type }) => type === 'message').length
  await waitFor(() => events.length > 0, 10_000, 'the snapshot')
  await post(`${chat}/messages`, { content: 'Talk!' }, { Prefer: 'respond-async' })
  await waitFor(() => words() > 20, 10_000, 'twenty words')
  await service.redeploy()

  await t.test('the client comes back by itself to the answer as it was kept', async () => {
    const reset = await waitFor(() => events.find(({ type }) => type === 'reset'), 20_000, 'the reset')
    assert.match(reset.id, /^e2-/)
    const { messages } = await get(chat)
    assert.equal(messages[1].status, 'interrupted')
    assert.equal(messages[1].metadata.error.code, 'interrupted')
    assert.ok(WORDS.join('').startsWith(messages[1].content) && messages[1].content !== '')
    assert.equal(reset.data.messages.at(-1).content, messages[1].content)
    assert.equal(reset.data.run, null)
  })

  await t.test('what the agent goes on saying is not taken for anything', async () => {
    const before = await get(`${chat}/events?limit=100`)
    const heard = events.length
    await wait(700)
    assert.ok(said.length > 20)
    assert.deepEqual(await get(`${chat}/events?limit=100`), before)
    assert.deepEqual(
      events.slice(heard).filter(({ type }) => type !== 'presence'),
      [],
    )
  })

  await t.test('the next message is answered whole, over the connection that there is', async () => {
    const resets = events.filter(({ type }) => type === 'reset').length
    const from = events.length
    const { messages } = await post(`${chat}/messages`, { content: 'Again!' }, { Accept: 'application/json' })
    assert.equal(messages[1].content, WORDS.join(''))
    await waitFor(() => events.at(-1).type === 'done', 10_000, 'its end')
    const text = events.slice(from).map(({ type, data }) => (type === 'message' ? data.content : ''))
    assert.equal(text.join(''), WORDS.join(''))
    assert.equal(events.filter(({ type }) => type === 'reset').length, resets)
  })
})

// `kill -9` while an agent answers by callback: the run goes on where it was, and nothing is lost or said twice.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import path from 'node:path'
import { test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { freePort, must, ROOT, signUp, startService, waitFor } from './harness.mjs'

const WORDS = Array.from({ length: 25 }, (_, n) => `word${n}`).join(' ')

test('an agent that answers by callback', { timeout: 300_000 }, async (t) => {
  const service = await startService(t)
  const { key } = await signUp(service, 'acme')
  const port = await freePort()
  // The documentation's own agent: it posts a word every 200 ms, and again what was not taken.
  const agent = spawn(process.execPath, [path.join(ROOT, 'docs/examples/agent-callback.mjs'), String(port)])
  t.after(() => agent.kill('SIGKILL'))
  await wait(500)
  const post = (route, body, headers = {}) => must(service, 'POST', route, { as: key, body, headers })
  const { id: agent_id } = await post('/api/v1/agents', {
    name: 'Worker',
    webhook_url: `http://127.0.0.1:${port}/`,
  })
  const ask = async (content) => {
    const chat = `/api/v1/chats/${(await post('/api/v1/chats', { agent_id })).id}`
    await post(`${chat}/messages`, { content }, { Prefer: 'respond-async' })
    return {
      chat,
      answer: async () => (await must(service, 'GET', chat, { as: key })).messages.at(-1),
    }
  }

  await t.test('goes on after a kill, and its answer is whole', async () => {
    const { chat, answer } = await ask(WORDS)
    for (const least of [5, 12]) {
      await waitFor(async () => (await answer()).content.split(' ').length > least, 20_000)
      await service.kill()
      await service.start()
      assert.equal((await answer()).status, 'streaming')
    }
    await waitFor(async () => (await answer()).status === 'complete', 30_000)
    assert.equal((await answer()).content, `You asked: ${WORDS}`)
    const log = await must(service, 'GET', `${chat}/events?limit=100`, { as: key })
    const said = log.filter(({ type }) => type === 'message').map(({ data }) => data.content)
    assert.equal(said.join(''), `You asked: ${WORDS}`)
    assert.equal(log.filter(({ type }) => type === 'done').length, 1)
    assert.ok(log.every(({ id }) => id.startsWith('e1-')))
  })

  await t.test('can be stopped by who comes after the kill', async () => {
    const { chat, answer } = await ask(WORDS)
    await waitFor(async () => (await answer()).content !== '', 20_000)
    await service.kill()
    await service.start()
    assert.equal((await post(`${chat}/stop`, {})).stopped, true)
    const kept = (await answer()).content
    await wait(1_500)
    const { content, status } = await answer()
    assert.deepEqual({ content, status }, { content: kept, status: 'stopped' })
  })
})

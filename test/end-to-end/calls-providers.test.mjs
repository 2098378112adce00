// Calls by Ultravox and Telnyx under the runtime itself, against servers of both protocols: told of by signed webhooks,
// found where none comes, and placed once though everything is killed (`kill -9`) while Telnyx dials.
import assert from 'node:assert/strict'
import { createHmac, generateKeyPairSync, sign } from 'node:crypto'
import http from 'node:http'
import path from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import * as esbuild from 'esbuild'
import { grantCredit, must, ROOT, signUp, startService, temporaryFolder, waitFor } from './harness.mjs'

const TELLING = 'uv_secret_of_the_webhooks'
const FROM = '+15550100001'
const TO = '+4915112345678'

/** The servers that the other tests have, as one of its own. */
async function startProviders(t) {
  const outfile = path.join(temporaryFolder(t), 'providers.mjs')
  const contents = `export { telnyx } from './telnyx'\nexport { ultravox } from './ultravox'`
  await esbuild.build({
    stdin: { contents, resolveDir: path.join(ROOT, 'test/receiver'), loader: 'ts' },
    ...{ bundle: true, platform: 'node', format: 'esm', outfile, logLevel: 'error' },
  })
  const { telnyx, ultravox } = await import(pathToFileURL(outfile))
  const server = http.createServer((request, response) =>
    (request.url.startsWith('/telnyx/') ? telnyx : ultravox)(request, response),
  )
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const base = `http://127.0.0.1:${server.address().port}`
  const put = async (at, body) =>
    (await fetch(`${base}/${at}`, { method: 'PUT', body: JSON.stringify(body) })).json()
  return {
    base,
    put,
    asked: async (name, like) =>
      (await (await fetch(`${base}/${name}/op/asked`)).json()).filter(
        ({ method, path: asked }) => `${method} ${asked}` === like,
      ),
    placed: async (name) => put(`${name}/op/control/calls`, {}),
  }
}

test('calls by Ultravox and Telnyx', { timeout: 300_000 }, async (t) => {
  const providers = await startProviders(t)
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const service = await startService(t, {
    vars: {
      ...{ CALL_PROVIDER: 'ultravox', CALL_FROM: FROM, TELNYX_CONNECTION_ID: '4711' },
      ...{ ULTRAVOX_API_KEY: 'uv_operator', ULTRAVOX_BASE_URL: `${providers.base}/ultravox/op` },
      ...{ TELNYX_API_KEY: 'KEYoperator', TELNYX_BASE_URL: `${providers.base}/telnyx/op` },
      TELNYX_PUBLIC_KEY: publicKey.export({ type: 'spki', format: 'der' }).subarray(-32).toString('base64'),
      ULTRAVOX_WEBHOOK_SECRET: TELLING,
    },
  })
  const tell = async (provider, value, headersOf) => {
    const body = JSON.stringify(value)
    const { status } = await fetch(`${service.url}/api/v1/webhooks/${provider}`, {
      ...{ method: 'POST', body },
      headers: { 'Content-Type': 'application/json', ...headersOf(body) },
    })
    return status
  }
  const telnyxTells = (value) =>
    tell('telnyx', value, (body) => {
      const at = `${Math.floor(Date.now() / 1000)}`
      const signature = sign(null, Buffer.from(`${at}|${body}`), privateKey).toString('base64')
      return { 'telnyx-timestamp': at, 'telnyx-signature-ed25519': signature }
    })
  const ultravoxTells = (value) =>
    tell('ultravox', value, (body) => {
      const at = new Date().toISOString()
      const signature = createHmac('sha256', TELLING)
        .update(body + at)
        .digest('hex')
      return { 'X-Ultravox-Webhook-Timestamp': at, 'X-Ultravox-Webhook-Signature': signature }
    })
  const { tenant, key: as } = await signUp(service, 'telephone')
  await grantCredit(service, tenant.id, 1_000)
  const body = { name: 'Caller', kind: 'ultravox', system_prompt: 'You are kind.', greeting: 'Hello!' }
  const agent = await must(service, 'POST', '/api/v1/agents', { as, body })
  const read = (id) => must(service, 'GET', `/api/v1/calls/${id}`, { as })
  const becomes = (id, status) =>
    waitFor(async () => ((await read(id)).status === status ? read(id) : null), 60_000, `a call ${status}`)
  const callOut = () => must(service, 'POST', '/api/v1/calls', { as, body: { agent_id: agent.id, to: TO } })
  const happens = (one, event) =>
    providers.put(`telnyx/op/control/calls/${encodeURIComponent(one.call_control_id)}`, event)
  const says = (one, fields) => providers.put(`ultravox/op/control/calls/${one.callId}`, fields)
  const said = [
    { role: 'MESSAGE_ROLE_AGENT', text: 'Hello!', timespan: { start: '0s', end: '1s' } },
    { role: 'MESSAGE_ROLE_USER', text: 'Hi.', timespan: { start: '1.5s', end: '2s' } },
  ]

  const { id } = await callOut()
  await becomes(id, 'ringing')
  const [carried] = await providers.placed('telnyx')
  const [spoken] = await providers.placed('ultravox')
  assert.equal(await telnyxTells(await happens(carried, { event: 'call.answered' })), 200)
  await becomes(id, 'in_progress')
  const joined = new Date().toISOString()
  await says(spoken, { joined, messages: said, recording: Buffer.from('RIFFaudio').toString('base64') })
  await service.restart()
  const ended = new Date().toISOString()
  const over = await says(spoken, { ended, endReason: 'agent_hangup' })
  assert.equal(await ultravoxTells({ event: 'call.ended', call: over }), 200)
  const done = await waitFor(
    async () => {
      const one = await read(id)
      return one.recording_url ? one : null
    },
    60_000,
    'the recording',
  )
  assert.equal(done.status, 'completed')
  assert.equal(done.ended_reason, 'agent_hangup')
  assert.equal(Buffer.from(await (await fetch(done.recording_url)).arrayBuffer()).toString(), 'RIFFaudio')
  const turns = await must(service, 'GET', `/api/v1/calls/${id}/transcript`, { as })
  assert.deepEqual(
    turns.map(({ role, text }) => [role, text]),
    [
      ['agent', 'Hello!'],
      ['user', 'Hi.'],
    ],
  )
  assert.notEqual((await providers.placed('telnyx'))[0].end_time, undefined)

  // Telnyx dials, and everything is gone before it could say so: nobody is called again.
  await providers.put('telnyx/op/faults', [{ at: 'POST /v2/calls', done: true, ms: 8_000 }])
  const second = await callOut()
  await waitFor(async () => (await providers.placed('telnyx')).length === 2, 30_000, 'the dialling')
  await service.restart()
  await becomes(second.id, 'ringing')
  const dialled = await providers.placed('telnyx')
  assert.equal(dialled.length, 2)
  const busy = await happens(dialled[1], { event: 'call.hangup', hangup_cause: 'user_busy' })
  assert.equal(await telnyxTells(busy), 200)
  const refused = await becomes(second.id, 'no_answer')
  assert.equal(refused.ended_reason, 'busy')
  assert.equal(refused.cost, 0)
})

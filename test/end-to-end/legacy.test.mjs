// The examples of the documents before /api/v1, as they are written there but for the port and what stands in <…>.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import * as esbuild from 'esbuild'
import { chromium } from 'playwright-core'
import { Webhook } from 'standardwebhooks'
import {
  browserAt,
  call,
  executeSql,
  must,
  noBrowser,
  platformToken,
  signUp,
  startReceiver,
  startService,
  temporaryFolder,
  waitFor,
} from './harness.mjs'

// ── Chat Streaming API Guide ──

const REGISTER = `
curl -X POST http://localhost:8000/api/auth/register \\
  -H "Content-Type: application/json" \\
  -d '{
    "email": "admin@test-team.com",
    "password": "SecurePass123",
    "full_name": "Admin User",
    "team_id": "<team_uuid_from_above>"
  }'`

const LOGIN = `
curl -X POST http://localhost:8000/api/auth/login \\
  -H "Content-Type: application/json" \\
  -c cookies.txt \\
  -d '{
    "email": "admin@test-team.com",
    "password": "SecurePass123"
  }'`

const MAKE_ADMIN = `UPDATE users SET role = 'admin' WHERE email = 'admin@test-team.com';`

const CREATE_AGENT = `
curl -X POST http://localhost:8000/api/agents \\
  -H "Content-Type: application/json" \\
  -b cookies.txt \\
  -d '{
    "name": "Test Agent",
    "description": "Test agent for development",
    "webhook_url": "http://podcast-n8n:5678/webhook/test",
    "system_prompt": "You are a helpful assistant.",
    "config": {"model": "gpt-4", "temperature": 0.7}
  }'`

const CREATE_CHAT = `
curl -X POST http://localhost:8000/api/chats \\
  -H "Content-Type: application/json" \\
  -b cookies.txt \\
  -d '{
    "agent_id": "<agent_uuid_from_above>",
    "title": "Test Chat"
  }'`

const SEND_MESSAGE = `
curl -X POST http://localhost:8000/api/chats/<chat_uuid>/messages \\
  -H "Content-Type: application/json" \\
  -H "Accept: text/event-stream" \\
  -b cookies.txt \\
  -N \\
  -d '{
    "content": "Hello, how are you?"
  }'`

const SEND_MESSAGE_JS = `
// Send message and stream response
async function sendMessage(chatId, content) {
  const response = await fetch(\`/api/chats/\${chatId}/messages\`, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
    },
    credentials: 'include', // Include cookies
    body: JSON.stringify({ content })
  });

  const reader = response.body.getReader();
  const decoder = new TextDecoder();

  while (true) {
    const { value, done } = await reader.read();
    if (done) break;

    const chunk = decoder.decode(value);
    const lines = chunk.split('\\n');

    for (const line of lines) {
      if (line.startsWith('data: ')) {
        const data = JSON.parse(line.slice(6));

        if (data.type === 'message') {
          console.log('Message chunk:', data.data.content);
          // Append to UI
        } else if (data.type === 'status') {
          console.log('Status:', data.data.description);
        } else if (data.type === 'done') {
          console.log('Stream completed');
        } else if (data.type === 'error') {
          console.error('Error:', data.data.message);
        }
      }
    }
  }
}`

const CHAT_MESSAGE_JSX = `
import { useEffect, useState } from 'react';

function ChatMessage({ chatId, content }) {
  const [response, setResponse] = useState('');
  const [status, setStatus] = useState('');

  useEffect(() => {
    const sendMessage = async () => {
      const res = await fetch(\`/api/chats/\${chatId}/messages\`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        credentials: 'include',
        body: JSON.stringify({ content })
      });

      const reader = res.body.getReader();
      const decoder = new TextDecoder();

      while (true) {
        const { value, done } = await reader.read();
        if (done) break;

        const chunk = decoder.decode(value);
        const lines = chunk.split('\\n');

        for (const line of lines) {
          if (line.startsWith('data: ')) {
            const data = JSON.parse(line.slice(6));

            if (data.type === 'message') {
              setResponse(prev => prev + data.data.content);
            } else if (data.type === 'status') {
              setStatus(data.data.description);
            }
          }
        }
      }
    };

    sendMessage();
  }, [chatId, content]);

  return (
    <div>
      <p>Status: {status}</p>
      <p>Response: {response}</p>
    </div>
  );
}`

// ── Multi-Tenant Backend API, version 2 ──

const REGISTER_CLIENT = `
curl -X POST http://localhost:8000/api/v2/service/client/register/my-client \\
  -H "Authorization: Bearer eyJ0eXAiOiJKV1QiLCJhbGc..." \\
  -H "Content-Type: application/json" \\
  -d '{"webhook_url": "https://example.com/webhook"}'`

const REGISTER_V2 = `
curl -X POST http://localhost:8000/api/v2/auth/register \\
  -H "Content-Type: application/json" \\
  -d '{"email":"test@example.com","password":"password123"}'`

const REGISTER_CLIENT_V2 = `
curl -X POST http://localhost:8000/api/v2/service/client/register/my-client \\
  -H "Authorization: Bearer <your-token>" \\
  -H "Content-Type: application/json" \\
  -d '{"webhook_url":"https://webhook.site/unique-url"}'`

// ── The agent that the guide describes ──

const HI = ['Hi', ' there!', ' How', ' can', ' I', ' help', ' you?']

/** `streaming` or `complete`, as the guide's n8n workflow may answer; a slow one, so that words come one by one. */
const n8n = (form) => async (_request, response) => {
  if (form === 'complete') {
    response.setHeader('Content-Type', 'application/json')
    return response.end('{\n  "content": "Hi there! How can I help you?"\n}\n')
  }
  response.setHeader('Content-Type', 'text/event-stream')
  for (const content of HI) {
    response.write(`data: {"content": ${JSON.stringify(content)}}\n\n`)
    await wait(80)
  }
  response.end('data: [DONE]\n\n')
}

/** It came piece by piece, and is whole; words that come within 50 ms may be one piece. */
function streamed(pieces) {
  assert.equal(pieces.join(''), HI.join(''))
  assert.ok(pieces.length > 2, JSON.stringify(pieces))
}

/** What is shown of a resource, to be compared with the fields that the document shows. */
const has = (resource, fields) =>
  assert.deepEqual(
    fields.filter((field) => !(field in resource)),
    [],
  )

test('the documents before /api/v1', { timeout: 600_000 }, async (t) => {
  const service = await startService(t)
  const folder = temporaryFolder(t)

  /** Runs a documented line in a folder of its own (the cookie jar) and answers what it printed. */
  const paste = async (line, values = {}) => {
    let script = line.replaceAll('http://localhost:8000', service.url)
    for (const [name, value] of Object.entries(values)) script = script.replaceAll(name, value)
    const child = spawn('bash', ['-c', script.replaceAll('curl ', 'curl -sS ')], { cwd: folder })
    let printed = ''
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (chunk) => {
        printed += chunk
      })
    const status = await new Promise((resolve) => child.once('exit', resolve))
    assert.equal(status, 0, printed)
    return printed
  }
  const pasted = async (line, values) => JSON.parse(await paste(line, values))

  const admin = { email: 'root@example.com', password: 'a platform of one’s own' }
  const root = await platformToken(service, admin)

  let team

  await t.test('/api/admin makes and shows tenants, and keys for them', async () => {
    const made = await call(service, 'POST', '/api/admin/tenants', {
      as: root,
      body: { name: 'Test Team', slug: 'test-team', admin_email: 'owner@test-team.com' },
    })
    assert.equal(made.status, 201)
    team = made.data.id
    has(made.data, ['id', 'name', 'slug', 'plan', 'status', 'settings', 'created_at', 'updated_at'])
    assert.deepEqual((await call(service, 'GET', `/api/admin/tenants/${team}`, { as: root })).data, made.data)
    const key = await must(service, 'POST', '/api/admin/api-keys', {
      as: root,
      body: { tenant_id: team, name: 'Recommender', permissions: ['read', 'write'] },
    })
    assert.equal((await must(service, 'GET', '/api/v1/tenants/current', { as: key.key })).id, team)
    assert.equal(
      (await call(service, 'GET', '/api/admin/tenants', { as: key.key })).error.code,
      'platform_only',
    )
  })

  await t.test('the invited owner opens the team for registration', async () => {
    const [mail] = (await must(service, 'GET', '/api/v1/dev/mail')).filter(
      ({ to }) => to === 'owner@test-team.com',
    )
    const [, invitation] = /\/accept-invitation#token=(\S+)/.exec(mail.text)
    const owner = { email: 'owner@test-team.com', password: 'an owner of the team' }
    await must(service, 'POST', '/api/v1/auth/register', { body: { ...owner, invitation } })
    const { access_token: as } = await must(service, 'POST', '/api/v1/auth/login', { body: owner })
    await must(service, 'PATCH', '/api/v1/tenants/current', {
      as,
      body: { settings: { open_registration: true } },
    })
  })

  await t.test('the chat guide: register, log in with a cookie jar, become an admin', async () => {
    const user = await pasted(REGISTER, { '<team_uuid_from_above>': team })
    has(user, ['id', 'team_id', 'email', 'full_name', 'role', 'is_active', 'created_at'])
    assert.equal(user.team_id, team)
    assert.equal(user.role, 'user')
    assert.equal(user.is_active, true)

    await executeSql(service, MAKE_ADMIN)
    assert.deepEqual(await pasted(LOGIN), { message: 'Login successful' })
    const jar = readFileSync(path.join(folder, 'cookies.txt'), 'utf8')
    assert.match(jar, /^#HttpOnly_localhost\t.*\taccess_token\t/m)
    assert.match(jar, /^#HttpOnly_localhost\t.*\trefresh_token\t/m)

    const me = await pasted('curl http://localhost:8000/api/auth/me -b cookies.txt')
    has(me, ['id', 'team_id', 'email', 'full_name', 'role', 'avatar', 'preferences', 'is_active'])
    has(me, ['last_login_at', 'created_at'])
    assert.equal(me.role, 'admin')
    assert.equal(me.id, user.id)
  })

  const agents = await startReceiver(t, n8n('streaming'))
  let agent
  let chat

  await t.test('the chat guide: an agent and a chat', async () => {
    agent = await pasted(CREATE_AGENT)
    has(agent, ['id', 'team_id', 'created_by', 'name', 'description', 'webhook_url', 'webhook_token'])
    has(agent, ['system_prompt', 'avatar', 'config', 'is_active', 'created_at', 'updated_at'])
    assert.equal(agent.team_id, team)
    assert.deepEqual(agent.config, { model: 'gpt-4', temperature: 0.7 })

    chat = await pasted(CREATE_CHAT, { '<agent_uuid_from_above>': agent.id })
    has(chat, ['id', 'team_id', 'user_id', 'agent_id', 'title', 'metadata', 'is_archived', 'created_at'])
    assert.equal(chat.title, 'Test Chat')

    // Its n8n is not on this network, and the stream says so.
    const stream = await paste(SEND_MESSAGE, { '<chat_uuid>': chat.id })
    assert.match(stream, /^data: \{"type":"error","data":\{"message":"The agent could not be reached"/m)

    // From here on it is.
    const updated = await pasted(
      `curl -X PUT http://localhost:8000/api/agents/${agent.id} -b cookies.txt -H "Content-Type: application/json" \\
        -d '{"name": "Support Bot Updated", "webhook_url": "${agents.url}/webhook/test", "webhook_token": "secret_token_123"}'`,
    )
    assert.equal(updated.name, 'Support Bot Updated')
    assert.equal(updated.webhook_token, '********')
    assert.equal(updated.system_prompt, 'You are a helpful assistant.')
  })

  await t.test('the chat guide: an answer streams in the documented format', async () => {
    const stream = await paste(SEND_MESSAGE, { '<chat_uuid>': chat.id })
    const data = [...stream.matchAll(/^data: (.*)$/gm)].map(([, json]) => JSON.parse(json))
    assert.equal(data[0].type, 'status')
    assert.deepEqual(Object.keys(data[0].data).sort(), ['description', 'done', 'level'])
    streamed(data.filter(({ type }) => type === 'message').map((event) => event.data.content))
    assert.equal(data.at(-1).type, 'done')
    assert.equal(data.at(-1).data.message, 'Stream completed')

    const { headers, body } = agents.requests.at(-1)
    assert.equal(headers.authorization, 'Bearer secret_token_123')
    const asked = JSON.parse(body)
    assert.equal(asked.system_prompt, 'You are a helpful assistant.')
    assert.deepEqual(asked.config, { model: 'gpt-4', temperature: 0.7 })
    assert.deepEqual(Object.keys(asked.messages.at(-1)).sort(), ['content', 'role', 'timestamp'])
    assert.equal(asked.messages.at(-1).content, 'Hello, how are you?')
  })

  /** `fetch` as a page of the service has it: its paths, its cookies. */
  const cookie = () =>
    [...readFileSync(path.join(folder, 'cookies.txt'), 'utf8').matchAll(/\t(\w+)\t(\S+)$/gm)]
      .map(([, name, value]) => `${name}=${value}`)
      .join('; ')
  const pageFetch = (where, init) =>
    fetch(new URL(where, service.url), { ...init, headers: { ...init.headers, Cookie: cookie() } })

  await t.test('the chat guide: sendMessage in JavaScript', async () => {
    const lines = []
    const errors = []
    const page = {
      log: (...words) => lines.push(words.join(' ')),
      error: (...words) => errors.push(words.join(' ')),
    }
    const sendMessage = new Function('fetch', 'console', `${SEND_MESSAGE_JS}\nreturn sendMessage`)(
      pageFetch,
      page,
    )
    await sendMessage(chat.id, 'Hello, I need help with my account')
    assert.deepEqual(errors, [])
    assert.match(lines[0], /^Status: /)
    streamed(lines.flatMap((line) => line.split(/^Message chunk: /)[1] ?? []))
    assert.equal(lines.at(-1), 'Stream completed')
  })

  await t.test(
    'the chat guide: sendMessage in a browser, with its cookies',
    { skip: noBrowser },
    async (t) => {
      const browser = await chromium.launch({
        executablePath: browserAt,
        args: ['--no-sandbox', '--disable-dev-shm-usage'],
      })
      t.after(() => browser.close())
      const page = await browser.newPage()
      const lines = []
      page.on('console', (message) => {
        // A picture shown by itself has no icon.
        if (!message.location().url.endsWith('/favicon.ico'))
          lines.push(`${message.type()}: ${message.text()}`)
      })
      await page.goto(`${service.url}/favicon.svg`)
      lines.length = 0
      await page.evaluate(
        async ([script, agent_id]) => {
          const post = (where, body) =>
            fetch(where, {
              method: 'POST',
              headers: { 'Content-Type': 'application/json' },
              credentials: 'include',
              body: JSON.stringify(body),
            }).then((answer) => answer.json())
          await post('/api/auth/login', { email: 'admin@test-team.com', password: 'SecurePass123' })
          const { id } = await post('/api/chats', { agent_id })
          const sendMessage = new Function(`${script}\nreturn sendMessage`)()
          await sendMessage(id, 'Hello, I need help with my account')
          await fetch(`/api/chats/${id}`, { method: 'DELETE' })
        },
        [SEND_MESSAGE_JS, agent.id],
      )
      assert.match(lines[0], /^log: Status: /)
      streamed(lines.flatMap((line) => line.split(/^log: Message chunk: /)[1] ?? []))
      assert.equal(lines.at(-1), 'log: Stream completed')
      assert.deepEqual(
        lines.filter((line) => line.startsWith('error')),
        [],
      )
    },
  )

  await t.test('the chat guide: the React component', async () => {
    const { code } = await esbuild.transform(CHAT_MESSAGE_JSX, { loader: 'jsx', jsxFactory: 'element' })
    // The little of React that the component uses: state that is kept by its place, an effect that runs once.
    const states = []
    let place = 0
    let effect = null
    const react = {
      useState(initial) {
        const at = place++
        if (states.length === at) states.push(initial)
        const set = (next) => {
          states[at] = typeof next === 'function' ? next(states[at]) : next
        }
        return [states[at], set]
      },
      useEffect(run) {
        effect ??= run
      },
    }
    const element = (_tag, _props, ...children) => children.flat().join('')
    const body = `${code.replace(/^import .*$/m, 'const { useEffect, useState } = react')}\nreturn ChatMessage`
    const ChatMessage = new Function('react', 'element', 'fetch', body)(react, element, pageFetch)
    const render = () => {
      place = 0
      return ChatMessage({ chatId: chat.id, content: 'Are you there?' })
    }
    assert.equal(render(), 'Status: Response: ')
    effect()
    await waitFor(() => render().endsWith('help you?'), 10_000, 'the whole answer on the page')
    assert.match(render(), /^Status: \S.*Response: Hi there! How can I help you\?$/)
  })

  await t.test('the chat guide: lists, one chat, changes, an avatar, the end', async () => {
    const curl = (line) =>
      pasted(`curl ${line.replaceAll('/api/', 'http://localhost:8000/api/')} -b cookies.txt`)
    const json = `-H "Content-Type: application/json" -d`

    const [listed, ...more] = await waitFor(async () => {
      const chats = await curl('"/api/chats?include_archived=false&limit=50&offset=0"')
      return chats[0].messages.at(-1)?.content === HI.join('') && chats
    })
    assert.equal(more.length, 0)
    has(listed, ['id', 'team_id', 'user_id', 'agent_id', 'title', 'messages', 'metadata', 'is_archived'])
    assert.equal(listed.messages.length, 2)
    for (const message of listed.messages) has(message, ['role', 'content', 'timestamp'])
    assert.deepEqual(await curl('"/api/chats?offset=1"'), [])

    const whole = await curl(`/api/chats/${chat.id}`)
    assert.equal(whole.messages.length, 8)
    assert.equal(whole.messages.at(-1).content, HI.join(''))

    const tagged = await curl(
      `-X POST /api/chats ${json} '{"agent_id": "${agent.id}", "title": "Support Request", "metadata": {"tags": ["support"]}}'`,
    )
    assert.deepEqual(tagged.metadata, { tags: ['support'] })
    const renamed = await curl(
      `-X PUT /api/chats/${tagged.id} ${json} '{"title": "Updated Support Request", "is_archived": false}'`,
    )
    assert.equal(renamed.title, 'Updated Support Request')
    assert.equal(
      await paste(`curl -X DELETE http://localhost:8000/api/chats/${tagged.id} -b cookies.txt`),
      '',
    )
    assert.equal((await curl(`/api/chats/${tagged.id}`)).error.code, 'not_found')

    const picture = Buffer.from(
      'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
      'base64',
    )
    writeFileSync(path.join(folder, 'avatar.png'), picture)
    const pictured = await curl(`-X POST /api/agents/${agent.id}/avatar -F "file=@avatar.png"`)
    assert.match(pictured.avatar, /avatar/)
    await paste(`curl "${service.url}${pictured.avatar}" -b cookies.txt -o got.png`)
    assert.deepEqual(readFileSync(path.join(folder, 'got.png')), picture)

    const complete = await startReceiver(t, n8n('complete'))
    await curl(
      `-X PUT /api/agents/${agent.id} ${json} '{"webhook_url": "${complete.url}", "webhook_token": null}'`,
    )
    const answered = await paste(SEND_MESSAGE, { '<chat_uuid>': chat.id })
    assert.match(answered, /"content":"Hi there! How can I help you\?"/)

    assert.equal((await pageFetch('/api/agents', { method: 'HEAD', headers: {} })).status, 200)
    await curl(`-X PUT /api/agents/${agent.id} ${json} '{"name": "Support Bot Updated", "is_active": false}'`)
    assert.deepEqual(await curl('/api/agents'), [])
    assert.equal((await curl('"/api/agents?include_inactive=true"'))[0].id, agent.id)
    assert.equal(
      await paste(`curl -X DELETE http://localhost:8000/api/agents/${agent.id} -b cookies.txt`),
      '',
    )
    assert.equal((await curl(`/api/chats/${chat.id}`)).id, chat.id)

    assert.deepEqual(
      await pasted('curl -X POST http://localhost:8000/api/auth/refresh -b cookies.txt -c cookies.txt'),
      { message: 'Token refreshed' },
    )
    assert.equal((await curl('/api/auth/me')).email, 'admin@test-team.com')
  })

  await t.test('version 2: a network of one’s own, a client, an interaction and its webhook', async () => {
    // The one documented line that can't work: its password is among the commonest.
    const refused = await pasted(REGISTER_V2)
    assert.equal(refused.error.status, 422)
    assert.match(refused.error.details.fields.password, /commonest/)

    const password = 'a password of my own'
    const user = await pasted(REGISTER_V2, { password123: password })
    assert.equal(user.tenant_id, user.id)
    const login = { email: 'test@example.com', password }
    const { json } = await call(service, 'POST', '/api/v2/auth/login', { body: login })
    const token = json.access_token
    assert.equal(JSON.parse(Buffer.from(token.split('.')[1], 'base64url')).sub, user.id)

    assert.equal((await pasted(REGISTER_CLIENT)).error.code, 'invalid_token')
    const first = await pasted(REGISTER_CLIENT, { 'eyJ0eXAiOiJKV1QiLCJhbGc...': token })
    assert.equal(first.client_id, 'my-client')
    assert.equal(first.network_id, user.id)
    assert.equal(first.webhook_url, 'https://example.com/webhook')
    const second = await pasted(REGISTER_CLIENT_V2, { '<your-token>': token })
    assert.equal(second.webhook_url, 'https://webhook.site/unique-url')
    assert.equal('secret' in second, false)

    const receiver = await startReceiver(t)
    await pasted(REGISTER_CLIENT_V2, {
      '<your-token>': token,
      'https://webhook.site/unique-url': `${receiver.url}/unique-url`,
    })
    const interaction = await call(service, 'POST', `/api/v2/${user.id}/interactions/register`, {
      as: token,
      body: { text: 'Good morning', speaker_id: 'speaker-1', conversation_id: 'conversation-1' },
    })
    assert.equal(interaction.status, 201)
    const [{ headers, body }] = await receiver.received(1)
    const payload = new Webhook(first.secret).verify(body, headers)
    assert.equal(payload.interaction_id, interaction.json.id)
    assert.equal(payload.network_id, user.id)
    assert.equal(payload.text, 'Good morning')
    assert.equal(payload.speaker_id, 'speaker-1')
    assert.equal(payload.conversation_id, 'conversation-1')
    assert.match(payload.timestamp, /^\d{4}-\d\d-\d\dT/)

    const as = token
    const disabled = await call(service, 'PATCH', '/api/v2/service/disable', { as })
    assert.deepEqual(disabled.json, { network_id: user.id, service_enabled: false })
    const path = `/api/v2/${user.id}/interactions/register`
    const said = { as, body: { text: 'Is anybody there?' } }
    assert.equal((await call(service, 'POST', path, said)).error.code, 'service_disabled')
    await call(service, 'PATCH', '/api/v2/service/enable', { as })
    assert.equal((await call(service, 'POST', path, said)).status, 201)
    const gone = await call(service, 'DELETE', '/api/v2/service/client/deregister/my-client', { as })
    assert.equal(gone.json.client_id, 'my-client')

    const other = await signUp(service)
    const foreign = await call(service, 'POST', `/api/v2/${other.tenant.id}/interactions/register`, said)
    assert.equal(foreign.error.code, 'tenant_mismatch')
  })

  await t.test('x-client-id names the caller’s tenant', async () => {
    const { token, tenant } = await signUp(service)
    const headers = (id) => ({ 'x-client-id': id, 'X-Idempotency-Key': crypto.randomUUID() })
    const me = (id) => call(service, 'GET', '/api/v1/auth/me', { as: token, headers: headers(id) })
    assert.equal((await me(tenant.id)).status, 200)
    assert.equal((await me(team)).error.code, 'tenant_mismatch')
  })

  await t.test('the documentation is where it was: /docs and /redoc', async () => {
    for (const page of ['/docs', '/redoc']) assert.equal((await fetch(service.url + page)).status, 200)
    assert.ok(existsSync(path.join(folder, 'cookies.txt')))
  })
})

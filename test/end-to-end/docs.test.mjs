// The pages in docs/: their lines are run in order, and print what the pages say; their programs are programs.
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, globSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { chromium } from 'playwright-core'
import { Webhook } from 'standardwebhooks'
import {
  browserAt,
  freePort,
  must,
  noBrowser,
  platformToken,
  ROOT,
  readEvents,
  signUp,
  startReceiver,
  startService,
  temporaryFolder,
  waitFor,
} from './harness.mjs'
import { codeBlocks, follow, openShell, shellBlocks } from './shell.mjs'

const pageOf = (name) => readFileSync(path.join(ROOT, 'docs', name), 'utf8')

/** Why a machine can't run a page's Python; false where it can. */
const noPython = spawnSync('python3', ['-c', 'import sys; assert sys.version_info >= (3, 9)']).status
  ? 'no python3 of 3.9 or newer was found'
  : false

const noNginx = spawnSync('nginx', ['-v']).status === 0 ? false : 'no nginx was found'

/** What `npm run dev` has, so that nothing outside is needed. */
const SIMULATED = {
  PAYMENTS: 'simulated',
  TTS_PROVIDER: 'simulated',
  CALL_PROVIDER: 'simulated',
  CALL_SIMULATED_SPEED: '20',
  PLAN_PRICES: '{"pro":{"amount":4900},"enterprise":{"amount":49900}}',
}

test('the pages in docs/', { timeout: 600_000 }, async (t) => {
  const service = await startService(t, { vars: SIMULATED })
  const { token, key } = await signUp(service, 'acme')
  // The login that the pages use.
  const login = { email: 'ada@acme.example', password: 'a long and unusual phrase' }
  await must(service, 'PATCH', '/api/v1/tenants/current', {
    as: token,
    body: { settings: { open_registration: true } },
  })
  const tenant = await must(service, 'GET', '/api/v1/tenants/current', { as: token })
  await must(service, 'POST', '/api/v1/auth/register', { body: { ...login, tenant_id: tenant.id } })
  // What the tour has said by then.
  for (const text of ['Where is my parcel?', 'Hello?'])
    await must(service, 'POST', '/api/v1/interactions', { as: key, body: { text } })
  const env = { API: service.url, TOKEN: token, KEY: key, STATE_DIR: service.stateDir }

  /** Follows a page's lines in one terminal, at free ports. */
  async function followPage(t, name, replaced = {}) {
    let text = pageOf(name)
    for (const [from, to] of Object.entries(replaced)) text = text.replaceAll(from, to)
    for (const port of new Set(text.match(/\b90\d\d\b/g)))
      text = text.replaceAll(new RegExp(`\\b${port}\\b`, 'g'), String(await freePort()))
    const shell = openShell(t, env)
    await shell.run('get() { node -p "JSON.parse(fs.readFileSync(0)).data$1"; }')
    const blocks = shellBlocks(text)
    assert.ok(blocks.length > 0)
    for (const block of blocks) await follow(shell, block)
    return shell
  }

  await t.test('getting-started.md: every line', (t) => followPage(t, 'getting-started.md'))

  await t.test('getting-started.md: the programs', (t) => {
    const folder = temporaryFolder(t)
    const text = pageOf('getting-started.md')
    const run = (command, args) => {
      const done = spawnSync(command, args, {
        cwd: folder,
        env: { ...process.env, ...env },
        encoding: 'utf8',
      })
      assert.equal(done.status, 0, done.stderr)
      return done.stdout
    }
    writeFileSync(path.join(folder, 'client.mjs'), codeBlocks(text, 'js').at(-1))
    assert.equal(run('node', ['client.mjs']), 'Hello from JavaScript\n')
    if (noPython) return
    writeFileSync(path.join(folder, 'client.py'), codeBlocks(text, 'python')[0])
    assert.equal(run('python3', ['client.py']), 'Hello from Python\n')
  })

  await t.test('identity.md: every line', (t) => followPage(t, 'identity.md'))

  await t.test('webhooks.md: every line', (t) => followPage(t, 'webhooks.md'))

  await t.test('realtime.md: every line', (t) => followPage(t, 'realtime.md'))

  await t.test('jobs.md: every line', (t) => followPage(t, 'jobs.md'))

  await t.test('tickets.md: every line', (t) => followPage(t, 'tickets.md'))

  await t.test('interactions.md: every line', (t) => followPage(t, 'interactions.md'))

  await t.test('files.md: every line', (t) => followPage(t, 'files.md'))

  await t.test('knowledge.md: every line', (t) => followPage(t, 'knowledge.md'))

  await t.test('tools.md: every line', (t) => followPage(t, 'tools.md'))

  await t.test('items.md: every line', (t) => followPage(t, 'items.md'))

  await t.test('recommendations.md: every line', (t) => followPage(t, 'recommendations.md'))

  await t.test('webhooks.md: its receivers are the examples', () => {
    const shown = (language) => codeBlocks(pageOf('webhooks.md'), language)[0]
    const kept = (name) => pageOf(`examples/${name}`).replace(/^(?:\/\/|#) .*\n/, '')
    assert.equal(shown('js'), kept('receiver.mjs'))
    assert.equal(shown('python'), kept('receiver.py'))
    assert.equal(codeBlocks(pageOf('webhooks.md'), 'js')[1], kept('receiver-v1a.mjs'))
    assert.equal(codeBlocks(pageOf('webhooks.md'), 'js')[2], kept('svix.mjs'))
  })

  await t.test('webhooks.md: Svix’s own client', async (t) => {
    const receiver = await startReceiver(t)
    const run = () =>
      new Promise((resolve) => {
        const child = spawn('node', ['docs/examples/svix.mjs'], {
          cwd: ROOT,
          env: { ...process.env, ...env, HOOK: receiver.url },
        })
        let printed = ''
        for (const stream of [child.stdout, child.stderr])
          stream.on('data', (data) => {
            printed += data
          })
        child.on('close', (status) => resolve({ status, printed }))
      })
    const done = await run()
    assert.deepEqual(
      [done.status, done.printed.includes(` goes to ${receiver.url}`)],
      [0, true],
      done.printed,
    )
    const [{ headers, body }] = await receiver.received(1)
    assert.equal(body, '{"invoice":42}')
    assert.ok(done.printed.startsWith(`${headers['svix-id']} `), done.printed)
    // The same message once more is refused by its eventId.
    const again = await run()
    assert.equal(again.status, 1)
    assert.match(again.printed, /HTTP-Code: 409/)
  })

  await t.test('webhooks.md: the receiver in Python', { skip: noPython }, async (t) => {
    const port = await freePort()
    const { id, secret } = await must(service, 'POST', '/api/v1/webhooks', {
      as: key,
      body: { url: `http://localhost:${port}/`, event_types: ['parcel.*'] },
    })
    const shell = openShell(t, { SECRET: secret })
    await shell.run(`python3 docs/examples/receiver.py ${port} 2>&1 & sleep 1`)
    const send = (data) =>
      must(service, 'POST', '/api/v1/events', { as: key, body: { type: 'parcel.lost', data } })
    const event = await send({ to: 'Zoë', size: 'x'.repeat(100_000) })
    await waitFor(() => shell.printed().includes(`${event.id} {'id': '${event.id}'`), 10_000, 'the event')
    assert.match(shell.printed(), /'data': \{'to': 'Zoë', 'size': 'x{100000}'\}/)
    // A list shows what its endpoint has told by then; read alone, a delivery is as it is.
    const [{ id: delivery }] = await must(service, 'GET', `/api/v1/webhooks/${id}/deliveries`, { as: key })
    const { status } = await must(service, 'GET', `/api/v1/deliveries/${delivery}`, { as: key })
    assert.equal(status, 'delivered')

    const body = '{"id":"msg_1"}'
    const now = Math.floor(Date.now() / 1000)
    const post = async (headers) =>
      (await fetch(`http://localhost:${port}/`, { method: 'POST', body, headers })).status
    const signed = (timestamp, content = body) => ({
      'webhook-id': 'msg_1',
      'webhook-timestamp': String(timestamp),
      'webhook-signature': new Webhook(secret).sign('msg_1', new Date(timestamp * 1000), content),
    })
    assert.equal(await post(signed(now)), 204)
    assert.equal(await post(signed(now, '{"id":"msg_2"}')), 400)
    assert.equal(await post(signed(now - 301)), 400)
    assert.equal(await post({ ...signed(now), 'webhook-id': 'msg_2' }), 400)
    assert.equal(await post({ ...signed(now), 'webhook-signature': '' }), 400)
    assert.equal(await post({}), 400)
    const more = { ...signed(now), 'webhook-signature': `v1a,AAAA ${signed(now)['webhook-signature']}` }
    assert.equal(await post(more), 204, 'one signature of several')
  })

  await t.test('chat.md: every line', async (t) => {
    // A server of the OpenAI protocol, where the page has Ollama's.
    const model = await startReceiver(t, (_request, response) => {
      response.setHeader('Content-Type', 'text/event-stream')
      for (const content of ['It is ', 'on its way.'])
        response.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }] })}\n\n`)
      response.end('data: [DONE]\n\n')
    })
    const shell = await followPage(t, 'chat.md', { 'http://localhost:11434': model.url })
    const { id } = JSON.parse(
      /\{.*\}/.exec(await shell.run('json chats "{\\"agent_id\\":\\"$MODEL\\"}"'))[0],
    ).data
    const { messages } = await must(service, 'POST', `/api/v1/chats/${id}/messages`, {
      as: key,
      body: { content: 'Where is my parcel?' },
      headers: { Accept: 'application/json' },
    })
    assert.equal(messages[1].content, 'It is on its way.')
    assert.equal(model.requests[0].path, '/v1/chat/completions')
    assert.equal(JSON.parse(model.requests[0].body).model, 'llama3.2')
  })

  await t.test('chat.md: what a webhook agent is sent', async (t) => {
    const agent = await startReceiver(t, (_request, response) => response.end('Yes.'))
    const made = await must(service, 'POST', '/api/v1/agents', {
      as: key,
      body: {
        ...{ name: 'Support', webhook_url: agent.url, webhook_token: 's3cret' },
        ...{ system_prompt: 'You are a helpful assistant.', config: { temperature: 0.7 } },
      },
    })
    const { id } = await must(service, 'POST', '/api/v1/chats', { as: key, body: { agent_id: made.id } })
    await must(service, 'POST', `/api/v1/chats/${id}/messages`, {
      as: key,
      body: { content: 'Where is my parcel?' },
      headers: { Accept: 'application/json' },
    })
    const [{ headers, body }] = agent.requests
    const shown = JSON.parse(codeBlocks(pageOf('chat.md'), 'json')[0])
    const sent = JSON.parse(body)
    shown.sessionId = id
    shown.messages[0].timestamp = sent.messages[0].timestamp
    assert.deepEqual(sent, shown)
    assert.equal(headers.authorization, 'Bearer s3cret')
    assert.ok(headers['x-causeway-run-id'] && headers.traceparent)
    new Webhook(made.signing_secret).verify(body, headers)
  })

  await t.test('chat.md: the programs for a browser', { skip: noBrowser }, async (t) => {
    const { id: agent_id } = await must(service, 'POST', '/api/v1/agents', {
      as: key,
      body: { name: 'Echo', kind: 'echo' },
    })
    const browser = await chromium.launch({
      executablePath: browserAt,
      args: ['--no-sandbox', '--disable-dev-shm-usage'],
    })
    t.after(() => browser.close())
    const page = await browser.newPage()
    await page.goto(`${service.url}/favicon.svg`)
    const [login_, ...programs] = [
      codeBlocks(pageOf('getting-started.md'), 'js')[0],
      ...codeBlocks(pageOf('chat.md'), 'js'),
    ]
    const [followed, connected] = await page.evaluate(
      async ([logIn, code, { email, password }, agent]) => {
        const AsyncFunction = (async () => {}).constructor
        const me = await new AsyncFunction('email', 'password', `${logIn}\nreturn me`)(email, password)
        if (me.data.email !== email) throw new Error('not logged in')
        const names = '{ follow, send, connect }'
        const { follow, send, connect } = new Function(`${code.replaceAll('export ', '')}\nreturn ${names}`)()
        const chat = await fetch('/api/v1/chats', {
          method: 'POST',
          headers: { 'Content-Type': 'application/json' },
          body: JSON.stringify({ agent_id: agent }),
        })
        const { id } = (await chat.json()).data

        const until = (condition) =>
          new Promise((resolve) => {
            const timer = setInterval(() => condition() && resolve(clearInterval(timer)), 20)
          })
        let messages = null
        const leave = follow(id, (now) => {
          messages = now
        })
        await until(() => messages)
        await send(id, 'Hello from the page')
        await until(() => messages.at(-1)?.status === 'complete' && messages.length === 2)

        const events = []
        const socket = connect(id, (event) => events.push(event))
        await until(() => events.length > 0)
        socket.send('And over the socket')
        await until(() => events.at(-1).type === 'done' && messages.length === 4)
        await until(() => messages.at(-1).status === 'complete')
        socket.close()
        leave()
        const kept = (await (await fetch(`/api/v1/chats/${id}`)).json()).data.messages
        const said = (list) => list.map(({ role, content, status }) => `${role} ${status}: ${content}`)
        return [
          { page: said(messages), kept: said(kept) },
          events.map(({ type, data }) => (type === 'message' ? data.content : '')).join(''),
        ]
      },
      [login_, programs.join('\n'), login, agent_id],
    )
    assert.deepEqual(followed.page, followed.kept)
    assert.equal(followed.kept.at(-1), 'assistant complete: And over the socket')
    assert.equal(connected, 'And over the socket')
  })

  await t.test('limits.md: every line', async (t) => {
    const admin = { email: 'root@acme.example', password: 'a very long root phrase' }
    env.ADMIN = await platformToken(service, admin)
    env.TENANT = tenant.id
    await followPage(t, 'limits.md')
  })

  await t.test('tenancy.md: every line', (t) => followPage(t, 'tenancy.md'))

  await t.test('billing.md: every line', (t) => followPage(t, 'billing.md'))

  // With the credit of the page before.
  await t.test('voice.md: every line', (t) => followPage(t, 'voice.md'))

  await t.test('usage.md: every line', (t) => followPage(t, 'usage.md'))

  await t.test('analytics.md: every line', (t) => followPage(t, 'analytics.md'))

  await t.test('operations.md: every line', (t) => followPage(t, 'operations.md'))

  await t.test('operations.md: the lines for nginx', { skip: noNginx }, async (t) => {
    const folder = temporaryFolder(t)
    const port = await freePort()
    const lines = codeBlocks(pageOf('operations.md'), 'nginx')[0]
      .replace('listen 80;', `listen 127.0.0.1:${port};`)
      .replace('https://api.example.com', service.url)
      .replace('Host api.example.com', `Host localhost:${service.port}`)
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
      (name) => `${name}_temp_path ${folder}/${name};`,
    )
    const file = path.join(folder, 'nginx.conf')
    const http = `http {\naccess_log off;\n${temporary.join('\n')}\n${lines}}\n`
    writeFileSync(file, `daemon off;\npid ${folder}/pid;\nerror_log stderr;\nevents {}\n${http}`)
    const nginx = spawn('nginx', ['-c', file, '-p', folder, '-e', 'stderr'], { stdio: 'ignore' })
    t.after(() => nginx.kill())
    const url = `http://127.0.0.1:${port}`
    const up = () =>
      fetch(`${url}/health`).then(
        ({ status }) => status === 200,
        () => false,
      )
    await waitFor(up, 5_000, 'nginx')

    const agent = await startReceiver(t, async (_request, response) => {
      for (const word of ['one ', 'two ', 'three ', 'four ']) {
        response.write(word)
        await wait(250)
      }
      response.end()
    })
    const as = key
    const body = { name: 'Slow', webhook_url: agent.url }
    const { id: agent_id } = await must(service, 'POST', '/api/v1/agents', { as, body })
    const { id } = await must(service, 'POST', '/api/v1/chats', { as, body: { agent_id } })
    const socket = new WebSocket(`${url.replace('http', 'ws')}/api/v1/chats/${id}/ws`, {
      headers: { 'X-API-Key': key },
    })
    t.after(() => socket.close())
    const frames = []
    socket.addEventListener('message', ({ data }) => frames.push(JSON.parse(data)))
    await waitFor(() => frames.length > 0, 5_000, 'the snapshot over the socket')

    const times = []
    const answer = await fetch(`${url}/api/v1/chats/${id}/messages`, {
      method: 'POST',
      headers: { 'X-API-Key': key, 'Content-Type': 'application/json' },
      body: JSON.stringify({ content: 'Count' }),
    })
    for await (const { data } of readEvents(answer)) if (data.type === 'message') times.push(Date.now())
    assert.equal(times.length, 4)
    assert.ok(times[3] - times[0] > 500, 'each word as it comes')
    await waitFor(() => frames.at(-1).type === 'done', 5_000, 'the end over the socket')
  })
})

test('what the pages refer to', async (t) => {
  const pages = [
    '../README.md',
    ...readdirSync(path.join(ROOT, 'docs')).filter((name) => name.endsWith('.md')),
  ]
  const anchor = (heading) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} -]/gu, '')
      .replaceAll(' ', '-')

  for (const page of pages)
    await t.test(`${path.basename(page)}: every link leads somewhere`, () => {
      const file = path.join(ROOT, 'docs', page)
      for (const [, target] of readFileSync(file, 'utf8').matchAll(/\]\((?!https?:)([^)]+)\)/g)) {
        const [where, heading] = target.split('#')
        const linked = where === '' ? file : path.resolve(path.dirname(file), where)
        assert.ok(existsSync(linked), target)
        if (!heading) continue
        const headings = [...readFileSync(linked, 'utf8').matchAll(/^#+ (.*)$/gm)].map(([, text]) =>
          anchor(text),
        )
        assert.ok(headings.includes(heading), target)
      }
    })

  await t.test('operations.md lists every setting, and names log lines that are written', () => {
    const text = pageOf('operations.md')
    const schema = readFileSync(path.join(ROOT, 'src/env.ts'), 'utf8')
    const settings = [...schema.matchAll(/^ {4}([A-Z][A-Z_]+): /gm)].map(([, name]) => name)
    assert.deepEqual(
      settings.filter((name) => !text.includes(`| \`${name}\` |`)),
      [],
    )
    const source = globSync('src/**/*.ts', { cwd: ROOT })
      .map((file) => readFileSync(path.join(ROOT, file), 'utf8'))
      .join('\n')
    const logs = text.slice(text.indexOf('## Logs'), text.indexOf('## What runs'))
    const names = [...logs.matchAll(/`([a-z]+_[a-z_]*(?:failed|dead))`/g)].map(([, name]) => name)
    assert.ok(names.length >= 4)
    assert.deepEqual(
      names.filter((name) => !source.includes(`'${name}'`)),
      [],
    )
  })
})

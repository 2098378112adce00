// The programs that people follow a chat with: an EventSource of npm, Node's WebSocket, and a browser.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import net from 'node:net'
import { test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { EventSource } from 'eventsource'
import { chromium } from 'playwright-core'
import { call, must, signUp, startReceiver, startService, waitFor } from './harness.mjs'

/** An agent that counts to the number it is told, every 100 ms. */
const counter = async (_request, response, body) => {
  const { chatInput } = JSON.parse(body)
  response.writeHead(200, { 'Content-Type': 'text/event-stream' })
  for (let n = 1; n <= Number(chatInput); n++) {
    response.write(`data: ${JSON.stringify({ content: `${n} ` })}\n\n`)
    await wait(100)
  }
  response.end('data: [DONE]\n\n')
}

const upTo = (n) => Array.from({ length: n }, (_, i) => `${i + 1} `).join('')

const textOf = (events) => events.map(({ type, data }) => (type === 'message' ? data.content : '')).join('')

/** A way to the service that can be cut: `cut()` resets every connection that goes through it. */
async function cuttable(t, service) {
  const open = new Set()
  const server = net.createServer((near) => {
    const far = net.connect(service.port, '127.0.0.1')
    for (const [one, other] of [
      [near, far],
      [far, near],
    ]) {
      open.add(one)
      one.on('data', (chunk) => other.write(chunk))
      one.on('close', () => {
        open.delete(one)
        other.destroy()
      })
      one.on('error', () => {})
    }
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const cut = () => {
    for (const socket of open) socket.resetAndDestroy()
  }
  t.after(() => {
    cut()
    server.close()
  })
  return { url: `http://localhost:${server.address().port}`, cut }
}

const browserAt = [
  process.env.CHROMIUM,
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
]
  .filter(Boolean)
  .find(existsSync)

test('clients of a chat', { timeout: 600_000 }, async (t) => {
  const service = await startService(t)
  const { key, token, login } = await signUp(service)
  const agent = await startReceiver(t, counter)
  const post = (route, body, headers) => must(service, 'POST', route, { as: key, body, headers })
  const { id: agent_id } = await post('/api/v1/agents', { name: 'Counter', webhook_url: agent.url })
  const newChat = async () => `/api/v1/chats/${(await post('/api/v1/chats', { agent_id })).id}`
  const begin = (chat, content) => post(`${chat}/messages`, { content }, { Prefer: 'respond-async' })

  await t.test('an EventSource whose connection is cut loses and repeats nothing', async (t) => {
    const chat = await newChat()
    const way = await cuttable(t, service)
    const cursors = []
    const source = new EventSource(`${way.url}${chat}/stream`, {
      fetch: (url, init) => {
        cursors.push(init.headers['Last-Event-ID'] ?? null)
        return fetch(url, { ...init, headers: { ...init.headers, 'X-API-Key': key } })
      },
    })
    t.after(() => source.close())
    const events = []
    source.addEventListener('message', ({ data, lastEventId }) =>
      events.push({ id: lastEventId, ...JSON.parse(data) }),
    )
    await waitFor(() => events.length > 0, 5_000, 'the snapshot')
    await begin(chat, '60')
    // Cut in mid-answer, cut again as soon as it is back, and once more; it comes back two seconds after each.
    for (const seen of [8, 30, 50]) {
      await waitFor(() => textOf(events).split(' ').length > seen, 10_000, `${seen} words`)
      way.cut()
    }
    await waitFor(() => events.at(-1).type === 'done', 15_000, 'the end of the answer')

    assert.equal(textOf(events), upTo(60))
    assert.equal(cursors.length, 4)
    assert.equal(cursors[0], null)
    assert.ok(cursors.slice(1).every((cursor) => /^e1-\d+$/.test(cursor)))
    assert.equal(events.filter(({ type }) => type === 'snapshot' || type === 'reset').length, 1)
    const seqs = events.map(({ id }) => Number(id.split('-')[1]))
    assert.deepEqual(
      seqs,
      seqs.map((_, n) => seqs[0] + n),
      'every number once, in order',
    )
  })

  await t.test('a WebSocket sends, watches, stops and resumes', async (t) => {
    const chat = await newChat()
    /** A socket with what it got; `headers` are the extension that Node's WebSocket has for them. */
    const open = async (query = '') => {
      const socket = new WebSocket(`${service.url.replace('http', 'ws')}${chat}/ws${query}`, {
        headers: { Authorization: `Bearer ${token}` },
      })
      t.after(() => socket.close())
      const frames = []
      socket.addEventListener('message', ({ data }) =>
        frames.push(data === 'pong' ? { type: 'pong' } : JSON.parse(data)),
      )
      await new Promise((resolve, reject) => {
        socket.addEventListener('open', resolve)
        socket.addEventListener('error', reject)
      })
      const send = (type, data) => socket.send(JSON.stringify({ type, ...(data ? { data } : {}) }))
      const got = (type) => waitFor(() => frames.find((frame) => frame.type === type), 10_000, type)
      return { socket, frames, send, got }
    }

    const first = await open()
    const second = await open()
    assert.equal((await first.got('snapshot')).data.messages.length, 0)
    first.socket.send('ping')
    await first.got('pong')
    first.send('message', { content: '20' })
    await first.got('done')
    await second.got('done')
    assert.equal(textOf(first.frames), upTo(20))
    assert.deepEqual(
      second.frames,
      first.frames.filter(({ type }) => type !== 'pong'),
    )

    // A third comes from the middle on, by the parameter and by a frame.
    const middle = first.frames.findIndex(
      ({ type, data }) => type === 'message' && data.content.includes('9 '),
    )
    const missed = first.frames.slice(middle + 1)
    const third = await open(`?last_event_id=${first.frames[middle].id}`)
    await third.got('done')
    assert.deepEqual(third.frames, missed)
    third.send('resume', { last_event_id: first.frames[middle].id })
    await waitFor(() => third.frames.length === 2 * missed.length, 5_000, 'the same once more')
    assert.deepEqual(third.frames.slice(missed.length), missed)

    // Stopped from the other socket, in mid-answer.
    const before = first.frames.length
    first.send('message', { content: '100' })
    await waitFor(() => textOf(second.frames.slice(before - 1)).length > 10, 5_000, 'some words')
    second.send('stop')
    const done = await waitFor(
      () => first.frames.slice(before).find(({ type }) => type === 'done'),
      5_000,
      'the end',
    )
    assert.equal(done.data.finish, 'stopped')
    const { messages } = await must(service, 'GET', chat, { as: key })
    assert.equal(messages.at(-1).status, 'stopped')
    assert.equal(messages.at(-1).content, textOf(first.frames.slice(before)))

    first.socket.send('{"type": "nonsense"}')
    assert.equal((await first.got('error')).data.code, 'validation_failed')
  })

  await t.test('a WebSocket without a credential is refused', async () => {
    const socket = new WebSocket(`${service.url.replace('http', 'ws')}${await newChat()}/ws`)
    const refused = await new Promise((resolve) => {
      socket.addEventListener('open', () => resolve(false))
      socket.addEventListener('error', () => resolve(true))
    })
    assert.equal(refused, true)
  })

  const skip = browserAt ? false : 'no chromium was found; name one in CHROMIUM'
  const browser =
    browserAt &&
    (await chromium.launch({
      executablePath: browserAt,
      args: ['--no-sandbox', '--disable-dev-shm-usage'],
    }))
  t.after(() => browser?.close())

  await t.test('two pages of a browser, logged in by cookie, see the same tokens', { skip }, async () => {
    const chat = await newChat()
    const context = await browser.newContext()
    const pages = await Promise.all([context.newPage(), context.newPage()])
    const wrong = []
    for (const page of pages) {
      page.on('console', (message) => {
        const asked = message.location().url
        // A picture shown by itself has no icon.
        if (message.type() === 'error' && !asked.endsWith('/favicon.ico')) wrong.push(message.text())
      })
      page.on('pageerror', (error) => wrong.push(error.message))
      await page.goto(`${service.url}/favicon.svg`)
    }
    const [watcher, sender] = pages

    const loggedIn = await sender.evaluate(async (body) => {
      const answer = await fetch('/api/v1/auth/login?cookies=only', {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(body),
      })
      return { answer: await answer.json(), cookie: document.cookie }
    }, login)
    assert.equal(loggedIn.answer.data.message, 'Login successful')
    assert.equal('access_token' in loggedIn.answer.data, false)
    assert.equal(loggedIn.cookie, '', 'no script can read the tokens')
    const cookies = await context.cookies()
    const names = cookies.map(({ name }) => name).sort()
    assert.deepEqual(names, ['access_token', 'login_device', 'refresh_token'])
    for (const { httpOnly, secure, sameSite } of cookies)
      assert.deepEqual({ httpOnly, secure, sameSite }, { httpOnly: true, secure: true, sameSite: 'Strict' })

    await watcher.evaluate(async (where) => {
      window.events = []
      const source = new EventSource(`${where}/stream`)
      source.onmessage = ({ data, lastEventId }) => {
        window.events.push({ id: lastEventId, ...JSON.parse(data) })
      }
      await new Promise((resolve) => {
        source.onopen = resolve
      })
    }, chat)

    // The sender reads its own answer from the body of its POST.
    const sent = await sender.evaluate(async (where) => {
      const answer = await fetch(`${where}/messages`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ content: '15' }),
      })
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader()
      const events = []
      const times = []
      let rest = ''
      for (;;) {
        const { value, done } = await reader.read()
        if (done) return { events, times }
        rest += value
        for (let end = rest.indexOf('\n\n'); end >= 0; end = rest.indexOf('\n\n')) {
          const id = /^id: (.*)$/m.exec(rest.slice(0, end))?.[1]
          const data = /^data: (.*)$/m.exec(rest.slice(0, end))?.[1]
          rest = rest.slice(end + 2)
          if (data) events.push({ id, ...JSON.parse(data) })
          if (data) times.push(performance.now())
        }
      }
    }, chat)
    await watcher.waitForFunction(() => window.events.at(-1)?.type === 'done')
    const watched = await watcher.evaluate(() => window.events)

    assert.equal(textOf(sent.events), upTo(15))
    assert.equal(sent.events.at(-1).type, 'done')
    const tokens = (events) => events.filter(({ type }) => ['status', 'message', 'done'].includes(type))
    assert.deepEqual(tokens(watched), tokens(sent.events))
    assert.ok(sent.times.at(-1) - sent.times[0] > 500, 'as they come, not at the end')
    assert.deepEqual(wrong, [])
  })

  await t.test('a page’s own WebSockets, logged in by cookie', { skip }, async () => {
    const chat = await newChat()
    const page = await (await browser.newContext()).newPage()
    await page.goto(`${service.url}/favicon.svg`)
    const { told, heard } = await page.evaluate(
      async ([body, where]) => {
        await fetch('/api/v1/auth/login?cookies=only', {
          method: 'POST',
          headers: { 'Content-Type': 'application/json' },
          body: JSON.stringify(body),
        })
        /** A socket of this origin, and its frames up to one of a type. */
        const open = (path) => {
          const socket = new WebSocket(path)
          const frames = []
          const waiting = []
          socket.onmessage = ({ data }) => {
            frames.push(JSON.parse(data))
            for (const look of waiting) look()
          }
          const until = (found) =>
            new Promise((resolve, reject) => {
              const look = () => frames.some(found) && resolve()
              waiting.push(look)
              socket.onclose = ({ code }) => reject(new Error(`closed with ${code}`))
              socket.onerror = () => reject(new Error('refused'))
              look()
            })
          return { socket, frames, until }
        }
        const channels = open('/realtime/ws')
        await new Promise((resolve) => {
          channels.socket.onopen = resolve
        })
        channels.socket.send('{"type":"auth"}')
        await channels.until(({ type }) => type === 'ready')
        const channel = `chats:${where.split('/').at(-1)}`
        channels.socket.send(JSON.stringify({ type: 'subscribe', channel }))
        await channels.until(({ type, data }) => type === 'chat_event' && data.type === 'snapshot')
        const chat = open(`${where}/ws`)
        await chat.until(({ type }) => type === 'snapshot')
        chat.socket.send(JSON.stringify({ type: 'message', data: { content: '10' } }))
        await chat.until(({ type }) => type === 'done')
        await channels.until(({ data }) => data?.type === 'done')
        return {
          told: chat.frames,
          heard: channels.frames.flatMap(({ type, data }) => (type === 'chat_event' ? data : [])),
        }
      },
      [login, chat],
    )
    assert.equal(textOf(told), upTo(10))
    assert.deepEqual(heard, told)
  })

  await t.test('a page of another site can read nothing and send nothing', { skip }, async (t) => {
    const chat = await newChat()
    const context = await browser.newContext()
    const page = await context.newPage()
    await page.goto(`${service.url}/favicon.svg`)
    await page.evaluate(
      (body) =>
        fetch('/api/v1/auth/login?cookies=only', {
          method: 'POST',
          headers: { 'Content-Type': 'application/json' },
          body: JSON.stringify(body),
        }),
      login,
    )
    // Another port of the same host: cookies go along, since a site has no port; the Origin tells them apart.
    const elsewhere = await startReceiver(t, (_request, response) => {
      response.setHeader('Content-Type', 'text/html')
      response.end('<title>elsewhere</title>')
    })
    await page.goto(`http://localhost:${elsewhere.port}/`)
    const outcome = await page.evaluate(
      async ([base, where]) => {
        const attempt = (path, init) =>
          fetch(base + path, { credentials: 'include', ...init }).then(
            (answer) => answer.status,
            () => 'refused',
          )
        const socket = await new Promise((resolve) => {
          const one = new WebSocket(`${base.replace('http', 'ws')}${where}/ws`)
          one.onopen = () => resolve('open')
          one.onerror = () => resolve('refused')
        })
        const message = JSON.stringify({ content: '1' })
        return {
          socket,
          read: await attempt('/api/v1/auth/me'),
          // A “simple” request, which a browser sends without asking first.
          simple: await attempt(`${where}/messages`, { method: 'POST', mode: 'no-cors', body: message }),
          json: await attempt(`${where}/messages`, {
            method: 'POST',
            headers: { 'Content-Type': 'application/json' },
            body: message,
          }),
        }
      },
      [service.url, chat],
    )
    // A no-cors answer is opaque (status 0) whatever it was: what counts is that nothing happened.
    assert.deepEqual(outcome, { socket: 'refused', read: 'refused', simple: 0, json: 'refused' })
    const { messages } = await must(service, 'GET', chat, { as: key })
    assert.deepEqual(messages, [])
    const forged = await call(service, 'POST', `${chat}/messages`, {
      body: { content: '1' },
      headers: { Cookie: `access_token=${token}`, Origin: `http://localhost:${elsewhere.port}` },
    })
    assert.equal(forged.error.code, 'origin_refused')
  })
})

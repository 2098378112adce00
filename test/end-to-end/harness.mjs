// What end-to-end tests share: the service as its users run it, receivers that are real servers, and patience.
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  globSync,
  mkdtempSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { copyAssets } from '../../scripts/lib/assets.mjs'
import { makePlatformAdmin } from '../../scripts/lib/platform-admin.mjs'
import { migrateLocally, ROOT, startWorker, untilHealthy, wrangler } from '../../scripts/lib/wrangler.mjs'

export { ROOT }

/** The Chromium that tests use: the one that CHROMIUM names, else one of the usual. */
export const browserAt = [
  process.env.CHROMIUM,
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
]
  .filter(Boolean)
  .find(existsSync)
/** Why a test with a browser is skipped; false where there is one. */
export const noBrowser = browserAt ? false : 'no chromium was found; name one in CHROMIUM'

/** A port that nobody listens on at the moment. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const probe = net.createServer().once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address()
      probe.close(() => resolve(port))
    })
  })
}

/** A folder that is removed when the test `t` has ended. */
export function temporaryFolder(t) {
  const folder = mkdtempSync(path.join(tmpdir(), 'causeway-'))
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }))
  return folder
}

/** The Worker as it is deployed, built anew where something has changed since. */
function builtWorker() {
  const script = path.join(ROOT, 'build/index.js')
  const changed = (file) => statSync(path.join(ROOT, file)).mtimeMs
  const sources = globSync(['src/**/*.ts', 'scripts/**/*.mjs', 'package*.json', 'wrangler.toml'], {
    cwd: ROOT,
  })
  if (!existsSync(script) || sources.some((file) => changed(file) > changed('build/index.js'))) {
    const done = spawnSync(process.execPath, ['scripts/build.mjs'], { cwd: ROOT, encoding: 'utf8' })
    if (done.status !== 0) throw new Error(`the Worker can't be built:\n${done.stderr}`)
  }
  return script
}

/**
 * A real `wrangler dev` with a state folder of its own; it is killed when the test `t` has ended. It runs the Worker as
 * it is deployed, or what is deployed to an `environment`, or the `source` as `npm run dev` does.
 *
 *   const service = await startService(t, { vars: { LOG_LEVEL: 'debug' } })
 *   await fetch(`${service.url}/health`)
 *   await service.kill()      // kill -9 of everything, as in a power cut
 *   await service.restart()   // the same state, port and settings
 *
 * One that `redeploys` has a copy of the Worker, whose next version takes the place of the one that runs:
 *
 *   await service.redeploy()
 */
export async function startService(t, { vars = {}, source = false, environment, redeploys = false } = {}) {
  copyAssets(ROOT)
  const folder = temporaryFolder(t)
  let script = source || environment ? undefined : builtWorker()
  if (redeploys) {
    // Wrangler finds its configuration by where the script lies.
    script = path.join(ROOT, 'build', `${path.basename(folder)}.js`)
    copyFileSync(builtWorker(), script)
    t.after(() => rmSync(script, { force: true }))
  }
  const stateDir = path.join(folder, 'state')
  const envFile = path.join(folder, 'settings.env')
  const port = await freePort()
  const url = `http://localhost:${port}`
  const settings = {
    MASTER_KEY: `dev_${randomBytes(36).toString('base64url')}`,
    PUBLIC_URL: url,
    ALLOW_PRIVATE_TARGETS: 'true',
    LOG_LEVEL: 'warn',
    ...vars,
  }
  // What has quotes of its own, as JSON has, stands in single ones: there nothing is escaped.
  const quoted = (value) => (value.includes('"') ? `'${value}'` : JSON.stringify(value))
  const lines = Object.entries(settings).map(([name, value]) => `${name}=${quoted(String(value))}\n`)
  writeFileSync(envFile, lines.join(''), { mode: 0o600 })
  migrateLocally(stateDir)

  let child
  let output = ''
  const service = {
    url,
    port,
    stateDir,
    /** All that the service has printed, its log among it. */
    output: () => output,
    async start() {
      child = startWorker({ port, stateDir, envFile, script, environment, detached: true })
      for (const stream of [child.stdout, child.stderr])
        stream.setEncoding('utf8').on('data', (chunk) => {
          output += chunk
          // Wrangler would wait for someone to mend the source.
          if (chunk.includes('Build failed')) child.kill('SIGTERM')
        })
      try {
        await untilHealthy(url, child)
      } catch (error) {
        throw new Error(`${error.message}\n${output.slice(-4000)}`)
      }
    },
    /** Ends it politely. */
    stop: () => end(child, () => child.kill('SIGTERM')),
    /** `kill -9` of the whole process group: wrangler and the runtime under it. */
    kill: () => end(child, () => signalGroup(child.pid, 'SIGKILL')),
    async restart() {
      await service.kill()
      await service.start()
    },
    /** Whoever is connected is cut off, and what is stored stays. */
    async redeploy() {
      const reloads = () => output.split('Local server updated and ready').length
      const before = reloads()
      appendFileSync(script, '\n// another version\n')
      await waitFor(() => reloads() > before, 30_000, 'the new version')
      await untilHealthy(url, child)
    },
  }
  t.after(() => service.kill())
  await service.start()
  return service
}

async function end(child, signal) {
  if (!child) return
  signal()
  // The runtime outlives its wrapper by a moment, and holds the port that long.
  await waitFor(() => !signalGroup(child.pid, 0), 10_000, 'the process group to end')
}

/** Whether there was anybody in the group to take the signal. */
function signalGroup(pid, signal) {
  try {
    return process.kill(-pid, signal)
  } catch {
    return false
  }
}

/**
 * A loopback server that records what it gets and answers with `respond(request, response, body)`, by default 200.
 * `receiver.requests` holds `{ method, path, headers, body, at, status }`, `status` once it has answered; `received(n)`
 * waits until there are n of them.
 */
export async function startReceiver(t, respond = (_request, response) => response.end('ok'), port = 0) {
  const requests = []
  const server = http.createServer(async (request, response) => {
    const body = await wholeBody(request)
    // Who was killed while sending it asks again.
    if (body === null) return
    const { method, url, headers } = request
    const seen = { method, path: url, headers, body, at: Date.now(), status: null }
    requests.push(seen)
    await respond(request, response, body)
    seen.status = response.statusCode
  })
  await new Promise((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve))
  const receiver = {
    port: server.address().port,
    url: `http://127.0.0.1:${server.address().port}`,
    requests,
    async received(count, patience = 15_000) {
      await waitFor(() => requests.length >= count, patience, `${count} requests (${requests.length} came)`)
      return requests
    },
    close: () =>
      new Promise((resolve) => {
        server.close(resolve)
        server.closeAllConnections()
      }),
  }
  t.after(() => receiver.close())
  return receiver
}

/** A request's body as text; null where its connection broke before the end. */
async function wholeBody(request) {
  const chunks = []
  try {
    for await (const chunk of request) chunks.push(chunk)
  } catch {
    return null
  }
  return Buffer.concat(chunks).toString()
}

/** Asks `condition` until it answers something truthy, and answers that; throws after `patience` milliseconds. */
export async function waitFor(condition, patience = 10_000, what = 'it') {
  const deadline = Date.now() + patience
  for (;;) {
    const found = await condition()
    if (found) return found
    if (Date.now() > deadline) throw new Error(`waited ${patience} ms in vain for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
}

let addresses = 0

/** An address that nobody has called from yet; locally the service believes whoever names one. */
export function newAddress() {
  addresses += 1
  return `10.${(addresses >> 16) & 255}.${(addresses >> 8) & 255}.${addresses & 255}`
}

/**
 * One call of the API, each from an address of its own, since logins are few a minute for each; answers `{ status,
 * headers, data, meta, error, json }`. `as` is a token or an API key.
 */
export async function call(service, method, route, { as, body, headers = {} } = {}) {
  const response = await fetch(service.url + route, {
    method,
    headers: {
      'CF-Connecting-IP': newAddress(),
      ...(as ? { Authorization: `Bearer ${as}` } : {}),
      ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    redirect: 'manual',
  })
  const text = await response.text()
  const json = text === '' ? {} : JSON.parse(text)
  return { status: response.status, headers: response.headers, json, ...json }
}

/** The same; throws unless the answer is a good one, and answers its `data`. */
export async function must(service, method, route, options) {
  const { status, json } = await call(service, method, route, options)
  if (status >= 400) throw new Error(`${method} ${route} answered ${status}: ${JSON.stringify(json)}`)
  return json.data
}

/** All that a list has, page by page. */
export async function listAll(service, route, options) {
  const rows = []
  const join = route.includes('?') ? '&' : '?'
  for (let cursor = ''; cursor !== null; ) {
    const at = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`
    const answer = await call(service, 'GET', `${route}${join}limit=100${at}`, options)
    if (answer.status !== 200)
      throw new Error(`GET ${route} answered ${answer.status}: ${JSON.stringify(answer)}`)
    rows.push(...answer.data)
    cursor = answer.meta.next_cursor
  }
  return rows
}

/** Signs a tenant up as anyone does; answers its ids, its admin's token and an API key. */
export async function signUp(service, slug = `t-${randomBytes(6).toString('hex')}`) {
  const login = { email: `admin@${slug}.example`, password: `pass-${randomBytes(9).toString('hex')}` }
  const { tenant, user } = await must(service, 'POST', '/api/v1/tenants/onboarding/public', {
    body: { name: slug, slug, ...login },
  })
  const { access_token: token } = await must(service, 'POST', '/api/v1/auth/login', { body: login })
  const { key } = await must(service, 'POST', '/api/v1/auth/api-keys', { as: token, body: { name: 'test' } })
  return { tenant, user, login, token, key }
}

/**
 * Says `sql` to the service's database. Nothing is heard while wrangler runs: connections that the service closed
 * meanwhile are let go before this resolves, or the next request would be sent on one of them and fail.
 */
export async function executeSql(service, sql) {
  wrangler(['d1', 'execute', 'DB', ...databaseOf(service), '--yes', '--command', sql])
  await wait(100)
}

/** Makes a platform administrator and logs in; answers the token. */
export async function platformToken(service, login) {
  await makePlatformAdmin({ ...login, where: databaseOf(service) })
  await wait(100)
  return (await must(service, 'POST', '/api/v1/auth/login', { body: login })).access_token
}

const databaseOf = ({ stateDir }) => ['--local', '--persist-to', stateDir]

/** Gives a tenant credit, as the platform does. */
export async function grantCredit(service, tenantId, amount) {
  const as = await platformToken(service, {
    email: 'root@example.com',
    password: 'a platform of one’s own',
  })
  const body = { amount, reference: 'end-to-end' }
  await must(service, 'POST', `/api/platform/tenants/${tenantId}/credits`, { as, body })
}

/** Gives a tenant limits of its own, where a test does more than its plan allows; within ten seconds they hold. */
export function setLimits(service, tenantId, limits) {
  const set = `update tenants set rate_limits = '${JSON.stringify(limits)}', version = version + 1`
  return executeSql(service, `${set} where id = '${tenantId}'`)
}

/** The events of a `text/event-stream` body as they come: `{ id, event, data }`, data parsed where it is JSON. */
export async function* readEvents(response) {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of response.body) {
    rest += decoder.decode(chunk, { stream: true })
    for (let end = rest.indexOf('\n\n'); end >= 0; end = rest.indexOf('\n\n')) {
      const event = parseEvent(rest.slice(0, end))
      rest = rest.slice(end + 2)
      if (event) yield event
    }
  }
}

function parseEvent(block) {
  const fields = { data: [] }
  for (const line of block.split('\n')) {
    const [, name, value] = /^(\w+): ?(.*)$/.exec(line) ?? []
    if (name === 'data') fields.data.push(value)
    else if (name) fields[name] = value
  }
  if (fields.data.length === 0) return null
  const data = fields.data.join('\n')
  try {
    return { ...fields, data: JSON.parse(data) }
  } catch {
    return { ...fields, data }
  }
}

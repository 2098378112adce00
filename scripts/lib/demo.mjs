import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'

/**
 * What the seed made and what is shown of it, in the state's own folder, readable by its owner only. It is written
 * before and after every step, so that a seed that was cut off goes on where it stopped.
 */
export class Demo {
  /** `previous`: the master keys that open what was sealed before, comma separated. */
  constructor(stateDir, masterKey, previous = '') {
    this.file = path.join(stateDir, 'demo.json')
    this.stateDir = stateDir
    const fingerprint = fingerprintOf(masterKey)
    this.known = existsSync(this.file)
      ? JSON.parse(readFileSync(this.file, 'utf8'))
      : {
          master_key: fingerprint,
          login: { email: 'demo@example.com', password: newPassword() },
          platform_admin: { email: 'admin@example.com', password: newPassword() },
        }
    const openable = previous.split(',').map((key) => fingerprintOf(key.trim()))
    if (openable.includes(this.known.master_key)) this.known.master_key = fingerprint
    if (this.known.master_key !== fingerprint)
      throw new Error(
        `The data in ${stateDir} was made under another MASTER_KEY than the one in .dev.vars, and its secrets can't be\n` +
          `opened. Name the old key in MASTER_KEY_PREVIOUS, or begin anew: rm -rf ${stateDir}`,
      )
  }

  /** Runs `make` unless an earlier start did, and remembers what it answers. */
  async once(name, make) {
    if (this.known[name] !== undefined) return this.known[name]
    this.save()
    this.known[name] = await make()
    this.save()
    return this.known[name]
  }

  save() {
    mkdirSync(this.stateDir, { recursive: true })
    // A rename is whole or not at all.
    writeFileSync(`${this.file}.new`, `${JSON.stringify(this.known, null, 2)}\n`, { mode: 0o600 })
    renameSync(`${this.file}.new`, this.file)
  }
}

const fingerprintOf = (masterKey) => createHash('sha256').update(masterKey).digest('hex').slice(0, 16)

const newPassword = () => randomBytes(12).toString('base64url')

/** Makes the demo tenant through the API like anybody else: tenant, API key, an echo agent and a chat with it. */
export async function seed(url, demo) {
  const { email, password } = demo.known.login
  await demo.once('tenant', async () => {
    const body = { name: 'Demo', slug: 'demo', email, password, full_name: 'Demo User' }
    const answer = await call(url, 'POST', '/api/v1/tenants/onboarding/public', { body })
    // A start that was cut off right here made it already; its login is the one that was saved before.
    return answer.error?.code === 'slug_taken' ? true : Boolean(data(answer))
  })
  const wanted = ['settings', 'api_key', 'agent_id', 'chat_id']
  if (wanted.every((name) => demo.known[name] !== undefined)) return
  const { access_token: token } = data(
    await call(url, 'POST', '/api/v1/auth/login', { body: { email, password } }),
  )
  const as = (method, route, body) => call(url, method, route, { token, body }).then(data)
  await demo.once('settings', async () => {
    await as('PATCH', '/api/v1/tenants/current', { settings: { open_registration: true } })
    return true
  })
  await demo.once('api_key', async () => (await as('POST', '/api/v1/auth/api-keys', { name: 'Demo' })).key)
  await demo.once('agent_id', async () => {
    const agent = { name: 'Echo', kind: 'echo', description: 'Answers with your own words' }
    return (await as('POST', '/api/v1/agents', agent)).id
  })
  await demo.once('chat_id', async () => {
    const chat = { agent_id: demo.known.agent_id, title: 'A first chat' }
    return (await as('POST', '/api/v1/chats', chat)).id
  })
}

async function call(url, method, route, { token, body }) {
  const answer = await fetch(url + route, {
    method,
    headers: { 'Content-Type': 'application/json', ...(token ? { Authorization: `Bearer ${token}` } : {}) },
    body: JSON.stringify(body),
  })
  return { route: `${method} ${route}`, status: answer.status, ...(await answer.json()) }
}

function data(answer) {
  if (answer.error)
    throw new Error(`${answer.route} answers ${answer.status}: ${JSON.stringify(answer.error)}`)
  return answer.data
}

/** Three lines that work as they are when they are pasted into a shell. */
export function curlLines(url, { api_key: key, chat_id: chat }) {
  const json = `-H 'X-API-Key: ${key}' -H 'Content-Type: application/json'`
  return [
    `curl -s ${url}/api/v1/auth/me -H 'X-API-Key: ${key}'`,
    `curl -s ${url}/api/v1/interactions ${json} -d '{"text":"Hello from curl"}'`,
    `curl -sN ${url}/api/v1/chats/${chat}/messages ${json} -d '{"content":"Say it back, word by word"}'`,
  ]
}

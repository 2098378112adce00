// What is deployed is not quite src: the document is a file, and what only it was made from is gone. All else must hold.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { documentOf } from '../../scripts/lib/document.mjs'
import { strip } from '../../scripts/lib/strip.mjs'
import { pdfOf } from '../knowledge/pdf.ts'
import { call, must, ROOT, signUp, startService, waitFor } from './harness.mjs'

const SERVER = 'https://server.invalid'

test('the Worker as it is deployed', { timeout: 600_000 }, async (t) => {
  const vars = { DOCS_ENABLED: 'true' }
  const deployed = await startService(t, { vars, environment: 'staging' })
  const source = await startService(t, { vars, source: true })

  await t.test(
    'answers the document that the source makes of itself, with the address it was asked at',
    async () => {
      const text = await (await fetch(`${deployed.url}/openapi.json`)).text()
      assert.ok(!text.includes(SERVER))
      const made = await documentOf(ROOT)
      assert.equal(made.split(SERVER).length, 2)
      assert.equal(text, made.replace(SERVER, deployed.url))
      const own = await (await fetch(`${source.url}/openapi.json`)).text()
      assert.equal(text, own.replace(source.url, deployed.url))
    },
  )

  await t.test('with the same headers', async () => {
    const [one, other] = await Promise.all(
      [deployed, source].map((service) =>
        fetch(`${service.url}/openapi.json`, { headers: { 'If-None-Match': '*' } }),
      ),
    )
    for (const name of ['Content-Type', 'Cache-Control', 'ETag', 'X-Content-Type-Options'])
      assert.equal(one.headers.get(name), other.headers.get(name), name)
    assert.deepEqual([one.status, other.status], [200, 200])
  })

  await t.test('has no code of the document in it', () => {
    const code = readFileSync(path.join(ROOT, 'build/index.js'), 'utf8')
    for (const part of ['x-required-scopes', 'A multi-tenant backend: identity', 'Stable; branch on this.'])
      assert.ok(!code.includes(part), part)
  })

  await t.test('reads a PDF and a page, by modules that it loads when there is one', async () => {
    const { key } = await signUp(deployed)
    const as = { as: key }
    const base = await must(deployed, 'POST', '/api/v1/kb', { ...as, body: { name: 'Help' } })
    const keep = async (filename, content_type, body) => {
      const file = { filename, content_type, size: body.byteLength }
      const { file_id, url } = await must(deployed, 'POST', '/api/v1/files/presign', { ...as, body: file })
      const sent = await fetch(url, { method: 'PUT', headers: { 'Content-Type': content_type }, body })
      assert.equal(sent.status, 200)
      await must(deployed, 'POST', `/api/v1/files/${file_id}/complete`, as)
      return file_id
    }
    const page = '<title>Caf&eacute;</title><p>Open &ndash; all summer</p>'
    const file_ids = [
      await keep('warranty.pdf', 'application/pdf', pdfOf(['Our warranty lasts two years.'])),
      await keep('hours.html', 'text/html', new TextEncoder().encode(page)),
    ]
    const job = await must(deployed, 'POST', `/api/v1/kb/${base.id}/files/ingest`, {
      ...as,
      body: { file_ids },
    })
    const ended = await waitFor(async () => {
      const { status, result } = await must(deployed, 'GET', `/api/v1/jobs/${job.id}`, as)
      return status === 'completed' && result
    }, 30_000)
    assert.deepEqual(ended, { ready: 2, failed: 0, chunks: 2 })
    const { results } = await must(deployed, 'POST', `/api/v1/kb/${base.id}/search`, {
      ...as,
      body: { query: 'summer' },
    })
    assert.deepEqual(
      results.map(({ heading, text }) => [heading, text]),
      [['Café', 'Open – all summer']],
    )
  })

  await t.test('answers requests and refuses them as the source does', async () => {
    const answers = []
    for (const service of [deployed, source]) answers.push(await walk(service))
    assert.ok(answers[0].length > 20)
    assert.deepEqual(answers[0], answers[1])
  })
})

const ID = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g

/** What a service answers to one request of each kind, without what differs from one time to the next. */
async function walk(service) {
  const { token, key } = await signUp(service)
  const said = []
  const ask = async (method, route, options) => {
    const { status, json } = await call(service, method, route, { as: token, ...options })
    said.push(JSON.parse(JSON.stringify({ method, route, status, ...shape(json) }).replace(ID, ':id')))
    return json.data
  }
  await ask('GET', '/api/v1/auth/me')
  await ask('GET', '/api/v1/auth/me', { as: key })
  await ask('GET', '/api/v1/auth/me', { as: 'nobody' })
  await ask('PATCH', '/api/v1/tenants/current', { body: { name: 'Other', settings: { no_such: 1 } } })
  await ask('PATCH', '/api/v1/tenants/current', { body: { name: 'Other' } })
  await ask('PATCH', '/api/v1/tenants/current', { body: { name: 'Late' }, headers: { 'If-Match': '"v1"' } })
  await ask('GET', '/api/v1/webhooks/event-types')
  await ask('GET', '/api/v1/interactions?limit=0')
  await ask('GET', '/api/v1/interactions?colour=red')
  await ask('POST', '/api/v1/interactions', { body: { text: 7, colour: 'red' } })
  const headers = { 'X-Idempotency-Key': 'once' }
  for (let i = 0; i < 2; i++) await ask('POST', '/api/v1/interactions', { body: { text: 'Hello' }, headers })
  await ask('GET', '/api/v1/interactions')
  const endpoint = { url: 'https://example.com/hook', event_types: ['interaction.created'] }
  const { id: hook } = await ask('POST', '/api/v1/webhooks', { body: endpoint })
  await ask('PATCH', `/api/v1/webhooks/${hook}`, { body: { event_types: ['chat.*'] } })
  await ask('DELETE', `/api/v1/webhooks/${hook}`)
  await ask('GET', `/api/v1/webhooks/${hook}`)
  await ask('POST', '/api/v1/webhooks', { body: { url: 'ftp://example.com', event_types: ['no.such'] } })
  const agent = await must(service, 'POST', '/api/v1/agents', {
    as: token,
    body: { name: 'E', kind: 'echo' },
  })
  const chat = await ask('POST', '/api/v1/chats', { body: { agent_id: agent.id } })
  const accepting = { Accept: 'application/json' }
  await ask('POST', `/api/v1/chats/${chat.id}/messages`, { body: { content: 'Hello' }, headers: accepting })
  await ask('GET', `/api/v1/chats/${chat.id}`)
  await ask('PATCH', `/api/v1/chats/${chat.id}/messages`)
  await ask('POST', '/api/v1/auth/mfa/totp')
  await ask('POST', '/api/v1/auth/passkeys/register/options')
  await ask('POST', '/api/v1/auth/issuers', { body: { issuer: 'not a url' } })
  await ask('GET', '/api/v1/usage')
  await ask('GET', '/api/platform/tenants')
  await ask('GET', '/api/v1/no-such')
  return said
}

/** An error's words, or the names in an answer, however deep. */
function shape({ error, ...json }) {
  if (error) return { code: error.code, message: error.message, details: error.details }
  const names = new Set()
  JSON.stringify(json, (name, value) => {
    if (name !== '' && Number.isNaN(Number(name))) names.add(name)
    return value
  })
  return { names: [...names] }
}

test('stripping', async (t) => {
  const source = [
    "import { body, doc, returns } from '../../http/route'",
    "import { index, sqliteTable, text } from 'drizzle-orm/sqlite-core'",
    "const Name = z.string().min(1).meta({ description: 'A name', example: other({ id: 'x' }) }).optional()",
    'const routes = [',
    "  doc('Make it', {",
    '    tag,',
    "    description: 'Words, and words: { }',",
    "    errors: ['not_found'],",
    "    bodyLimit: 7, counts: 'upload',",
    '  }),',
    "  body(Name, { example: { a: 1 }, limit: 3 }), returns(201, Name.meta({ id: 'N' }), { bare: true, description: 'It' }),",
    ']',
    "const table = sqliteTable('t', { id: text() }, (table) => [",
    "  index('by').on(table.id),",
    '])',
    "console.log('last')",
  ].join('\n')
  const text = strip(source, 'some.ts')

  await t.test('takes what only the document and the migrations are made from', () => {
    for (const gone of ['meta', 'description', 'example', 'tag', 'errors', 'Make it', 'index('])
      assert.ok(!text.includes(gone), gone)
  })

  await t.test('leaves all else, on its line', () => {
    const packed = text.replace(/\s+/g, ' ')
    assert.ok(packed.includes("doc('', { bodyLimit: 7, counts: 'upload', })"), packed)
    assert.ok(packed.includes('body(Name, { limit: 3 }), returns(201, Name, { bare: true, }),'), packed)
    assert.ok(packed.includes('const Name = z.string().min(1).optional() const'), packed)
    assert.ok(packed.includes("sqliteTable('t', { id: text() } )"), packed)
    assert.equal(text.split('\n').indexOf("console.log('last')"), 15)
  })

  await t.test('touches only the words of the house', () => {
    const own =
      "const doc = (text) => text\nexport default [doc('stays'), returns(1, 2, { description: 'stays' })]"
    assert.equal(strip(own, 'own.ts'), own)
  })

  await t.test('refuses what would read at run time what it takes', () => {
    const reads = "import { getTableConfig } from 'drizzle-orm/sqlite-core'"
    assert.throws(() => strip(reads, 'reads.ts'), /reads\.ts reads the keys of tables/)
  })
})

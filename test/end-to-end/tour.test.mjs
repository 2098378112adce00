// The README's tour, line by line, as a stranger pastes it into a second terminal.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { freePort, ROOT, startService, waitFor } from './harness.mjs'
import { follow, openShell, shellBlocks } from './shell.mjs'

/** The blocks of the tour, at this service and at ports that are free. */
async function tour(service) {
  const readme = readFileSync(path.join(ROOT, 'README.md'), 'utf8')
  let text = readme.slice(readme.indexOf('## A tour'), readme.indexOf('## Map of the source'))
  text = text.replaceAll('http://localhost:8787', service.url)
  for (const port of ['9000', '9001', '9002', '9003'])
    text = text.replaceAll(new RegExp(`\\b${port}\\b`, 'g'), String(await freePort()))
  return shellBlocks(text)
}

/** The answers among what was printed, which stand one after the other, since curl adds no line end. */
const answers = (output) =>
  [...output.matchAll(/\{"data":.*?"ts":"[^"]+"\}\}/g)].map(([json]) => JSON.parse(json))

/** The events of a printed stream: `{ id, type, data }`. */
function eventsIn(output) {
  return [...output.matchAll(/^id: (\S+)\n(?::.*\n)*data: (.*)$/gm)].map(([, id, data]) => ({
    id,
    ...JSON.parse(data),
  }))
}

const textOf = (events) =>
  events
    .filter(({ type }) => type === 'message')
    .map(({ data }) => data.content)
    .join('')

const seqOf = ({ id }) => Number(id.split('-')[1])

test('the tour of the README', { timeout: 300_000 }, async (t) => {
  const vars = { CALL_PROVIDER: 'simulated', CALL_SIMULATED_SPEED: '5', PAYMENTS: 'simulated' }
  const service = await startService(t, { vars })
  const blocks = await tour(service)
  assert.equal(blocks.length, 7)
  const [signUp, makeKey, receive, lose, ask, watch, campaign] = blocks
  const shell = openShell(t)

  await t.test('1. a tenant signs up, and is known by token and by cookie', async () => {
    const [made, byToken, byCookie] = answers(await follow(shell, signUp))
    assert.equal(made.data.tenant.slug, 'acme')
    assert.equal(byToken.data.email, 'ada@acme.example')
    assert.equal(byToken.data.principal.kind, 'user')
    assert.deepEqual(byCookie.data, byToken.data)
  })

  await t.test('2. an API key stands for its maker', async () => {
    const [me] = answers(await follow(shell, makeKey))
    assert.equal(me.data.email, 'ada@acme.example')
    assert.equal(me.data.principal.kind, 'api_key')
    assert.equal(me.data.principal.name, 'Tour')
  })

  await t.test('3. the receiver prints the event that it verified', async () => {
    const output = await follow(shell, receive)
    assert.match(output, /msg_[\w-]+ \{$/m)
    assert.match(output, /type: 'interaction.created'/)
    assert.match(output, /text: 'Where is my parcel\?'/)
    assert.match(output, /speaker_id: 'caller-17'/)
  })

  await t.test('4. what the receiver missed arrives by itself, and both attempts can be seen', async () => {
    const output = await follow(shell, lose)
    assert.match(output, /text: 'Hello\?'/)
    assert.equal(shell.printed().match(/msg_[\w-]+ \{$/gm).length, 2, 'each event was printed once')
    const { data: delivery } = answers(output).at(-1)
    assert.equal(delivery.status, 'delivered')
    const [first, second, ...more] = delivery.attempts
    assert.equal(more.length, 0)
    assert.equal(first.response_status, null)
    assert.match(first.error, /^network: /)
    assert.equal(second.response_status, 204)
    assert.equal(second.error, null)
    const waited = Date.parse(second.attempted_at) - Date.parse(first.attempted_at)
    assert.ok(waited >= 4_500 && waited < 7_000, `${waited} ms`)
  })

  await t.test('5. agents of every kind stream their answers', async () => {
    const runs = (await follow(shell, ask)).split('retry: 2000').slice(1).map(eventsIn)
    assert.equal(runs.length, 4)
    const [echo, json, n8n, sse] = runs
    assert.equal(textOf(echo), 'Hello, how are you?')
    assert.equal(textOf(json), 'That was message 1 of our chat.')
    assert.match(textOf(n8n), /^Session [0-9a-f]{8} asks: Hello, how are you\?$/)
    assert.equal(textOf(sse), 'You said: Hello, how are you?')
    for (const streamed of [n8n, sse])
      assert.ok(streamed.filter(({ type }) => type === 'message').length >= 5, 'word by word')
    for (const run of runs) {
      assert.equal(run.at(-1).type, 'done')
      assert.equal(run.at(-1).data.message, 'Stream completed')
      assert.equal(run.filter(({ type }) => type === 'done').length, 1)
    }
  })

  await t.test('5. a second reader sees the same, and who was cut off goes on where it was', async () => {
    const answer = 'You said: Tell me everything, and then tell me everything again'
    const output = await follow(shell, watch)
    await waitFor(() => /watching: .*"done"/.test(shell.printed()), 10_000, 'the watcher to print')
    const later = shell.printed().slice(shell.printed().indexOf(output))
    const watched = eventsIn(later.replace(/^(?! {4}watching: ).*\n/gm, '').replaceAll('    watching: ', ''))
    const own = eventsIn(later.replace(/^ {4}watching: .*\n/gm, ''))

    assert.equal(watched[0].type, 'snapshot')
    assert.equal(textOf(watched), answer)
    // What the sender saw before and after the cut: no gap, no repetition, and it was cut in the middle.
    assert.equal(textOf(own), answer)
    const types = (events) => events.filter(({ type }) => /^(status|message|done)$/.test(type))
    assert.deepEqual(types(own), types(watched))
    assert.deepEqual(
      own.map(seqOf),
      [...new Set(own.map(seqOf))].sort((a, b) => a - b),
    )
    const streams = later.split('retry: 2000').map((part) => part.replace(/^ {4}watching: .*\n/gm, ''))
    const [cut, resumed] = streams.map(eventsIn).filter((events) => events.length > 0)
    assert.notEqual(cut.at(-1).type, 'done')
    assert.equal(resumed.at(-1).type, 'done')
  })

  await t.test('6. a campaign calls twenty, and says live how far it is', async () => {
    const output = await follow(shell, campaign)
    assert.match(output, /"lines":20,"created":20,"merged":0,"failed":0/)
    const said = [...output.matchAll(/^(\d+) % (\w+) (\{.*\})$/gm)].map(([, progress, status, counts]) => ({
      ...{ progress: Number(progress), status, contacts: JSON.parse(counts) },
    }))
    assert.ok(said.length >= 3, 'some steps were seen')
    assert.ok(said.some(({ contacts }) => contacts.calling > 0))
    assert.deepEqual(said.at(-1), {
      ...{ progress: 100, status: 'completed' },
      contacts: { total: 20, pending: 0, calling: 0, completed: 20, no_answer: 0, failed: 0 },
    })
    const [call] = answers(output).at(-1).data
    assert.equal(call.status, 'completed')
    assert.ok(call.cost > 0 && call.duration_seconds > 0)
  })

  await t.test('7. the page to read and try is there', async () => {
    const page = await (await fetch(`${service.url}/docs`)).text()
    assert.match(page, /swagger-ui/)
  })
})

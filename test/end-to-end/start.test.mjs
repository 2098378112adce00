// The first thing that a new user does, in a copy of the project that has never run.
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import {
  copyFileSync,
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { test } from 'node:test'
import { Demo } from '../../scripts/lib/demo.mjs'
import { migrateLocally, wrangler } from '../../scripts/lib/wrangler.mjs'
import { freePort, ROOT, temporaryFolder, waitFor } from './harness.mjs'

/** What a clone does not have. */
const NOT_CLONED = ['node_modules', '.git', '.wrangler', '.dev.vars', 'dist', 'coverage', 'public/docs']

function freshCopy(t) {
  const copy = path.join(temporaryFolder(t), 'causeway')
  cpSync(ROOT, copy, {
    recursive: true,
    filter: (source) => !NOT_CLONED.includes(path.relative(ROOT, source)),
  })
  symlinkSync(path.join(ROOT, 'node_modules'), path.join(copy, 'node_modules'))
  return copy
}

/** `npm run dev` as a terminal runs it: a group of its own, which Ctrl-C signals as a whole. */
function npmRunDev(t, cwd, env = {}) {
  // What npm test sets for itself is not what a new user has.
  const { CI: _, STATE_DIR: __, ...clean } = process.env
  const child = spawn('npm', ['run', 'dev'], {
    cwd,
    env: { ...clean, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  let printed = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (chunk) => {
      printed += chunk
    })
  const ended = new Promise((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal)))
  const ctrlC = async () => {
    if (child.exitCode === null && child.signalCode === null) process.kill(-child.pid, 'SIGINT')
    return ended
  }
  t.after(ctrlC)
  const welcomed = async () => {
    await waitFor(() => printed.includes('Ctrl-C stops') || child.exitCode !== null, 60_000, 'the welcome')
    assert.equal(child.exitCode, null, printed)
    return printed
  }
  return { welcomed, ctrlC, ended, printed: () => printed }
}

/** What runs in `folder`, by the working directories in /proc; null where there is no /proc to look into. */
function processesIn(folder) {
  if (!existsSync('/proc/self/cwd')) return null
  return readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readlinkSync(`/proc/${pid}/cwd`) === folder
    } catch {
      return false
    }
  })
}

/** npm ends by the signal that it passed on; nothing went wrong on the way. */
function endsWell(ending, printed) {
  assert.ok(ending === 0 || ending === 'SIGINT', `${ending}\n${printed}`)
  assert.doesNotMatch(printed, /error/i)
}

const curlsIn = (printed) => printed.split('\n').flatMap((line) => /^ {2}(curl .*)$/.exec(line)?.[1] ?? [])
const keyIn = (printed) => /API key\s+(sk_\w+)/.exec(printed)?.[1]

function paste(line) {
  const shell = spawnSync('bash', ['-c', line], { encoding: 'utf8', timeout: 30_000 })
  assert.equal(shell.status, 0, `${line}\n${shell.stderr}`)
  return shell.stdout
}

async function post(url, body) {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  })
  assert.equal(answer.status, 200, await answer.clone().text())
  return (await answer.json()).data
}

test('npm run dev in a fresh clone', { timeout: 600_000 }, async (t) => {
  const copy = freshCopy(t)
  const port = await freePort()
  const url = `http://localhost:${port}`
  let key

  await t.test('prints where it is, whom it made, and lines that work when they are pasted', async (t) => {
    const dev = npmRunDev(t, copy, { PORT: String(port) })
    const printed = await dev.welcomed()
    assert.match(printed, new RegExp(`running at ${url}\n`))
    assert.match(printed, new RegExp(`${url}/docs`))
    key = keyIn(printed)
    assert.ok(key, printed)

    const [me, interaction, message, ...more] = curlsIn(printed)
    assert.equal(more.length, 0)
    assert.equal(JSON.parse(paste(me)).data.email, 'demo@example.com')
    assert.equal(JSON.parse(paste(interaction)).data.text, 'Hello from curl')
    const stream = paste(message)
    assert.match(stream, /^data: \{"type":"message"/m)
    assert.match(stream, /^data: \{"type":"done"/m)

    const [, email, password] = /Demo login\s+(\S+)\s+(\S+)/.exec(printed)
    const login = await post(`${url}/api/v1/auth/login`, { email, password })
    const tenant = await fetch(`${url}/api/v1/tenants/current`, {
      headers: { Authorization: `Bearer ${login.access_token}` },
    })
    assert.equal((await tenant.json()).data.settings.open_registration, true)

    const [, admin, adminPassword] = /Platform admin\s+(\S+)\s+(\S+)/.exec(printed)
    const adminLogin = await post(`${url}/api/v1/auth/login`, { email: admin, password: adminPassword })
    const tenants = await fetch(`${url}/api/platform/tenants`, {
      headers: { Authorization: `Bearer ${adminLogin.access_token}` },
    })
    assert.equal(tenants.status, 200)
    assert.ok((await tenants.json()).data.some((one) => one.slug === 'demo'))

    // 127.0.0.1 is the same service, and the pages are there.
    for (const page of ['/health', '/docs', '/docs/swagger-ui-bundle.js'])
      assert.equal((await fetch(`http://127.0.0.1:${port}${page}`)).status, 200, page)

    // npm, the script, wrangler and the runtime: what the next test looks for can be seen.
    assert.ok((processesIn(copy)?.length ?? 4) >= 4)
    endsWell(await dev.ctrlC(), dev.printed())
  })

  await t.test('Ctrl-C leaves no process and no open port', async () => {
    await waitFor(() => !processesIn(copy)?.length, 5_000, 'the last process to end')
    await assert.rejects(fetch(`http://127.0.0.1:${port}/health`))
  })

  await t.test('keeps secrets to their owner', () => {
    const mode = (file) => (statSync(path.join(copy, file)).mode & 0o777).toString(8)
    assert.equal(mode('.dev.vars'), '600')
    assert.equal(mode('.wrangler/state/demo.json'), '600')
    assert.match(readFileSync(path.join(copy, '.dev.vars'), 'utf8'), /^MASTER_KEY=dev_[\w-]{40,}$/m)
  })

  await t.test('goes on with the same data the next time', async (t) => {
    const dev = npmRunDev(t, copy, { PORT: String(port) })
    const printed = await dev.welcomed()
    assert.equal(keyIn(printed), key)
    const list = await fetch(`${url}/api/v1/interactions`, { headers: { 'X-API-Key': key } })
    const texts = (await list.json()).data.map((interaction) => interaction.text)
    assert.deepEqual(texts, ['Hello from curl'])
    endsWell(await dev.ctrlC(), dev.printed())
  })

  await t.test('says what to do when the port is taken', async (t) => {
    const other = net.createServer().listen(port, '127.0.0.1')
    t.after(() => other.close())
    const dev = npmRunDev(t, copy, { PORT: String(port) })
    assert.equal(await dev.ended, 1)
    assert.match(dev.printed(), new RegExp(`Port ${port} is in use.*PORT=${port + 1} npm run dev`))
  })

  await t.test('refuses data that another MASTER_KEY sealed', async (t) => {
    const vars = path.join(copy, '.dev.vars')
    spawnSync('sed', [
      '-i',
      's/^MASTER_KEY=.*/MASTER_KEY=dev_another_key_of_more_than_thirty_two_chars/',
      vars,
    ])
    const dev = npmRunDev(t, copy, { PORT: String(port) })
    assert.equal(await dev.ended, 1)
    assert.match(dev.printed(), /another MASTER_KEY/)
  })
})

test('npm run dev without npm ci says so', { timeout: 60_000 }, async (t) => {
  const copy = freshCopy(t)
  rmSync(path.join(copy, 'node_modules'))
  const dev = npmRunDev(t, copy)
  assert.equal(await dev.ended, 1)
  assert.match(dev.printed(), /not installed yet: npm ci\n/)
})

test('a database of an older version is brought up to this one, as wrangler would', (t) => {
  const folder = temporaryFolder(t)
  const stateDir = path.join(folder, 'state')
  const migrations = path.join(ROOT, 'migrations')
  const older = readdirSync(migrations)
    .filter((name) => name.endsWith('.sql'))
    .sort()
    .slice(0, -5)
  for (const name of older) copyFileSync(path.join(migrations, name), path.join(folder, name))
  const missing = () => {
    const printed = wrangler(['d1', 'migrations', 'list', 'DB', '--local', '--persist-to', stateDir])
    return [...printed.matchAll(/\w+\.sql/g)].length
  }
  migrateLocally(stateDir, folder)
  assert.equal(missing(), 5)
  migrateLocally(stateDir)
  assert.equal(missing(), 0)
  migrateLocally(stateDir)
  assert.equal(missing(), 0)
})

test('.dev.vars.example explains every setting of the service', () => {
  const schema = readFileSync(path.join(ROOT, 'src/env.ts'), 'utf8')
  const settings = [...schema.matchAll(/^ {4}([A-Z][A-Z_]+): /gm)].map(([, name]) => name)
  assert.ok(settings.includes('MASTER_KEY'))
  const example = readFileSync(path.join(ROOT, '.dev.vars.example'), 'utf8')
  // A line of its own, under a comment.
  const explained = settings.filter((name) => new RegExp(`^# .+\n(?:# )?${name}=`, 'm').test(example))
  assert.deepEqual(explained, settings)
})

test('data of npm run dev that another MASTER_KEY made goes on where that one is named', (t) => {
  const stateDir = temporaryFolder(t)
  new Demo(stateDir, 'the old key').save()
  assert.throws(() => new Demo(stateDir, 'the new key'), /another MASTER_KEY/)
  assert.throws(() => new Demo(stateDir, 'the new key', 'a third key'), /another MASTER_KEY/)
  new Demo(stateDir, 'the new key', 'a third key, the old key').save()
  // Sealed anew by then (docs/operations.md).
  assert.doesNotThrow(() => new Demo(stateDir, 'the new key'))
})

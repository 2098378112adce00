import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

export const ROOT = path.resolve(import.meta.dirname, '../..')
const WRANGLER = path.join(ROOT, 'node_modules/wrangler/bin/wrangler.js')

/** No prompt, no telemetry, no update check, and no look-up of a sample request's geography. */
const QUIET = {
  CI: '1',
  CLOUDFLARE_CF_FETCH_ENABLED: 'false',
  WRANGLER_SEND_METRICS: 'false',
  WRANGLER_HIDE_BANNER: 'true',
}

/** Throws what to do where the packages are missing, or the Node that came with them is not the one that runs. */
export function requireInstalled() {
  if (!existsSync(WRANGLER)) throw new Error('The packages are not installed yet: npm ci')
  if (Number(process.versions.node.split('.')[0]) < 22)
    throw new Error(`Node ${process.versions.node} is too old; npm run … takes the one that npm ci installed`)
}

/**
 * Runs wrangler to its end and answers its output; throws with that output when it fails. A local database that the
 * running service is writing to at this moment (SQLITE_BUSY) took nothing: such a command is run again.
 */
export function wrangler(args, { input = '' } = {}) {
  for (let attempt = 1; ; attempt++) {
    const done = spawnSync(process.execPath, [WRANGLER, ...args], {
      cwd: ROOT,
      env: { ...process.env, ...QUIET },
      encoding: 'utf8',
      input,
      maxBuffer: 64 * 1024 * 1024,
    })
    if (done.status === 0) return done.stdout
    const output = done.stdout + done.stderr
    if (!output.includes('SQLITE_BUSY') || attempt === 10)
      throw new Error(`wrangler ${args.slice(0, 3).join(' ')} failed:\n${output}`)
  }
}

/** As `wrangler d1 migrations apply` makes it, which finds there what it need not apply. */
const APPLIED = `CREATE TABLE IF NOT EXISTS d1_migrations(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT UNIQUE,
  applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL
);`

/**
 * Brings the local database in `stateDir` up to the newest migration in `folder`, in one transaction. `wrangler d1
 * migrations apply` starts a runtime for each migration: half a minute for a new database, where this takes two seconds.
 */
export function migrateLocally(stateDir, folder = path.join(ROOT, 'migrations')) {
  const execute = (...args) =>
    wrangler(['d1', 'execute', 'DB', '--local', '--persist-to', stateDir, '--json', ...args])
  const applied = new Set()
  if (existsSync(path.join(stateDir, 'v3/d1'))) {
    const [, { results }] = JSON.parse(execute('--command', `${APPLIED} SELECT name FROM d1_migrations`))
    for (const { name } of results) applied.add(name)
  }
  const missing = readdirSync(folder)
    .filter((name) => name.endsWith('.sql') && !applied.has(name))
    .sort()
  if (missing.length === 0) return
  const statements = missing.map(
    (name) =>
      `${readFileSync(path.join(folder, name), 'utf8')}\nINSERT INTO d1_migrations (name) VALUES ('${name}');\n`,
  )
  const temporary = mkdtempSync(path.join(tmpdir(), 'causeway-'))
  try {
    const file = path.join(temporary, 'migrations.sql')
    writeFileSync(file, `${APPLIED}\n${statements.join('')}`)
    execute('--file', file)
  } finally {
    rmSync(temporary, { recursive: true, force: true })
  }
}

/**
 * Starts `wrangler dev`; SIGTERM to the child stops it with everything it started. Where `envFile` is given, its
 * settings hold instead of those in .dev.vars. `script` runs instead of src, or what would be
 * deployed to `environment`.
 */
export function startWorker({ port, stateDir, vars = {}, envFile, script, environment, detached = false }) {
  const settings = Object.entries(vars).map(([name, value]) => `${name}:${value}`)
  const args = [
    ...[
      'dev',
      ...(script ? [script] : []),
      '--ip',
      '127.0.0.1',
      '--port',
      String(port),
      '--inspector-port',
      '0',
    ],
    ...['--persist-to', stateDir, '--show-interactive-dev-session=false'],
    ...(settings.length > 0 ? ['--var', ...settings] : []),
    ...(envFile ? ['--env-file', envFile] : []),
    ...(environment ? ['--env', environment] : []),
  ]
  return spawn(process.execPath, [WRANGLER, ...args], {
    cwd: ROOT,
    env: { ...process.env, ...QUIET },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached,
  })
}

/** Waits until `url` answers 200; throws when the child ends first or `patience` milliseconds pass. */
export async function untilHealthy(url, child, patience = 60_000) {
  const deadline = Date.now() + patience
  while (Date.now() < deadline) {
    if (child.exitCode !== null || child.signalCode !== null)
      throw new Error('wrangler dev ended before it was ready')
    const answer = await fetch(`${url}/health`, { signal: AbortSignal.timeout(5000) }).catch(() => null)
    if (answer?.status === 200) return
    if (answer?.status === 500) throw new Error(`${url}/health answers: ${await answer.text()}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`${url}/health did not answer within ${patience} ms`)
}

// Setting up and deploying, as far as it can be seen without an account.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { unstable_readConfig } from 'wrangler'
import { deployment, setUp } from '../../scripts/lib/cloudflare.mjs'
import { wrangler } from '../../scripts/lib/wrangler.mjs'
import { ROOT, temporaryFolder } from './harness.mjs'

const TOML = readFileSync(path.join(ROOT, 'wrangler.toml'), 'utf8')

/** An account that remembers what is made in it, behind wrangler's commands. */
function account() {
  const things = new Set()
  const places = new Map()
  const secrets = {}
  const commands = []
  const run = (args, { input } = {}) => {
    commands.push(args.join(' '))
    const [product, ...rest] = args
    const id = (name) => `${product}:${name}`
    const listed = () =>
      [...things].filter((thing) => thing.startsWith(`${product}:`)).map((thing) => thing.slice(3))
    if (product === 'd1' && rest[0] === 'list')
      return JSON.stringify(
        listed().map((name) => ({ name, uuid: `uuid-of-${name}`, jurisdiction: places.get(name) ?? null })),
      )
    if (product === 'kv' && rest[1] === 'list')
      return JSON.stringify(listed().map((title) => ({ title, id: `id-of-${title}` })))
    if (product === 'secret' && rest[0] === 'list') {
      if (Object.keys(secrets).length === 0)
        throw new Error('This Worker does not exist on your account. [code: 10007]')
      return JSON.stringify(Object.keys(secrets).map((name) => ({ name })))
    }
    if (product === 'secret') secrets[rest[1]] = input
    else if (rest.includes('create')) {
      things.add(id(args.at(-1)))
      const place = args.indexOf('--jurisdiction')
      if (product === 'd1' && place > 0) places.set(args.at(-1), args[place + 1])
    } else if (!things.has(id(args.at(-1)))) throw new Error(`there is no ${args.at(-1)}`)
    return ''
  }
  return { things, secrets, commands, run }
}

test('setup:cloudflare', async (t) => {
  const cloud = account()
  const said = []
  const set = (toml, overrides = {}) =>
    setUp({
      environment: 'production',
      publicUrl: 'https://api.example.com',
      toml,
      run: cloud.run,
      say: (line) => said.push(line),
      ...overrides,
    })
  const written = set(TOML)

  await t.test('makes what the environment binds, and nothing else', () => {
    assert.deepEqual([...cloud.things].sort(), [
      'd1:causeway-production',
      'kv:causeway-production',
      'queues:causeway-production-events',
      'queues:causeway-production-events-dead',
      'r2:causeway-production-files',
    ])
  })

  await t.test('writes the ids and the address, and touches no other environment', () => {
    const changed = written.split('\n').filter((line, i) => line !== TOML.split('\n')[i])
    assert.deepEqual(changed, [
      'PUBLIC_URL = "https://api.example.com"',
      'database_id = "uuid-of-causeway-production"',
      'id = "id-of-causeway-production"',
    ])
    assert.ok(written.indexOf('[env.production.vars]') < written.indexOf('https://api.example.com'))
  })

  await t.test('sets a strong MASTER_KEY, never on a command line', () => {
    assert.ok(cloud.secrets.MASTER_KEY.length >= 48)
    assert.ok(cloud.commands.every((command) => !command.includes(cloud.secrets.MASTER_KEY)))
    assert.equal(said.filter((line) => line.includes(cloud.secrets.MASTER_KEY)).length, 1)
  })

  await t.test('changes nothing when it is done again', () => {
    const key = cloud.secrets.MASTER_KEY
    const made = cloud.commands.filter((command) => /create|put/.test(command)).length
    assert.equal(set(written), written)
    assert.equal(cloud.commands.filter((command) => /create|put/.test(command)).length, made)
    assert.equal(cloud.secrets.MASTER_KEY, key)
  })

  await t.test('makes database and bucket in the jurisdiction that the bucket is to be in', () => {
    const european = account()
    const bucket = 'bucket_name = "causeway-production-files"'
    const toml = TOML.replace(bucket, `${bucket}\njurisdiction = "eu"`)
    const done = set(toml, { run: european.run })
    const made = european.commands.filter((command) => command.includes('--jurisdiction'))
    assert.deepEqual(made, [
      'd1 create --jurisdiction eu causeway-production',
      'r2 bucket info --jurisdiction eu causeway-production-files',
      'r2 bucket create --jurisdiction eu causeway-production-files',
    ])
    assert.match(done, /causeway-production-files"\njurisdiction = "eu"/)
    assert.deepEqual(european.things, cloud.things)
    assert.ok(!cloud.commands.some((command) => command.includes('--jurisdiction')))
  })

  await t.test('promises tenants no jurisdiction that bucket and database are not in', () => {
    const promise = (toml, place) =>
      toml.replace('[env.production.vars]\n', `[env.production.vars]\nDATA_JURISDICTION = ${place}\n`)
    const bucket = 'bucket_name = "causeway-production-files"'
    const within = (line) => TOML.replace(bucket, `${bucket}\n${line}`)
    const untouched = account()
    const refused = /DATA_JURISDICTION of production is "eu": its bucket needs jurisdiction = "eu"/
    assert.throws(() => set(promise(TOML, '"eu"'), { run: untouched.run }), refused)
    assert.throws(
      () => set(promise(within('jurisdiction = "fedramp"'), '"eu"'), { run: untouched.run }),
      refused,
    )
    assert.throws(() => deployment(promise(written, '"eu"'), 'production'), refused)
    assert.deepEqual(untouched.commands, [])
    assert.equal(set(promise(TOML, '""'), { run: account().run }).includes('uuid-of-'), true)

    const european = promise(within("jurisdiction='eu' # Frankfurt or near"), '"eu"')
    const made = account()
    const done = set(european, { run: made.run })
    assert.ok(made.commands.includes('d1 create --jurisdiction eu causeway-production'))
    assert.equal(set(done, { run: made.run }), done)
    assert.equal(deployment(done, 'production').length, 2)
    // The one that was made before somebody thought of the jurisdiction.
    assert.throws(
      () => set(european, { run: cloud.run }),
      /the database causeway-production is in no jurisdiction and can't move/,
    )
    assert.throws(() => set(TOML, { run: made.run }), /is in the jurisdiction eu and can't move/)
  })

  await t.test('sets no new key where it could not see whether there is one', () => {
    const flaky = account()
    const run = (args, options) => {
      if (args[0] === 'secret' && args[1] === 'list') throw new Error('fetch failed')
      return flaky.run(args, options)
    }
    assert.throws(() => set(TOML, { run }), /fetch failed/)
    assert.deepEqual(flaky.secrets, {})
  })

  await t.test('takes a key that one brings, and does not repeat it', () => {
    const own = account()
    const lines = []
    const key = 'a-master-key-of-ones-own-0123456789-0123456789'
    setUp({
      environment: 'staging',
      publicUrl: 'https://s.example.com',
      toml: TOML,
      run: own.run,
      say: (line) => lines.push(line),
      masterKey: key,
    })
    assert.equal(own.secrets.MASTER_KEY, key)
    assert.ok(!lines.join('\n').includes(key))
  })

  await t.test('refuses what can be no deployment before it makes anything', () => {
    const made = cloud.commands.length
    assert.throws(() => set(TOML, { environment: 'dev' }), /--env must be one of staging, production/)
    for (const publicUrl of [
      undefined,
      'http://api.example.com',
      'https://api.example.com/',
      'api.example.com',
    ])
      assert.throws(() => set(TOML, { publicUrl }), /--public-url must be like/)
    assert.equal(cloud.commands.length, made)
  })

  await t.test('only then can be deployed: migrations first', () => {
    assert.throws(() => deployment(TOML, 'production'), /production is not set up: npm run setup:cloudflare/)
    assert.throws(() => deployment(written, 'staging'), /staging is not set up/)
    assert.deepEqual(deployment(written, 'production'), [
      ['d1', 'migrations', 'apply', 'DB', '--remote', '--env', 'production'],
      ['deploy', '--env', 'production'],
    ])
  })

  await t.test('shows its commands in a dry run', () => {
    const args = ['scripts/setup-cloudflare.mjs', '--dry-run', '--public-url', 'https://api.example.com']
    const done = spawnSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8' })
    assert.equal(done.status, 0, done.stderr)
    assert.match(done.stdout, /^wrangler d1 create causeway-production$/m)
    assert.equal(readFileSync(path.join(ROOT, 'wrangler.toml'), 'utf8'), TOML)
  })
})

test('every environment binds what dev binds, under names of its own', () => {
  const read = (env) =>
    unstable_readConfig({ config: path.join(ROOT, 'wrangler.toml'), env }, { hideWarnings: true })
  const dev = read(undefined)
  const shape = (config) => ({
    databases: config.d1_databases.map(({ binding, migrations_dir }) => ({ binding, migrations_dir })),
    kv: config.kv_namespaces.map(({ binding }) => binding),
    buckets: config.r2_buckets.map(({ binding }) => binding),
    producers: config.queues.producers.map(({ binding }) => binding),
    consumers: config.queues.consumers.map(({ queue: _, dead_letter_queue, ...rest }) => ({
      ...rest,
      dead: dead_letter_queue !== undefined,
    })),
    objects: config.durable_objects.bindings,
    assets: config.assets,
    triggers: config.triggers,
    flags: [config.compatibility_date, config.compatibility_flags],
    objectMigrations: config.migrations,
  })
  for (const env of ['staging', 'production']) {
    const config = read(env)
    assert.deepEqual(shape(config), shape(dev), env)
    assert.equal(config.vars.ENVIRONMENT, env)
    const names = [
      ...config.d1_databases.map((database) => database.database_name),
      ...config.r2_buckets.map((bucket) => bucket.bucket_name),
      ...config.queues.consumers.map((consumer) => consumer.queue),
    ]
    for (const name of names) assert.match(name, new RegExp(`^causeway-${env}(-|$)`))
  }
})

test('the Worker that would be deployed is at most 550 kB, compressed', (t) => {
  const folder = temporaryFolder(t)
  wrangler(['deploy', '--dry-run', '--env', 'production', '--outdir', folder])
  const scripts = readdirSync(folder).filter((name) => name.endsWith('.js'))
  assert.deepEqual(scripts, ['index.js'])
  // What is read when it is needed, and not at the start.
  assert.deepEqual(readdirSync(path.join(folder, 'lazy')).sort(), ['entities.js', 'pdfjs.js'])
  const size = gzipSync(readFileSync(path.join(folder, 'index.js')), { level: 9 }).byteLength
  t.diagnostic(`${(size / 1000).toFixed(1)} kB gzip`)
  assert.ok(size <= 550_000, `${size} bytes`)
})

test('the Worker starts well within the 400 ms of CPU time that Cloudflare allows', (t) => {
  const file = path.join(temporaryFolder(t), 'start.cpuprofile')
  wrangler(['check', 'startup', '--outfile', file, '--args=--env production'])
  const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(file, 'utf8'))
  const waiting = new Set(
    nodes.filter(({ callFrame }) => /^\((?:idle|root)\)$/.test(callFrame.functionName)).map(({ id }) => id),
  )
  const busy = timeDeltas.reduce((sum, delta, i) => sum + (waiting.has(samples[i]) ? 0 : delta), 0) / 1000
  t.diagnostic(`${busy.toFixed(0)} ms`)
  assert.ok(samples.length > 10)
  assert.ok(busy <= 400, `${busy} ms`)
})

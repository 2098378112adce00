import { randomBytes } from 'node:crypto'

export const ENVIRONMENTS = ['staging', 'production']

/** Ids in wrangler.toml before anything was made. */
const UNSET = /"(?:0{8}-0{4}-0{4}-0{4}-0{12}|0{32})"/

/**
 * Makes what an environment needs and does not have yet, and answers wrangler.toml with the ids and the address in it.
 * `run(args, { input })` runs wrangler and answers its output, or throws. Doing it again changes nothing.
 */
export function setUp({ environment, publicUrl, toml, run, say, masterKey }) {
  if (!ENVIRONMENTS.includes(environment)) throw new Error(`--env must be one of ${ENVIRONMENTS.join(', ')}`)
  if (!/^https:\/\/[^/]+$/.test(publicUrl ?? ''))
    throw new Error('--public-url must be like https://api.example.com')

  const place = jurisdictionOf(toml, environment)
  const there = place ? ['--jurisdiction', place] : []
  const database = ensureListed(run, say, `causeway-${environment}`, {
    list: ['d1', 'list', '--json'],
    create: ['d1', 'create', ...there, `causeway-${environment}`],
    idOf: (row, name) => row.name === name && inPlace(row, place) && row.uuid,
  })
  const namespace = ensureListed(run, say, `causeway-${environment}`, {
    list: ['kv', 'namespace', 'list'],
    create: ['kv', 'namespace', 'create', `causeway-${environment}`],
    idOf: (row, title) => row.title === title && row.id,
  })
  const bucket = `causeway-${environment}-files`
  ensure(run, say, ['r2', 'bucket', 'info', ...there, bucket], ['r2', 'bucket', 'create', ...there, bucket])
  for (const queue of [`causeway-${environment}-events-dead`, `causeway-${environment}-events`])
    ensure(run, say, ['queues', 'info', queue], ['queues', 'create', queue])

  if (!hasSecret(run, environment, 'MASTER_KEY')) {
    const key = masterKey || randomBytes(48).toString('base64url')
    run(['secret', 'put', 'MASTER_KEY', '--env', environment], { input: key })
    say('set the secret MASTER_KEY')
    // Cloudflare never shows it again, and without it no backup of this environment's secrets can be read.
    if (!masterKey) say(`MASTER_KEY, shown only now; keep it where you keep secrets: ${key}`)
  }

  let text = setInTable(toml, `[[env.${environment}.d1_databases]]`, 'database_id', database)
  text = setInTable(text, `[[env.${environment}.kv_namespaces]]`, 'id', namespace)
  return setInTable(text, `[env.${environment}.vars]`, 'PUBLIC_URL', publicUrl)
}

/**
 * The jurisdiction that wrangler.toml names for an environment's bucket, which is the database's as well; throws where
 * DATA_JURISDICTION promises tenants another.
 */
function jurisdictionOf(toml, environment) {
  const place = valueIn(toml, `[[env.${environment}.r2_buckets]]`, 'jurisdiction')
  const promised = valueIn(toml, `[env.${environment}.vars]`, 'DATA_JURISDICTION')
  if (promised && promised !== place)
    throw new Error(
      `DATA_JURISDICTION of ${environment} is "${promised}": its bucket needs jurisdiction = "${promised}" in wrangler.toml`,
    )
  return place
}

/** Throws for a database that was made elsewhere than wrangler.toml says: it can't move. */
function inPlace({ name, jurisdiction }, place) {
  if (jurisdiction !== undefined && (jurisdiction ?? '') !== place)
    throw new Error(
      `the database ${name} is in ${where(jurisdiction)} and can't move; wrangler.toml says ${where(place)} for its bucket`,
    )
  return true
}

const where = (jurisdiction) => (jurisdiction ? `the jurisdiction ${jurisdiction}` : 'no jurisdiction')

function ensureListed(run, say, name, { list, create, idOf }) {
  const find = () => {
    for (const row of JSON.parse(run(list))) if (idOf(row, name)) return idOf(row, name)
    return null
  }
  const existing = find()
  if (existing) return existing
  run(create)
  say(`made ${kindOf(create)} ${name}`)
  const id = find()
  if (!id) throw new Error(`wrangler ${create.join(' ')} made nothing that wrangler ${list.join(' ')} shows`)
  return id
}

function ensure(run, say, look, create) {
  try {
    run(look)
  } catch {
    run(create)
    say(`made ${kindOf(create)} ${create.at(-1)}`)
  }
}

/** What a command makes: the words before `create`. */
const kindOf = (create) => create.slice(0, create.indexOf('create')).join(' ')

function hasSecret(run, environment, name) {
  let answer
  try {
    answer = run(['secret', 'list', '--env', environment])
  } catch (error) {
    // A Worker that was never deployed has no secrets to list (10007: it does not exist). Any other failure must not
    // end in a new key over an old one, under which data is sealed.
    if (/10007|does not exist/.test(error.message)) return false
    throw error
  }
  return JSON.parse(answer).some((secret) => secret.name === name)
}

/** The table under `header`. */
function tableIn(toml, header) {
  const start = toml.indexOf(`${header}\n`)
  if (start < 0) throw new Error(`wrangler.toml has no ${header}`)
  const next = toml.indexOf('\n[', start + header.length)
  return toml.slice(start, next < 0 ? toml.length : next)
}

/** A key's text in the table under `header`, or nothing. */
function valueIn(toml, header, key) {
  const line = new RegExp(`^\\s*${key}\\s*=\\s*["'](\\w*)["']\\s*(?:#.*)?$`, 'm')
  return line.exec(tableIn(toml, header))?.[1] ?? ''
}

/** Sets a key that stands in the table under `header`. */
export function setInTable(toml, header, key, value) {
  const table = tableIn(toml, header)
  const start = toml.indexOf(`${header}\n`)
  const end = start + table.length
  const line = new RegExp(`^${key} = .*$`, 'm')
  if (!line.test(table)) throw new Error(`${header} in wrangler.toml has no ${key}`)
  return (
    toml.slice(0, start) + table.replace(line, () => `${key} = ${JSON.stringify(value)}`) + toml.slice(end)
  )
}

/** The commands that deploy an environment; throws where it was not set up. */
export function deployment(toml, environment) {
  if (!ENVIRONMENTS.includes(environment)) throw new Error(`--env must be one of ${ENVIRONMENTS.join(', ')}`)
  const own = toml.split(/\n(?=\[)/).filter((table) => table.includes(`[env.${environment}.`))
  if (own.length === 0 || own.some((table) => UNSET.test(table) || /^PUBLIC_URL = ""$/m.test(table)))
    throw new Error(
      `${environment} is not set up: npm run setup:cloudflare -- --env ${environment} --public-url https://…`,
    )
  jurisdictionOf(toml, environment)
  return [
    ['d1', 'migrations', 'apply', 'DB', '--remote', '--env', environment],
    ['deploy', '--env', environment],
  ]
}

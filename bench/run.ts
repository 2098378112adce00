import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { type Bundle, bundle, quietWorkerd, ROOT } from './bundle.ts'
import { type Cost, measureCosts } from './costs.ts'
import type { Shot } from './load.ts'
import { record } from './notes.ts'
import { bundleTable, costTable, machine, speedTable, streamTable } from './report.ts'
import { type Comparison, compare, type Pace, type Pair } from './rounds.ts'
import { ORIGIN, portOf, startMeasured, startRecorder } from './runtime.ts'
import { ask, by, type Seeded, saying, seed } from './seed.ts'
import { measureStreams } from './stream.ts'
import type { Plan } from './workers/floor.ts'

// npm run bench [-- --quick | --costs | --only=me,list,streams]

const { values: options } = parseArgs({
  options: { quick: { type: 'boolean' }, costs: { type: 'boolean' }, only: { type: 'string' } },
})
const only = options.only?.split(',')
const wanted = (name: string) => only === undefined || only.includes(name)

const pace: Pace = options.quick
  ? { rounds: 3, milliseconds: 600, warmUp: 800, connections: 16 }
  : { rounds: 9, milliseconds: 1_200, warmUp: 2_000, connections: 16 }
const answers = options.quick ? 5 : 20

const directory = mkdtempSync(path.join(tmpdir(), 'causeway-bench-'))
async function main(): Promise<void> {
  console.log(`${machine()}\n`)
  const state = path.join(directory, 'state')
  const { seeded, plans, costs } = await prepare(state)
  if (options.costs) {
    writeFileSync(path.join(ROOT, 'docs/costs.md'), costsPage(costs))
    console.log(`${costTable(costs)}\n\nwritten to docs/costs.md`)
    return
  }
  const service = bundle('src/index.ts', path.join(directory, 'service'))
  console.log(`${bundleTable(service)}\n`)
  await measure(state, service, seeded, plans)
  console.log(
    `D1 rows (“after” is what the request sets going: fan-out, delivery, the chat’s index)\n\n${costTable(costs)}`,
  )
}

type Prepared = { seeded: Seeded; plans: Record<string, Plan>; costs: Cost[] }

/** Seeds the database and records, from the service itself, what it says to D1. */
async function prepare(state: string): Promise<Prepared> {
  const { file } = bundle('bench/workers/recorder.ts', path.join(directory, 'recorder'))
  const recorder = await startRecorder(state, file)
  try {
    const seeded = await seed(recorder)
    const headers = by(seeded.token)
    const plan = (method: string, route: string, body?: unknown) =>
      record(recorder, async () => {
        // The credential is looked up first, as it is for all but one request in five seconds.
        await ask(recorder, 'GET', '/api/v1/webhooks/event-types', { headers })
        await ask(recorder, 'GET', '/notes')
        await ask(recorder, method, route, { headers, body })
      })
    const plans = {
      me: await plan('GET', ME),
      list: await plan('GET', LIST),
      post: await plan('POST', POST, saying(0)),
    }
    return { seeded, plans, costs: await measureCosts(recorder, seeded) }
  } finally {
    await recorder.dispose()
  }
}

const TYPES = '/api/v1/webhooks/event-types'
const ME = '/api/v1/auth/me'
const LIST = '/api/v1/interactions?limit=20'
const POST = '/api/v1/interactions'

async function measure(
  state: string,
  service: Bundle,
  seeded: Seeded,
  plans: Prepared['plans'],
): Promise<void> {
  const plain = 'bench/workers/wrangler.toml'
  const floor = bundle('bench/workers/floor.ts', path.join(directory, 'floor'), plain)
  const quiet = bundle('bench/workers/quiet.ts', path.join(directory, 'quiet'), plain)
  process.env.MINIFLARE_WORKERD_PATH = quietWorkerd(directory)
  const files = { service: service.file, floor: floor.file, quiet: quiet.file }
  const miniflare = startMeasured(state, files, plans)
  try {
    const ports = { service: await portOf(miniflare, 'service'), floor: await portOf(miniflare, 'floor') }
    const comparisons: Comparison[] = []
    for (const pair of pairs(ports, seeded))
      if (wanted(pair.name.split(' ')[0] ?? '')) comparisons.push(await compare(pair, pace))
    if (comparisons.length > 0) console.log(`${speedTable(comparisons, pace)}\n`)
    if (wanted('streams'))
      console.log(
        `${streamTable(await measureStreams(miniflare, ports, seeded.token, { lanes: 4, answers }))}\n`,
      )
  } finally {
    await miniflare.dispose()
  }
}

function pairs(ports: { service: number; floor: number }, seeded: Seeded): Pair[] {
  const get = (port: number, route: string, headers: Record<string, string> = {}): Shot => ({
    ...{ port, method: 'GET', url: ORIGIN + route, headers, status: 200 },
  })
  const post = (port: number, route: string, headers: Record<string, string> = {}): Shot => ({
    ...get(port, route, { ...headers, 'Content-Type': 'application/json' }),
    ...{ method: 'POST', status: 201, body: JSON.stringify(saying(0)) },
  })
  const hello = { floor: get(ports.floor, '/hello'), floorName: 'GET /hello' }
  const statements = 'the same statements'
  const token = by(seeded.token)
  const { service, floor } = ports
  return [
    { name: 'health', service: get(service, '/health'), ...hello, aim: null },
    { name: 'event-types by token', service: get(service, TYPES, token), ...hello, aim: 0.6 },
    {
      name: 'event-types by API key',
      service: get(service, TYPES, { 'X-API-Key': seeded.key }),
      ...hello,
      aim: 0.6,
    },
    {
      name: 'me',
      service: get(service, ME, token),
      floor: get(floor, '/plans/me'),
      floorName: statements,
      aim: 0.75,
    },
    {
      name: 'list of 20',
      service: get(service, LIST, token),
      floor: get(floor, '/plans/list'),
      floorName: statements,
      aim: 0.75,
    },
    {
      name: 'post',
      service: post(service, POST, token),
      floor: post(floor, '/plans/post'),
      floorName: statements,
      aim: 0.75,
    },
  ]
}

function costsPage(costs: Cost[]): string {
  return `# What a request costs in D1

D1 bills rows read and rows written; an index entry is a row written too. These are the figures of D1's own \`meta\`
for one request of each kind, as the service is now. \`npm run bench -- --costs\` measures them anew and writes this page.

“After” is what a request sets going once it is answered: the fan-out of its event, a delivery, the index of a chat.
A credential is looked up once in five seconds and isolate; the lines below a look-up do not count it again.

${costTable(costs)}
`
}

try {
  await main()
} finally {
  rmSync(directory, { recursive: true, force: true })
}

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import type { Outcome } from '../test/metering/accuracy.ts'
import { type Bundle, bundle, bundleUncounted, quietWorkerd, ROOT } from './bundle.ts'
import { campaignLine, measureCampaign } from './campaigns.ts'
import { type Cost, measureCosts } from './costs.ts'
import { itemsLine, measureItems } from './items.ts'
import { knowledgeLines, measureKnowledge } from './knowledge.ts'
import { measureAccuracy, measureBursts, missed } from './limits.ts'
import { record } from './notes.ts'
import { measureRecommendations, recommendationsLines } from './recommendations.ts'
import {
  bundleTable,
  costTable,
  limitsTable,
  machine,
  rowTable,
  speedTable,
  streamTable,
  usageLine,
} from './report.ts'
import { type Comparison, compare, type Pace, type Pair } from './rounds.ts'
import { growing, LARGE, MAY_GROW, measureRows, OTHERS, type RowCount, refused, SMALL } from './rows.ts'
import { REFUSED } from './rows-states.ts'
import { EVERYTHING, ORIGIN, portOf, startMeasured, startRecorder } from './runtime.ts'
import { type Asked, ask, by, type Seeded, saying, seed } from './seed.ts'
import { measureStreams } from './stream.ts'
import { countUsage } from './usage.ts'
import type { Plan, Recorded } from './workers/floor.ts'

// npm run bench [-- --quick | --costs | --rows | --only=one,list,streams,items]

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean' },
    costs: { type: 'boolean' },
    rows: { type: 'boolean' },
    only: { type: 'string' },
  },
})
const only = options.only?.split(',')
const wanted = (name: string) => only === undefined || only.includes(name)

const pace: Pace = options.quick
  ? { rounds: 3, milliseconds: 400, warmUp: 500, connections: 16 }
  : { rounds: 9, milliseconds: 1_000, warmUp: 1_500, connections: 16 }
const answers = options.quick ? 5 : 20

const directory = mkdtempSync(path.join(tmpdir(), 'causeway-bench-'))
/** What is measured is not as it must be. */
function fail(words: string): void {
  console.error(words)
  process.exitCode = 1
}

async function main(): Promise<void> {
  console.log(`${machine()}\n`)
  const state = path.join(directory, 'state')
  if (options.rows) return printRows(state)
  if (only?.includes('recommendations')) {
    console.log(
      `${recommendationsLines(await measureRecommendations(directory, options.quick ? 300 : 1_000))}\n`,
    )
    if (only.length === 1) return
  }
  if (only?.includes('knowledge')) {
    console.log(`${knowledgeLines(await measureKnowledge(directory, options.quick ? 300 : 1_000))}\n`)
    if (only.length === 1) return
  }
  const { seeded, recorded, costs } = await prepare(state)
  if (options.costs) {
    const page = path.join(ROOT, 'docs/costs.md')
    const [, rows] = readFileSync(page, 'utf8').split(ROWS_HEADING)
    writeFileSync(page, costsPage(costs) + (rows === undefined ? '' : `\n${ROWS_HEADING}${rows}`))
    console.log(`${costTable(costs)}\n\nwritten to docs/costs.md`)
    return
  }
  const service = bundle(null, path.join(directory, 'service'))
  console.log(`${bundleTable(service)}\n`)
  await measure(state, service, seeded, recorded)
  console.log(
    `D1 rows (“after” is what the request sets going: fan-out, delivery, the chat’s index)\n\n${costTable(costs)}`,
  )
}

/** The rows of every route, for a small tenant and a large one; fails where a route reads more of the large one. */
async function printRows(state: string): Promise<void> {
  const { file } = bundle('bench/workers/recorder.ts', path.join(directory, 'recorder'))
  const recorder = await startRecorder(state, file, EVERYTHING)
  try {
    const counts = await measureRows(recorder)
    const page = path.join(ROOT, 'docs/costs.md')
    const [before = ''] = readFileSync(page, 'utf8').split(ROWS_HEADING)
    writeFileSync(page, `${before.trimEnd()}\n\n${rowsPart(counts)}`)
    console.log(`${rowTable(counts)}\n\nwritten to docs/costs.md`)
    for (const { name, small, large } of growing(counts))
      fail(`${name} reads ${small.read} rows of the small tenant and ${large.read} of the large one`)
    for (const { name, status } of refused(counts))
      fail(`${name} answers ${status.join(' and ')}, and so is not measured`)
  } finally {
    await recorder.dispose()
  }
}

const ROWS_HEADING = '## As a tenant grows'

const rowsPart = (counts: RowCount[]) => `${ROWS_HEADING}

What each route reads and writes for a tenant with ${SMALL} rows in every table and for one with ${LARGE.toLocaleString('en')}, beside
${OTHERS.toLocaleString('en')} other tenants: the same. \`npm run bench -- --rows\` asks every route of the OpenAPI document, lists by each of their filters too,
and fails where one reads more of the larger tenant; it writes this part. Agents, endpoints and issuers are set up by hand,
and are few in both. What a write sets going is counted along, and so is, now and then, a sweep or a seal that happens to
go on at the same time: hence differences of a few rows.

Chats, events, deliveries and jobs are asked by two filters at once, too, by what all rows have and by what none has, 15 a page;
hardly any of the deliveries arrived. Where a list has no index for what it is asked (deliveries by \`delivered\`, or on their way to one
endpoint or of one type; undelivered events by a channel), it looks at five rows for each that it may show, and the page is short.

What a job does (202) is not counted: it looks at each thing that it is for. What is asked for everything reads everything:

${MAY_GROW.map(([, what, why]) => `- \`${what}\`: ${why}`).join('\n')}

What is refused here is not measured:

${REFUSED.map(([, what, why]) => `- \`${what}\`: ${why}`).join('\n')}

${rowTable(counts)}
`

type Prepared = {
  seeded: Seeded
  /** What the floor is given of the service: its statements, and one of its answers. */
  recorded: { PLANS: Record<string, Plan>; ANSWER: Recorded }
  costs: Cost[]
}

/** Seeds the database and records, from the service itself, what it says to D1. */
async function prepare(state: string): Promise<Prepared> {
  const { file } = bundle('bench/workers/recorder.ts', path.join(directory, 'recorder'))
  const recorder = await startRecorder(state, file)
  try {
    const seeded = await seed(recorder)
    const headers = by(seeded.token)
    const plan = (method: string, route: string, body?: unknown) =>
      record(recorder, async () => {
        // The credential is looked up first, as it is for all but an isolate's first request.
        await ask(recorder, 'GET', '/api/v1/webhooks/event-types?built_in=true', { headers })
        await ask(recorder, 'GET', '/notes')
        await ask(recorder, method, route, { headers, body })
      })
    // A type that an isolate has seen, it knows.
    await ask(recorder, 'POST', EVENTS, { headers, body: EVENT })
    const PLANS = {
      me: await plan('GET', ME),
      one: await plan('GET', one(seeded)),
      list: await plan('GET', LIST),
      post: await plan('POST', POST, saying(0)),
      accept: await plan('POST', EVENTS, EVENT),
    }
    const ANSWER = answerOf(await ask(recorder, 'GET', TYPES, { headers }))
    return { seeded, recorded: { PLANS, ANSWER }, costs: await measureCosts(recorder, seeded) }
  } finally {
    await recorder.dispose()
  }
}

/** What the floor does not repeat of an answer: what the runtime adds by itself. */
const ADDED = new Set(['transfer-encoding', 'content-length', 'mf-content-encoding'])

function answerOf({ headers, text }: Asked): Recorded {
  const [request_id, trace_id] = [headers['x-request-id'], headers['x-trace-id']]
  const ids = { request_id, correlation_id: request_id, trace_id, tenant_id: request_id }
  const about = { endpoint: TYPES, method: 'GET', status_code: 200, duration_ms: 0 }
  const logged = { level: 'info', message: 'request_processed', ...ids, ...about }
  return { headers: Object.entries(headers).filter(([name]) => !ADDED.has(name)), body: text, logged }
}

const ME = '/api/v1/auth/me'
const TYPE_LIST = '/api/v1/webhooks/event-types'
const TYPES = `${TYPE_LIST}?built_in=true`
const one = ({ interactionId }: Seeded) => `/api/v1/interactions/${interactionId}`
const LIST = '/api/v1/interactions?limit=20'
const POST = '/api/v1/interactions'
const EVENTS = '/api/v1/events'
const EVENT = {
  type: 'order.shipped',
  data: { order_id: 'A-1001', lines: [{ sku: 'LAMP-01', quantity: 1 }] },
}

async function measure(
  state: string,
  service: Bundle,
  seeded: Seeded,
  recorded: Prepared['recorded'],
): Promise<void> {
  const plain = 'bench/workers/wrangler.toml'
  const floor = bundle('bench/workers/floor.ts', path.join(directory, 'floor'), plain)
  const quiet = bundle('bench/workers/quiet.ts', path.join(directory, 'quiet'), plain)
  process.env.MINIFLARE_WORKERD_PATH = quietWorkerd(directory)
  const limitsWorker = bundle('bench/workers/limits.ts', path.join(directory, 'limits'), plain)
  const uncounted = await bundleUncounted(path.join(directory, 'uncounted'))
  const files = {
    ...{ service: service.file, uncounted: uncounted.file },
    ...{ floor: floor.file, quiet: quiet.file, limits: limitsWorker.file },
  }
  const miniflare = startMeasured(state, files, recorded)
  try {
    const ports = {
      service: await portOf(miniflare, 'service'),
      uncounted: await portOf(miniflare, 'uncounted'),
      floor: await portOf(miniflare, 'floor'),
    }
    const limits = await miniflare.getWorker('limits')
    const comparisons: Comparison[] = []
    for (const pair of pairs(ports, seeded))
      if (wanted(pair.name.split(' ')[0] ?? '')) comparisons.push(await compare(pair, pace))
    if (comparisons.length > 0) console.log(`${speedTable(comparisons, pace)}\n`)
    if (wanted('streams'))
      console.log(
        `${streamTable(await measureStreams(miniflare, ports, seeded.token, { lanes: 4, answers }))}\n`,
      )
    if (wanted('limits')) {
      const simulate = async (query: string) =>
        (await (await limits.fetch(`http://limits/?${query}`)).json()) as Outcome
      const bursts = await measureBursts(miniflare, pace.connections)
      const accuracy = await measureAccuracy(simulate)
      console.log(`${limitsTable(bursts, accuracy)}\n`)
      for (const words of missed(bursts, accuracy)) fail(words)
    }
    if (wanted('items'))
      console.log(`${itemsLine(await measureItems(miniflare, seeded, options.quick ? 10_000 : 50_000))}\n`)
    // Takes minutes, since it goes by the clock.
    if (only?.includes('campaigns'))
      console.log(`${campaignLine(await measureCampaign(miniflare, seeded, options.quick ? 2 : 5))}\n`)
    if (wanted('usage')) {
      const run = { requests: 20_000, connections: pace.connections }
      const usage = await countUsage(miniflare, ports.service, seeded, run)
      console.log(`${usageLine(usage)}\n`)
      if (usage.sent !== usage.counted)
        fail(`${usage.sent} requests were sent, and ${usage.counted} are counted`)
    }
  } finally {
    await miniflare.dispose()
  }
}

const FLOORS: Record<string, string> = {
  '/hello': 'GET /hello',
  '/body': 'the same body',
  '/answer': 'the same answer and log line, by rote',
}

/** Each side of a pair is sent the same headers and body. */
function pairs(ports: { service: number; uncounted: number; floor: number }, seeded: Seeded): Pair[] {
  const pair = (name: string, aim: number | null, route: string, floor: string, headers = {}): Pair => {
    const shot = { method: 'GET', headers, status: 200 }
    return {
      ...{ name, aim, floorName: FLOORS[floor] ?? 'the same statements' },
      service: { ...shot, port: ports.service, url: ORIGIN + route },
      floor: { ...shot, port: ports.floor, url: ORIGIN + floor },
    }
  }
  const posting = (sent: object, { service, floor, ...rest }: Pair): Pair => {
    const headers = { ...service.headers, 'Content-Type': 'application/json' }
    const shot = { headers, method: 'POST', status: 201, body: JSON.stringify(sent) }
    return { ...rest, service: { ...service, ...shot }, floor: { ...floor, ...shot } }
  }
  // A tenant may ask this 60 times a minute, so it is the service without limits that is asked.
  const unlimited = ({ name, service, ...rest }: Pair): Pair => ({
    ...{ ...rest, name: `${name} without limits` },
    service: { ...service, port: ports.uncounted },
  })
  const uncounted = ({ floor, ...rest }: Pair): Pair => ({
    ...rest,
    floorName: 'the same without limits, usage and metrics',
    floor: { ...floor, port: ports.uncounted, url: rest.service.url },
  })
  const token = by(seeded.token)
  return [
    pair('health', null, '/health', '/hello'),
    pair('event-types by token', 0.65, TYPES, '/body', token),
    pair('event-types by token', null, TYPES, '/hello', token),
    pair('event-types by token', null, TYPES, '/answer', token),
    uncounted(pair('event-types by token', 0.85, TYPES, '/hello', token)),
    pair('event-types by API key', 0.6, TYPES, '/body', { 'X-API-Key': seeded.key }),
    pair('one type by token', null, `${TYPE_LIST}/interaction.created`, '/hello', token),
    unlimited(pair('me', 0.75, ME, '/plans/me', token)),
    pair('one', 0.75, one(seeded), '/plans/one', token),
    pair('list of 20', 0.75, LIST, '/plans/list', token),
    posting(saying(0), pair('post', 0.75, POST, '/plans/post', token)),
    posting(EVENT, pair('accept an event', 0.75, EVENTS, '/plans/accept', token)),
  ]
}

function costsPage(costs: Cost[]): string {
  return `# What a request costs in D1

D1 bills rows read and rows written; an index entry is a row written too. These are the figures of D1's own \`meta\`
for one request of each kind, as the service is now. \`npm run bench -- --costs\` measures them anew and writes this page.

“After” is what a request sets going once it is answered: the fan-out of its event, a delivery, the index of a chat.
A credential is looked up when an isolate sees it first, an API key again after half an hour; other lines do not count it.

${costTable(costs)}
`
}

try {
  await main()
} finally {
  rmSync(directory, { recursive: true, force: true })
}

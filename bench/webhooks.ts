import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { bundle, quietWorkerd, ROOT } from './bundle.ts'
import { startBullmq } from './peers/bullmq.ts'
import { findPrograms } from './peers/programs.ts'
import { machine } from './report.ts'
import { median } from './rounds.ts'
import { startService } from './runtime.ts'
import { countCalls } from './webhooks/calls.ts'
import { measureHops } from './webhooks/hops.ts'
import { startReceiver } from './webhooks/receiver.ts'
import {
  callTable,
  deadTable,
  hopTable,
  latencyTable,
  limitedTable,
  type Side,
  throughputTable,
  whole,
  writeSpeed,
} from './webhooks/report.ts'
import {
  endpointsOf,
  measureBacklog,
  measureLatency,
  measureThroughput,
  type Stage,
  type Throughput,
} from './webhooks/runs.ts'
import { makeTenant, type Tenant } from './webhooks/tenant.ts'
import { measureDead, measureLimited } from './webhooks/troubles.ts'

// npm run bench:webhooks [-- --quick | --alone | --write | --only=hops,calls,latency,one,ten,backlog,dead,limited,crash]

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean' },
    alone: { type: 'boolean' },
    write: { type: 'boolean' },
    only: { type: 'string' },
  },
})
const only = options.only?.split(',')
const wanted = (...names: string[]) => only === undefined || names.some((name) => only.includes(name))

const pace = options.quick
  ? { rounds: 1, events: 1_000, latency: 5_000, hop: 400, dead: 1, crash: { events: 500, kills: 3 } }
  : { rounds: 3, events: 5_000, latency: 30_000, hop: 1_500, dead: 5, crash: { events: 5_000, kills: 5 } }

/** What goes into docs/webhooks.md. */
const printed: string[] = []

function print(text: string): void {
  console.log(`${text}\n`)
  printed.push(text)
}

const directory = mkdtempSync(path.join(tmpdir(), 'causeway-bench-'))

async function main(): Promise<void> {
  print(machine())
  process.env.MINIFLARE_WORKERD_PATH = quietWorkerd(directory)
  const receiver = await startReceiver()
  try {
    if (wanted('hops'))
      console.log(`${hopTable(await measureHops(directory, `${receiver.url}/hop`, pace.hop))}\n`)
    if (wanted('calls')) print(callTable(await countCalls(directory, receiver, 400)))
    if (wanted('latency', 'one', 'ten', 'backlog', 'dead', 'limited')) await measureService(receiver)
  } finally {
    await receiver.stop()
  }
  if (wanted('crash')) crash()
  if (options.write) writeSpeed(path.join(ROOT, 'docs/webhooks.md'), printed)
}

async function measureService(receiver: Stage['receiver']): Promise<void> {
  const { file } = bundle(null, path.join(directory, 'service'))
  const tenant = await makeTenant(await startService(path.join(directory, 'state'), file))
  try {
    for (const endpoint of endpointsOf(receiver)) await tenant.makeEndpoint(endpoint)
    if (wanted('latency', 'one', 'ten', 'backlog')) await measureSides(receiver, tenant)
    const stage = { sender: tenant, receiver }
    if (wanted('dead')) print(deadTable(await measureDead(stage, pace.dead, 10_000)))
    if (wanted('limited')) print(limitedTable(await measureLimited(stage, 200, pace.events)))
  } finally {
    await tenant.stop()
  }
}

/** The end-to-end test of the same, at its full size: under `wrangler dev`, so that all of it can be killed. */
function crash(): void {
  const { events, kills } = pace.crash
  const sizes = { CRASH_EVENTS: String(events), CRASH_RATE: '200', CRASH_KILLS: String(kills) }
  const file = 'test/end-to-end/webhooks-crash.test.mjs'
  // The benchmark's own workerd is not for wrangler, which takes an empty path for one.
  const { MINIFLARE_WORKERD_PATH: _, ...inherited } = process.env
  const { status, stdout } = spawnSync(process.execPath, ['--test', '--test-reporter=spec', file], {
    cwd: ROOT,
    env: { ...inherited, ...sizes },
    encoding: 'utf8',
  })
  console.log(stdout)
  if (status !== 0) process.exitCode = 1
  const said = [...stdout.matchAll(/^ℹ (\d+ (?:requests|attempts) .*)$/gm)].map(([, line]) => line)
  const outcome = status === 0 ? 'none is missing, and the logs agree' : '**this failed**'
  printed.push(
    `Killed ${kills} times while ${whole(events)} events were accepted: ${outcome}; ${said.join('; ')}.`,
  )
}

/** The service and, where its programs are installed, the sender that it is measured beside. */
async function measureSides(receiver: Stage['receiver'], tenant: Tenant): Promise<void> {
  const programs = options.alone ? { missing: '--alone was asked for' } : findPrograms()
  if ('missing' in programs) {
    print(`Not measured beside BullMQ, Redis and PostgreSQL: ${programs.missing}`)
    await measure([{ sender: tenant, receiver }])
    return
  }
  const bullmq = await startBullmq(programs, directory, endpointsOf(receiver))
  try {
    await measure([tenant, bullmq].map((sender) => ({ sender, receiver })))
  } finally {
    await bullmq.stop()
  }
}

async function measure(stages: Stage[]): Promise<void> {
  const { rounds, events } = pace
  for (const stage of stages) await measureThroughput(stage, { fanOut: 1, events: 500, connections: 16 })
  if (wanted('latency'))
    for (const stage of stages) {
      const { name } = stage.sender
      print(latencyTable(name, await measureLatency(stage, 200, pace.latency, 2_000)))
    }
  const lines: [string, Side[]][] = []
  const line = async (name: string, what: string, run: (stage: Stage) => Promise<Throughput>) => {
    if (wanted(name)) lines.push([what, await byTurns(stages, rounds, run)])
  }
  const options = { events, connections: 16 }
  await line('one', 'one endpoint an event', (stage) => measureThroughput(stage, { ...options, fanOut: 1 }))
  const few = { events: events / 5, connections: 16 }
  await line('ten', 'ten endpoints an event', (stage) => measureThroughput(stage, { ...few, fanOut: 10 }))
  await line('backlog', 'a backlog that is let go', (stage) => measureBacklog(stage, events))
  if (lines.length > 0) print(throughputTable(lines))
  for (const { sender } of stages) await checkLog(sender)
}

/** Each side `rounds` times, by turns, and the one that goes first by turns too; its middle round. */
async function byTurns(
  stages: Stage[],
  rounds: number,
  run: (stage: Stage) => Promise<Throughput>,
): Promise<Side[]> {
  const results = new Map(stages.map((stage): [Stage, Throughput[]] => [stage, []]))
  for (let round = 0; round < rounds; round++)
    for (const stage of round % 2 === 0 ? stages : stages.toReversed())
      results.get(stage)?.push(await run(stage))
  return [...results].map(([{ sender }, all]) => ({
    name: sender.name,
    perSecond: median(all.map(({ deliveries, seconds }) => deliveries / seconds)),
    cpu: median(all.map(({ cpu }) => cpu)),
    deliveries: all.reduce((sum, { deliveries }) => sum + deliveries, 0),
  }))
}

/** A figure is worth nothing where attempts are missing from the log. */
async function checkLog({ name, logged }: Stage['sender']): Promise<void> {
  console.log(`${name}: ${(await logged()).toLocaleString('en')} attempts are logged\n`)
}

try {
  await main()
} finally {
  rmSync(directory, { recursive: true, force: true })
}

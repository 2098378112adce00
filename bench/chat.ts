import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import type { Miniflare } from 'miniflare'
import { bundle, quietWorkerd, ROOT } from './bundle.ts'
import { measureAnswers } from './chat/answer.ts'
import { chatFan, type Fan, type Fanned, measureFan } from './chat/fan.ts'
import { measureIdle } from './chat/idle.ts'
import { measureLate } from './chat/late.ts'
import { measureMany } from './chat/many.ts'
import {
  answerTable,
  fanTable,
  firstTable,
  idleLine,
  lateTable,
  manyTable,
  writeSpeed,
} from './chat/report.ts'
import { type Stage, setStage } from './chat/stage.ts'
import { startNchan } from './peers/nchan.ts'
import { startPushpin } from './peers/pushpin.ts'
import { machine } from './report.ts'
import { portOf, startService } from './runtime.ts'
import { ask, by, seed } from './seed.ts'
import { measureStreams } from './stream.ts'

// npm run bench:chat [-- --quick | --alone | --write | --only=first,answer,chats,fan,late,idle]

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean' },
    alone: { type: 'boolean' },
    write: { type: 'boolean' },
    only: { type: 'string' },
  },
})
const only = options.only?.split(',')
const wanted = (name: string) => only === undefined || only.includes(name)

const PER_SECOND = 20
const pace = options.quick
  ? { answers: 5, lengths: [100, 250], chats: 50, fan: 2_000, rounds: 1, readers: [100, 500], late: 5 }
  : {
      answers: 20,
      lengths: [250, 500, 1_000],
      chats: 200,
      fan: 6_000,
      rounds: 2,
      readers: [500, 2_000],
      late: 20,
    }

/** What goes into docs/chat.md. */
const printed: string[] = []

function print(text: string): void {
  console.log(`${text}\n`)
  printed.push(text)
}

const directory = mkdtempSync(path.join(tmpdir(), 'causeway-bench-'))

async function main(): Promise<void> {
  print(machine())
  process.env.MINIFLARE_WORKERD_PATH = quietWorkerd(directory)
  const floor = bundle('bench/workers/floor.ts', path.join(directory, 'floor'), 'bench/workers/wrangler.toml')
  const service = bundle(null, path.join(directory, 'service'))
  const state = path.join(directory, 'state')
  const miniflare = await startService(state, service.file, floor.file)
  const { token } = await seed(miniflare)
  const headers = { ...by(token), Prefer: 'respond-async' }
  const call = async (method: string, route: string, body?: object) =>
    (await ask(miniflare, method, route, { headers, body })).data
  const port = await portOf(miniflare, 'service')
  const stage = await setStage({ port, token, call }, () => miniflare.dispose())
  try {
    await measure(miniflare, stage, state)
  } finally {
    await stage.stop()
  }
  if (options.write) writeSpeed(path.join(ROOT, 'docs/chat.md'), printed)
}

async function measure(miniflare: Miniflare, stage: Stage, state: string): Promise<void> {
  const floorPort = await portOf(miniflare, 'floor')
  if (wanted('first')) {
    const ports = { service: stage.port, floor: floorPort }
    print(
      firstTable(await measureStreams(miniflare, ports, stage.token, { lanes: 4, answers: pace.answers })),
    )
  }
  if (wanted('answer')) print(answerTable(await measureAnswers(stage, state, pace.lengths, 10)))
  if (wanted('fan')) await measureFans(stage)
  if (wanted('chats')) {
    const order = { chats: pace.chats, perSecond: 10, milliseconds: pace.fan, floorPort }
    print(manyTable(await measureMany(stage, order)))
  }
  if (wanted('late')) print(lateTable(await measureLate(stage, [16, 256, 1_024].map(kibi), pace.late)))
  if (wanted('idle')) print(idleLine(await measureIdle(floorPort, stage, 100)))
}

const kibi = (number: number) => number * 1_024

/** Subscribers of one chat and, by turns, of each of the others that is installed. */
async function measureFans(stage: Stage): Promise<void> {
  const fans: Fan[] = [await chatFan(stage)]
  for (const start of options.alone ? [] : [startNchan, startPushpin]) {
    const fan = await start(directory)
    if ('missing' in fan) print(`Not measured beside it: ${fan.missing}`)
    else fans.push(fan)
  }
  try {
    const sides: Fanned[] = []
    for (const subscribers of pace.readers) {
      const rounds: Fanned[][] = fans.map(() => [])
      const order = { subscribers, perSecond: PER_SECOND, milliseconds: pace.fan }
      for (let round = 0; round < (subscribers === pace.readers[0] ? pace.rounds : 1); round += 1)
        for (const [i, fan] of fans.entries()) rounds[i]?.push(await measureFan(stage.readers, fan, order))
      for (const side of rounds) sides.push(best(side))
    }
    print(fanTable(sides, PER_SECOND))
  } finally {
    for (const fan of fans) await fan.stop()
  }
}

/** The round that the machine disturbed less, with what was lost in all of them. */
function best(rounds: Fanned[]): Fanned {
  const [first, ...rest] = rounds.toSorted((a, b) => a.read.delays.p99 - b.read.delays.p99)
  if (!first) throw new Error('nothing was measured')
  for (const { read } of rest) {
    first.read.lost += read.lost
    first.read.wrong += read.wrong
    first.read.resets += read.resets
  }
  return first
}

try {
  await main()
} finally {
  rmSync(directory, { recursive: true, force: true })
}

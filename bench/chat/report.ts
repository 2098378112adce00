import { readFileSync, writeFileSync } from 'node:fs'
import { table } from '../report.ts'
import type { StreamResult } from '../stream.ts'
import type { Answer } from './answer.ts'
import type { Fanned } from './fan.ts'
import type { Idle } from './idle.ts'
import type { Late } from './late.ts'
import type { Many } from './many.ts'

/** Where nothing came there is no delay; between processes that is null. */
const ms = (value: number | null) => (value !== null && Number.isFinite(value) ? value.toFixed(1) : '–')
const whole = (value: number) => Math.round(value).toLocaleString('en')
const kB = (bytes: number) => (bytes / 1024).toFixed(1)

/** How much later than the floor’s the first word of an answer comes, and the words after it. */
export function firstTable({ first, token, answers }: StreamResult): string {
  const rows = ([first, token] as const).flatMap((of, i) =>
    (['sender', 'watcher', 'floor'] as const).map((side) => {
      const what = `${i === 0 ? 'first word' : 'later words'}, ${WHO[side]}`
      const added =
        side === 'floor' ? ['', ''] : [of[side].p50 - of.floor.p50, of[side].p99 - of.floor.p99].map(ms)
      const bound = i === 0 && side === 'sender' ? 'p50 ≤ 3, p99 ≤ 10' : ''
      return [what, ms(of[side].p50), ms(of[side].p99), ...added, bound]
    }),
  )
  const heads = ['from the agent’s write to the read', 'p50 ms', 'p99 ms', 'p50 added', 'p99 added', 'bound']
  return `${table(heads, rows)}\n\n${answers} answers of four chats at a time, a word every 80 ms.`
}

const WHO = {
  sender: 'to its sender',
  watcher: 'to one who follows the chat',
  floor: 'the same agent through a bare Worker',
}

/** Many subscribers of one chat, beside others. */
export function fanTable(sides: Fanned[], perSecond: number): string {
  const rows = sides.map(({ name, subscribers, read, cpu, memory }) => {
    const nchan = sides.find((side) => side.subscribers === subscribers && side.name.includes('nchan'))
    const ratio = nchan && read.came > 0 ? (read.delays.p99 / nchan.read.delays.p99).toFixed(2) : ''
    const lost = read.lost + read.wrong + read.resets
    return [
      ...[
        whole(subscribers),
        name,
        whole(lost),
        ms(read.delays.p50),
        ms(read.delays.p99),
        ms(read.delays.most),
      ],
      ...[ratio, ms(cpu), whole(memory), name === 'Causeway' ? bound(subscribers) : ''],
    ]
  })
  const heads = [
    ...['subscribers', 'by', 'lost', 'p50 ms', 'p99 ms', 'longest ms', 'p99, of nchan’s'],
    ...['CPU µs an event', 'kB each', 'bound'],
  ]
  return `${table(heads, rows, 2)}\n\n${perSecond} events a second to each.`
}

const bound = (subscribers: number) => (subscribers <= 500 ? 'lost 0, ratio ≤ 4 (aim: 2)' : 'lost 0')

export function answerTable(answers: Answer[]): string {
  const rows = answers.map(({ tokens, frames, bytes, rows: written }) => [
    ...[whole(tokens), whole(frames), whole(bytes), (bytes / tokens).toFixed(1), whole(written)],
    tokens === 1_000 ? '≤ 210 frames, ≤ 45 rows' : '',
  ])
  const heads = ['tokens, 100 a second', 'frames', 'bytes', 'bytes a token', 'rows of the log', 'bound']
  return table(heads, rows, 0)
}

export function manyTable(sides: Many[]): string {
  const rows = sides.map(({ name, chats, perSecond, read, cpu }) => [
    ...[`${chats} by ${name}, ${perSecond} words a second each`, whole(read.lost + read.wrong)],
    ...[ms(read.first.p50), ms(read.first.p99), ms(read.delays.p50), ms(read.delays.p99), ms(cpu)],
  ])
  const heads = [
    'answers at once',
    'lost',
    'first p50 ms',
    'first p99',
    'later p50',
    'later p99',
    'CPU µs a word',
  ]
  return table(heads, rows)
}

export function lateTable(all: Late[]): string {
  const rows = all.flatMap(({ length, joined, back }) => [
    [
      `anew, after ${whole(length)} characters`,
      ms(joined.p50),
      ms(joined.p99),
      kB(joined.bytes),
      whole(joined.cpu),
    ],
    ['  back with a cursor', ms(back.p50), ms(back.p99), kB(back.bytes), whole(back.cpu)],
  ])
  return table(['joining an answer that goes on', 'p50 ms', 'p99 ms', 'kB', 'CPU µs'], rows)
}

export function idleLine({ sockets, with: busy, without, slept, wakeMs }: Idle): string {
  const sleep = slept ? 'its object slept' : '**its object did not sleep**'
  return `An idle chat with ${sockets} WebSockets: ${sleep}, and in ten seconds all of the service took ${ms(busy)} ms of processor time; without the sockets ${ms(without)} ms. Waking it took ${ms(wakeMs)} ms.`
}

const HEADING = '## Speed'

const INTRODUCTION = `How fast it is on one machine, where agents and readers are too: \`npm run bench:chat -- --write\` measures it anew and
writes this part. The same events go, in the same run, through nginx with nchan and through Pushpin, as Debian has them. A
word says when it was written, so the clock of a figure starts with the write of whoever publishes and stops when one process
with all the readers has read it, which takes its own share of the time. The runtime stalls for 20 to 30 ms now and then,
also at one connection: hence the floor, the same agent through a bare Worker.`

/** Puts what was measured into `file`, under its heading, before the next. */
export function writeSpeed(file: string, printed: string[]): void {
  const text = readFileSync(file, 'utf8')
  const start = text.indexOf(`${HEADING}\n`)
  const before = start < 0 ? `${text.trimEnd()}\n\n` : text.slice(0, start)
  const next = start < 0 ? -1 : text.indexOf('\n## ', start)
  const after = next < 0 ? '' : text.slice(next)
  writeFileSync(file, `${before}${[HEADING, INTRODUCTION, ...printed].join('\n\n')}\n${after}`)
}

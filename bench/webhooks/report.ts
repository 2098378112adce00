import { readFileSync, writeFileSync } from 'node:fs'
import { table } from '../report.ts'
import type { Delay } from '../stream.ts'
import type { Calls } from './calls.ts'
import type { HopCost } from './hops.ts'
import type { Latencies } from './runs.ts'
import type { Dead, Limited } from './troubles.ts'

/** One side of a comparison. */
export type Side = { name: string; perSecond: number; cpu: number; deliveries: number }

const ms = (value: number) => value.toFixed(1)
export const whole = (value: number) => Math.round(value).toLocaleString('en')

export function hopTable(costs: HopCost[]): string {
  const rows = costs.map(({ what, cpu, taken }) => [what, whole(cpu), whole(taken)])
  return table(['one hop, bare', 'CPU µs', 'of the thread µs'], rows)
}

/** What is said to D1 for a delivery. */
export function callTable(calls: Calls[]): string {
  const rows = calls.map(({ what, by, statements, calls: n, read, written }) => [
    ...[what, by, statements],
    ...[n.toFixed(2), read.toFixed(1), written.toFixed(1)],
  ])
  const heads = ['D1 for each delivery', 'by', 'statements', 'calls', 'rows read', 'written']
  return table(heads, rows, 3)
}

export function latencyTable(name: string, latencies: Latencies): string {
  const { accept, fromAnswer, fromRequest, perSecond, cpu } = latencies
  const row = (what: string, { p50, p95, p99 }: Delay, bound: string) => [
    what,
    ...[p50, p95, p99].map(ms),
    bound,
  ]
  const rows = [
    row('request to answer', accept, 'p50 ≤ 15'),
    row('answer to the receiver’s first byte', fromAnswer, '≤ 60, 150, 400'),
    row('request to the receiver’s first byte', fromRequest, ''),
  ]
  const heads = [`${name}, ${perSecond} events/s`, 'p50 ms', 'p95 ms', 'p99 ms', 'bound']
  return `${table(heads, rows)}\nCPU: ${whole(cpu)} µs for an event and its delivery`
}

/** What was sent by each side, and how much of the second the first is. */
export function throughputTable(lines: [string, Side[]][]): string {
  const rows = lines.flatMap(([what, sides]) =>
    sides.map(({ name, perSecond, cpu, deliveries }, n) => {
      const other = sides[1]
      const ratio = n === 0 && other ? (perSecond / other.perSecond).toFixed(2) : ''
      const bound = n === 0 ? '≥ 600, ratio ≥ 1' : ''
      return [n === 0 ? what : '', name, whole(deliveries), whole(perSecond), whole(cpu), ratio, bound]
    }),
  )
  const heads = ['sustained', 'by', 'deliveries', 'a second', 'CPU µs each', 'ratio', 'bound']
  return table(heads, rows, 2)
}

const percent = (part: number) => `${part >= 0 ? '+' : '−'}${Math.abs(part * 100).toFixed(1)} %`

/** What one endpoint that hangs does to the others. */
export function deadTable({ alive, dead, all }: Dead): string {
  const rows = alive.map((p95, round) => {
    const other = dead[round] ?? Number.NaN
    return [`round ${round + 1}`, ms(p95), ms(other), percent(other / p95 - 1), '']
  })
  const total = ['all rounds', ms(all.alive), ms(all.dead), percent(all.dead / all.alive - 1), '< +5 %']
  const heads = ['p95 to the other 99, ms', 'all answer', 'one hangs', 'moved', 'bound']
  return table(heads, [...rows, total])
}

export function limitedTable({ rate, count, perSecond, mostInASecond }: Limited): string {
  const row = [
    ...[`${whole(count)} at ${rate} a second`, perSecond.toFixed(2), percent(perSecond / rate - 1), '± 2 %'],
    ...[String(mostInASecond), `≤ ${rate + 1}`],
  ]
  return table(['a backlog with a rate', 'a second', 'off by', 'bound', 'most in any second', 'bound'], [row])
}

const HEADING = '## Speed'

const INTRODUCTION = `How fast it is on one machine, against a receiver on the same: \`npm run bench:webhooks -- --write\` measures it anew and
writes this part. A delivery counts once its end is recorded. Beside it, by turns and in the same run, stands what one would
build otherwise: a queue of BullMQ in Redis (an append-only file, written out each second), one process that takes events and
one that sends 64 at once and logs each attempt to PostgreSQL before the job is done. It uses all cores; workerd's one thread
does everything here, D1 included; deployed, objects and D1 are spread over machines. Where that thread's time goes (\`perf\`, one endpoint
an event): a fifth are commits, of which each delivery has 3.4 with an \`fsync\` each (its event, the attempt's claim and its end, its share
of the rest); a seventh each is the service's own code and HTTP between workerd's parts; a tenth each are garbage collection, and calls
between objects; 15 % are SQL and what Miniflare does around it. So 600 a second are reached where an event goes to several endpoints, or
deliveries wait, and not with one event for each, which brings a request, a commit and a call along.`

/** Puts what was measured into `file`, under its heading. */
export function writeSpeed(file: string, printed: string[]): void {
  const text = readFileSync(file, 'utf8')
  const start = text.indexOf(`${HEADING}\n`)
  const before = start < 0 ? `${text.trimEnd()}\n\n` : text.slice(0, start)
  const next = start < 0 ? -1 : text.indexOf('\n## ', start)
  const after = next < 0 ? '' : text.slice(next)
  const part = [HEADING, INTRODUCTION, ...printed].join('\n\n')
  writeFileSync(file, `${before}${part}\n${after}`)
}

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { type Bundle, ROOT } from './bundle.ts'
import { type Cost, MOST_ROWS_WRITTEN, WHOLE } from './costs.ts'
import type { Accuracy, Burst } from './limits.ts'
import type { Comparison, Pace, Speed } from './rounds.ts'
import type { RowCount } from './rows.ts'
import type { Delay, StreamResult } from './stream.ts'
import type { UsageRun } from './usage.ts'

/** Lines of a Markdown table; columns after the first `left` ones are figures, set to the right. */
export function table(heads: string[], rows: string[][], left = 1): string {
  const widths = heads.map((head, i) => Math.max(head.length, ...rows.map((row) => row[i]?.length ?? 0)))
  const line = (cells: string[]) =>
    `| ${cells.map((cell, i) => (i < left ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join(' | ')} |`
  const rule = `|${widths.map((width, i) => '-'.repeat(width + 1) + (i < left ? '-' : ':')).join('|')}|`
  return [line(heads), rule, ...rows.map(line)].join('\n')
}

const whole = (value: number) => Math.round(value).toLocaleString('en')
const ms = (value: number) => value.toFixed(2)
const ratio = (value: number) => value.toFixed(2)
const delays = ({ p50, p95, p99 }: Delay) => [ms(p50), ms(p95), ms(p99)]

/** Where and on what it was measured. */
export function machine(): string {
  const version = (name: string) =>
    JSON.parse(readFileSync(path.join(ROOT, 'node_modules', name, 'package.json'), 'utf8')).version
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: ROOT, encoding: 'utf8' }).trim()
  const cpus = os.cpus()
  return [
    `${new Date().toISOString()}, commit ${commit}, ${cpus.length} × ${cpus[0]?.model.trim()}`,
    `Node ${process.version}, workerd ${version('workerd')} by Miniflare ${version('miniflare')}, ${os.platform()} ${os.release()}`,
    `load of the machine before the start: ${os.loadavg()[0]?.toFixed(2)} (anything over 0.3 disturbs)`,
  ].join('\n')
}

export function speedTable(comparisons: Comparison[], pace: Pace): string {
  const rows = comparisons.flatMap(({ name, floorName, service, floor, ratio: r, aim }) => [
    [
      ...[name, ...speed(service), ratio(r.median), `${ratio(r.least)}–${ratio(r.most)}`],
      aim === null ? '' : `≥ ${aim}`,
    ],
    [`  floor: ${floorName}`, ...speed(floor), '', '', ''],
  ])
  const heads = ['route', 'req/s', 'p50 ms', 'p95 ms', 'p99 ms', 'CPU µs', 'of the floor', 'range', 'aim']
  const how = `${pace.connections} connections, ${pace.rounds} rounds of ${pace.milliseconds} ms each, by turns; medians of the rounds, latencies of all`
  return `Requests (${how})\n\n${table(heads, rows)}`
}

const speed = (of: Speed) => [whole(of.perSecond), ...delays(of), of.cpu === null ? '' : whole(of.cpu)]

/** What was let pass, for real and in simulated time. */
export function limitsTable(bursts: Burst[], accuracy: Accuracy[]): string {
  const runs = bursts.map(({ admitted, refused }) => `${whole(admitted)} and ${whole(refused)}`).join(', ')
  const percent = (part: number) => `${(part * 100).toFixed(1)} %`
  const rows = accuracy.map(({ isolates, limit, what, most, part, calls }) => [
    `${isolates}, ${whole(limit)} a minute${what && `, ${what}`}`,
    ...[percent(most), percent(part), calls.toFixed(1)],
    isolates === 1 ? '≤ 30' : limit === 60_000 ? '≤ 20' : '',
  ])
  const heads = ['isolates and limit', 'most in 60 s', 'least of what was allowed', 'calls a 1,000', 'aim']
  return `Limits: 1,500 requests where 1,000 are allowed, three times, admitted and refused: ${runs}

In simulated time, the worst of 0.9 to 2 times the limit (aims: at most 100 %, at least 98 %)

${table(heads, rows)}`
}

/** Whether usage says what was sent. */
export function usageLine({ sent, counted, errors }: UsageRun): string {
  const verdict = sent === counted && errors === 0 ? 'all of them' : `${whole(sent - counted)} are missing`
  return `Usage: ${whole(sent)} requests were sent and ${whole(counted)} are counted right after the last (${verdict})`
}

export function streamTable(result: StreamResult): string {
  const rows = (['first', 'token'] as const).flatMap((kind) => {
    const floor = result[kind].floor
    const name = kind === 'first' ? 'first token' : 'later token'
    return (['sender', 'watcher', 'floor'] as const).map((side) => {
      const added = side === 'floor' ? '' : ms(result[kind][side].p50 - floor.p50)
      const label = {
        sender: `${name}, to its sender`,
        watcher: `${name}, to a watcher`,
        floor: '  floor: bare pipe',
      }
      return [label[side], ...delays(result[kind][side]), added, side === 'sender' ? '≤ 3' : '']
    })
  })
  const heads = ['from the agent’s write to the read', 'p50 ms', 'p95 ms', 'p99 ms', 'p50 added', 'aim']
  return `A streamed token (${result.answers} answers, a token every 80 ms)\n\n${table(heads, rows)}`
}

export function bundleTable(bundle: Bundle): string {
  const kb = (bytes: number) => (bytes / 1000).toFixed(1)
  const rows = [['the Worker, minified', kb(bundle.bytes), kb(bundle.gzipped), '']]
  return `Bundle\n\n${table(['', 'kB', 'kB gzip', 'aim'], rows)}`
}

export function rowTable(counts: RowCount[]): string {
  const rows = counts.map(({ name, status, small, large }) => [
    ...[name.replaceAll('|', '\\|'), [...new Set(status)].join(', ')],
    ...[small.read, large.read, small.written, large.written].map(whole),
  ])
  return table(['route', 'answer', 'read of 10²', 'read of 10⁵', 'written, 10²', 'written, 10⁵'], rows)
}

export function costTable(costs: Cost[]): string {
  const rows = costs.map(({ what, request, after }) => {
    const all = request.written + after.written
    const aim = what === WHOLE ? `≤ ${MOST_ROWS_WRITTEN}` : ''
    return [what, ...[request.read, request.written, after.read, after.written, all].map(whole), aim]
  })
  const heads = ['request', 'rows read', 'written', 'read after', 'written after', 'written in all', 'aim']
  return table(heads, rows)
}

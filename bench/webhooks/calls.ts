import path from 'node:path'
import { bundle } from '../bundle.ts'
import { takeAllNotes } from '../notes.ts'
import { startRecorder } from '../runtime.ts'
import type { Noted } from '../workers/recorder.ts'
import { atRate } from './poster.ts'
import type { Receiver } from './receiver.ts'
import { ENDPOINTS, endpointsOf, measureBacklog, sendEvent } from './runs.ts'
import { makeTenant } from './tenant.ts'

/** What was said to D1 for each delivery, by who said it and how the statements of one call begin. */
export type Calls = {
  what: string
  by: string
  statements: string
  calls: number
  read: number
  written: number
}

/** The calls to D1 of events at a steady rate, one endpoint each, and of a backlog that is let go. */
export async function countCalls(directory: string, receiver: Receiver, count: number): Promise<Calls[]> {
  const { file } = bundle('bench/workers/recorder.ts', path.join(directory, 'recorder'))
  const miniflare = await startRecorder(path.join(directory, 'recorder-state'), file)
  const tenant = await makeTenant(miniflare, 'recorder')
  try {
    const stage = { sender: tenant, receiver }
    for (const endpoint of endpointsOf(receiver)) await tenant.makeEndpoint(endpoint)
    const send = async (n: number) => {
      await sendEvent(stage, `one.${n % ENDPOINTS}`, n)
    }
    // Every endpoint's object has been woken once, and remembers its endpoint.
    await atRate(100, ENDPOINTS, send)
    await takeAllNotes(miniflare)
    await atRate(100, count, send)
    const coming = summed('100 events/s', await takeAllNotes(miniflare), count)
    await measureBacklog(stage, count, async () => {
      await takeAllNotes(miniflare)
    })
    const noted = (await takeAllNotes(miniflare)).filter(({ by }) => by !== 'request')
    return [...coming, ...summed('a backlog', noted, count)]
  } finally {
    await tenant.stop()
  }
}

function summed(what: string, notes: Noted[], count: number): Calls[] {
  const sums = new Map<string, Calls>()
  for (const call of Map.groupBy(notes, ({ by, call }) => `${by} ${call}`).values()) {
    const by = call[0]?.by ?? ''
    const statements = call.map(({ sql }) => shortOf(sql)).join('; ')
    const sum = sums.get(by + statements) ?? { what, by, statements, calls: 0, read: 0, written: 0 }
    sums.set(by + statements, sum)
    sum.calls += 1 / count
    for (const { rows_read, rows_written } of call) {
      sum.read += rows_read / count
      sum.written += rows_written / count
    }
  }
  return [...sums.values()].filter(({ calls }) => calls >= 0.01).sort((a, b) => b.calls - a.calls)
}

/** Which tables a statement is about, and what it does with them. */
function shortOf(sql: string): string {
  const [verb = ''] = /^\s*(\w+)/.exec(sql) ?? []
  const tables = new Set(
    [...sql.matchAll(/\b(?:from|into|update|join)\s+"?([a-z_]+)"?/gi)].map(([, name]) => name),
  )
  tables.delete('json_each')
  tables.delete('set')
  return `${verb.trim()} ${[...tables].join(', ')}`
}

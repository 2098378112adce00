import type { Miniflare } from 'miniflare'
import { ORIGIN } from './runtime.ts'
import type { Param, Plan } from './workers/floor.ts'
import type { Noted } from './workers/recorder.ts'

/** How long nothing must be said to D1 until what a request set going is taken to be over. */
const QUIET_MS = 400

/** What was said to D1 since it was last asked. */
export async function takeNotes(recorder: Miniflare): Promise<Noted[]> {
  return (await (await recorder.dispatchFetch(`${ORIGIN}/notes`)).json()) as Noted[]
}

/** The same, once all that follows a request is over. The sweeper's rounds are nobody's doing and are left out. */
export async function takeAllNotes(recorder: Miniflare): Promise<Noted[]> {
  const all: Noted[] = []
  for (let quietSince = Date.now(); Date.now() - quietSince < QUIET_MS; await sleep(50)) {
    const more = await takeNotes(recorder)
    if (more.length > 0) quietSince = Date.now()
    all.push(...more.filter((note) => note.by !== 'sweeper'))
  }
  return all
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/**
 * What one request says to D1, in a form that another worker can repeat. It is recorded twice: ids that differ between
 * the two are fresh ones, every other parameter stays as it was.
 */
export async function record(recorder: Miniflare, request: () => Promise<unknown>): Promise<Plan> {
  const ofRequest = async () => {
    await takeAllNotes(recorder)
    await request()
    return (await takeNotes(recorder)).filter((note) => note.by === 'request')
  }
  return planOf(await ofRequest(), await ofRequest())
}

const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/g

function planOf(first: Noted[], second: Noted[]): Plan {
  const sql = (notes: Noted[]) => notes.map((note) => note.sql).join('\n')
  if (first.length === 0 || sql(first) !== sql(second))
    throw new Error(`two equal requests said different things to D1:\n${sql(first)}\n\n${sql(second)}`)
  const kept = new Set(JSON.stringify(second.map((note) => note.params)).match(UUID))
  const slots = new Map<string, number>()
  const slotOf = (id: string) => {
    const slot = slots.get(id) ?? slots.size
    slots.set(id, slot)
    return slot
  }
  const paramOf = (value: unknown): Param => {
    if (typeof value !== 'string') return { value }
    const template = value.replace(UUID, (id) => (kept.has(id) ? id : `{{${slotOf(id)}}}`))
    return template === value ? { value } : { template }
  }
  const plan: Plan = []
  let call = 0
  for (const note of first) {
    if (note.call !== call) plan.push({ batch: note.batch, statements: [] })
    call = note.call
    plan.at(-1)?.statements.push({ sql: note.sql, params: note.params.map(paramOf) })
  }
  return plan
}

/** Rows that D1 says it read and wrote. */
export type Rows = { read: number; written: number }

export function rowsOf(notes: readonly Noted[]): Rows {
  const sum = (of: (note: Noted) => number) => notes.reduce((total, note) => total + of(note), 0)
  return { read: sum((note) => note.rows_read), written: sum((note) => note.rows_written) }
}

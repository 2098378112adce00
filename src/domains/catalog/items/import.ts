import type { Context } from '../../../data/context'
import { afterMark, type Place } from '../../../lib/csv-records'
import { problem } from '../../../lib/problem'
import { readSpanOf } from '../../files/content'
import { getReadyFile } from '../../files/service'
import { jobKind, type Step } from '../../jobs/kinds'
import type { Job } from '../../jobs/schema'
import { startJob } from '../../jobs/service'
import { csvReader, type Header, jsonReader, type Line, readHeader } from './lines'
import { FORMATS, type Format, type ImportItems, type LineError } from './schema'
import { counted } from './service'
import { changeOf, decided, planOf, ROWS_OF_BATCH } from './upsert'

// A file of any size, step by step: each reads a window of it, takes the lines that are whole, and writes them together
// with where the next one begins. Whatever breaks off, no line is written twice or left out, nor counted so.

/** What one step reads: several times the longest line, and at once more than a batch needs of ordinary ones. */
const WINDOW_BYTES = 512 * 1024
/** Of the lines that are refused, so many are named. */
const MOST_ERRORS = 100

type Input = { file_id: string; filename: string; format: Format; size: number }
type Counts = { lines: number; created: number; updated: number; unchanged: number; failed: number }
type State = {
  /** Of the bytes as they were when it began. */
  etag: string | null
  offset: number
  line: number
  /** In the middle of a line that is too long, and passed over. */
  passing: boolean
  /** Of CSV, once it is read. */
  header: Header | null
  counts: Counts
  errors: LineError[]
}

export const importing = jobKind<Input, State>({
  name: 'items.import',
  scope: 'items:write',
  step: (ctx, { input, state }) => stepOf(ctx, input, state),
})

/** Begins to import a file of the caller's; its first lines are there, or its header is refused, when this answers. */
export async function importItems(
  ctx: Context,
  { file_id, format }: ImportItems,
): Promise<Job & { version: number }> {
  const { filename, content_type, size, etag } = await getReadyFile(ctx, file_id)
  const input: Input = { file_id, filename, format: format ?? formatOf(content_type, filename), size }
  const counts = { lines: 0, created: 0, updated: 0, unchanged: 0, failed: 0 }
  const state: State = { etag, offset: 0, line: 1, passing: false, header: null, counts, errors: [] }
  const audit = (id: string) => ({
    ...{ action: 'items.import', resource: 'job', resource_id: id },
    after: { file_id, filename, format: input.format },
  })
  return decided(async () => startJob(ctx, importing, input, await stepOf(ctx, input, state), audit))
}

const CSV = /^text\/(?:csv|tab-separated-values)$/
const NDJSON = /^application\/(?:x-ndjson|ndjson|jsonl|x-jsonlines)$/

/** 422 where neither type nor name says it. */
function formatOf(contentType: string, filename: string): Format {
  if (CSV.test(contentType) || /\.(?:csv|tsv)$/i.test(filename)) return 'csv'
  if (NDJSON.test(contentType) || /\.(?:ndjson|jsonl)$/i.test(filename)) return 'ndjson'
  throw problem.invalid({
    format: `must be ${FORMATS.join(' or ')}: neither the file’s type nor its name says which`,
  })
}

async function stepOf(ctx: Context, input: Input, before: State): Promise<Step<State>> {
  const bytes = await windowOf(ctx, input, before)
  const final = before.offset + bytes.length >= input.size
  const { lines, header, place } = read(bytes, input, before, final)
  const said = lines.flatMap((line) => ('item' in line ? [line.item] : []))
  const errors = lines.flatMap((line) => ('error' in line ? [line.error] : []))
  const plan = await planOf(ctx, said)
  const { lines: sofar, failed } = before.counts
  const sums = { ...before.counts, lines: sofar + lines.length, failed: failed + errors.length }
  const state: State = {
    ...{
      etag: before.etag,
      header,
      offset: before.offset + place.at,
      line: place.line,
      passing: place.passing,
    },
    counts: counted(sums, plan.counts),
    errors: [...before.errors, ...errors].slice(0, MOST_ERRORS),
  }
  if (state.offset === before.offset && !final)
    throw new Error(`an import stands still at byte ${state.offset}`)
  return {
    state,
    progress: (100 * state.offset) / input.size,
    result: { ...state.counts, errors: state.errors },
    done: state.offset >= input.size,
    change: changeOf(ctx, plan),
  }
}

function windowOf(ctx: Context, { file_id, size }: Input, { etag, offset }: State): Promise<Uint8Array> {
  const length = Math.min(WINDOW_BYTES, size - offset)
  return readSpanOf(ctx, { tenant_id: ctx.tenant.id, id: file_id, etag }, { offset, length })
}

type Some = { lines: Line[]; header: Header | null; place: Place }

/** The lines of a window that one batch takes. 422 where the file begins as none of its format does. */
function read(bytes: Uint8Array, { format }: Input, before: State, final: boolean): Some {
  const isFirst = before.offset === 0
  let place: Place = isFirst ? afterMark(bytes) : { at: 0, line: before.line, passing: before.passing }
  if (format === 'ndjson') {
    if (isFirst && bytes.subarray(place.at).find((byte) => byte > 0x20) === LIST)
      throw problem.invalid({ file_id: 'must be a file of lines with an item each, and it is a JSON list' })
    const { records, place: next } = jsonReader(bytes, place, ROWS_OF_BATCH, final)
    return { lines: records, header: null, place: next }
  }
  let { header } = before
  if (header === null) ({ header, place } = readHeader(bytes, final))
  const { records, place: next } = csvReader(header)(bytes, place, ROWS_OF_BATCH, final)
  return { lines: records, header, place: next }
}

/** `[`. */
const LIST = 0x5b

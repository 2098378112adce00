import {
  afterMark,
  type Delimiter,
  delimiterOf,
  isUtf8,
  MOST_RECORD_BYTES,
  NOT_UTF8,
  type Place,
  passed,
  type Read,
  readRecords,
} from '../../../lib/csv-records'
import { fieldErrors } from '../../../lib/fields'
import { refuseDeepNesting, refuseUnusable, tellable, unkeepable } from '../../../lib/keepable'
import { type FieldErrors, Problem, problem } from '../../../lib/problem'
import { type Columns, columnsOf, fieldsOf } from './columns'
import { type LineError, NewItem } from './schema'

// What was sent, or lies in a file, line by line: each a good item, or named with what is wrong with it.

export type Line = { item: NewItem } | { error: LineError }

/** How lines are read that come in windows: at most `most` of them from `place` on. */
export type Reader = (bytes: Uint8Array, place: Place, most: number, final: boolean) => Read<Line>

/** What the first line of CSV says of the others. */
export type Header = { columns: Columns; delimiter: Delimiter }

/** The header of CSV, and where the lines after it begin. 422 with each column that is wrong. */
export function readHeader(bytes: Uint8Array, final: boolean): { header: Header; place: Place } {
  const delimiter = delimiterOf(bytes)
  const { records, place } = readRecords(bytes, afterMark(bytes), { delimiter, most: 1, final })
  const [first] = records
  if (first && 'fault' in first) throw problem.invalid({ header: first.fault })
  if (!first) throw problem.invalid({ header: 'must be the first line, with external_id and title in it' })
  return { header: { columns: columnsOf(first.value), delimiter }, place }
}

/** Reads lines of CSV. */
export const csvReader =
  ({ columns, delimiter }: Header): Reader =>
  (bytes, from, most, final) => {
    const { records, place } = readRecords(bytes, from, { delimiter, most, final })
    const lines = records.map((record) => {
      if ('fault' in record) return wrong(record.line, null, { line: record.fault })
      const { value, line } = record
      if (value.length !== columns.length)
        return wrong(line, null, { line: `has ${counted(value.length)}, and the header ${columns.length}` })
      return checked(line, () => fieldsOf(columns, value))
    })
    return { records: lines, place }
  }

const counted = (fields: number): string => (fields === 1 ? '1 field' : `${fields} fields`)

/** Reads lines that are JSON each. */
export const jsonReader: Reader = (bytes, from, most, final) => {
  const records: Line[] = []
  let place = passed(bytes, from)
  while (records.length < most && !place.passing && place.at < bytes.length) {
    const found = bytes.indexOf(0x0a, place.at)
    const end = found < 0 ? bytes.length : found
    const { at, line } = place
    if (end - at > MOST_RECORD_BYTES) {
      records.push(wrong(line, null, { line: `is longer than ${MOST_RECORD_BYTES} bytes` }))
      place = passed(bytes, { ...place, passing: true })
      continue
    }
    if (found < 0 && !final) break
    const raw = bytes.subarray(at, end)
    const text = new TextDecoder().decode(raw).trim()
    if (text !== '')
      records.push(
        text.includes('\ufffd') && !isUtf8(raw)
          ? wrong(line, null, { line: NOT_UTF8 })
          : jsonLine(line, text),
      )
    place = { at: Math.min(end + 1, bytes.length), line: line + 1, passing: false }
  }
  return { records, place }
}

const jsonLine = (line: number, text: string): Line =>
  checked(line, () => {
    refuseUnusable(text)
    try {
      return JSON.parse(text)
    } catch {
      throw problem.invalid({ line: 'is not valid JSON' })
    }
  })

/** The items of a JSON array. 422 where it is nested too deep to be read. */
export function arrayLines(text: string, values: readonly unknown[]): Line[] {
  refuseDeepNesting(text)
  const unusable = Object.entries(unkeepable(text) ?? {}).map(([path, why]) => {
    const [index = '', ...rest] = path.split('.')
    return { index: Number(index), path: rest.join('.') || 'line', why }
  })
  const byIndex = Map.groupBy(unusable, ({ index }) => index)
  return values.map((value, index) => {
    const fields = byIndex.get(index)?.map(({ path, why }) => [path, why])
    return fields ? wrong(index + 1, value, Object.fromEntries(fields)) : checked(index + 1, () => value)
  })
}

/** An item as a line says it, or all that is wrong with it. */
function checked(line: number, read: () => unknown): Line {
  let value: unknown = null
  try {
    value = read()
  } catch (error) {
    if (!(error instanceof Problem)) throw error
    return wrong(line, null, error.details.fields as FieldErrors)
  }
  const result = NewItem.safeParse(value)
  if (result.success) return { item: result.data }
  const { body, ...fields } = fieldErrors(result.error.issues)
  return wrong(
    line,
    value,
    body === undefined ? fields : { ...fields, line: 'must be an item, as an object' },
  )
}

function wrong(line: number, value: unknown, fields: FieldErrors): Line {
  const named = (value as { external_id?: unknown } | null)?.external_id
  const external_id = typeof named === 'string' ? named.slice(0, 255) : null
  return { error: { line, external_id, fields: tellable(fields, 'line') } }
}

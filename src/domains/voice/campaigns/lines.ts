import { afterMark, type Delimiter, delimiterOf, type Place, readRecords } from '../../../lib/csv-records'
import { fieldErrors } from '../../../lib/fields'
import { refuseDeepNesting, tellable, unkeepable } from '../../../lib/keepable'
import { type FieldErrors, problem } from '../../../lib/problem'
import { type Columns, columnsOf, fieldsOf } from './columns'
import { type LineError, NewContact } from './schema'

// What was sent, or lies in a file, line by line: each a good contact, or named with what is wrong with it.

export type Line = { line: number; contact: NewContact } | { error: LineError }

/** What the first line of CSV says of the others. */
export type Header = { columns: Columns; delimiter: Delimiter }

/** The header of CSV, and where the lines after it begin. 422 with each column that is wrong. */
export function readHeader(bytes: Uint8Array, final: boolean): { header: Header; place: Place } {
  const delimiter = delimiterOf(bytes)
  const { records, place } = readRecords(bytes, afterMark(bytes), { delimiter, most: 1, final })
  const [first] = records
  if (first && 'fault' in first) throw problem.invalid({ header: first.fault })
  if (!first) throw problem.invalid({ header: 'must be the first line, with phone in it' })
  return { header: { columns: columnsOf(first.value), delimiter }, place }
}

/** Reads lines of CSV: at most `most` of them from `from` on; `final` where no more bytes follow. */
export function readLines(
  { columns, delimiter }: Header,
  bytes: Uint8Array,
  from: Place,
  most: number,
  final: boolean,
): { lines: Line[]; place: Place } {
  const { records, place } = readRecords(bytes, from, { delimiter, most, final })
  const lines = records.map((record) => {
    if ('fault' in record) return wrong(record.line, null, { line: record.fault })
    const { value, line } = record
    if (value.length === columns.length) return checked(line, fieldsOf(columns, value))
    const fields = value.length === 1 ? '1 field' : `${value.length} fields`
    return wrong(line, null, { line: `has ${fields}, and the header ${columns.length}` })
  })
  return { lines, place }
}

/** The contacts of a JSON array, which lies in the text at `prefix`. 422 where it is nested too deep to be read. */
export function arrayLines(text: string, values: readonly unknown[], prefix = ''): Line[] {
  refuseDeepNesting(text)
  const unusable = Object.entries(unkeepable(text) ?? {}).map(([path, why]) => {
    const [index = '', ...rest] = path.slice(prefix.length).split('.')
    return { index: Number(index), path: rest.join('.') || 'line', why }
  })
  const byIndex = Map.groupBy(unusable, ({ index }) => index)
  return values.map((value, index) => {
    const fields = byIndex.get(index)?.map(({ path, why }) => [path, why])
    return fields ? wrong(index + 1, value, Object.fromEntries(fields)) : checked(index + 1, value)
  })
}

/** A contact as a line says it, or all that is wrong with it. */
function checked(line: number, value: unknown): Line {
  const result = NewContact.safeParse(value)
  if (result.success) return { line, contact: result.data }
  const { body, ...fields } = fieldErrors(result.error.issues)
  const whole = { ...fields, line: 'must be a contact, as an object' }
  return wrong(line, value, body === undefined ? fields : whole)
}

/** A line that is refused. */
export function wrong(line: number, value: unknown, fields: FieldErrors): { error: LineError } {
  const named = (value as { phone?: unknown } | null)?.phone
  const phone = typeof named === 'string' ? named.toWellFormed().slice(0, 64) : null
  return { error: { line, phone, fields: tellable(fields, 'line') } }
}

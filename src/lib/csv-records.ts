import { CsvError, parse } from 'csv-parse/sync'
import { problem } from './problem'

// Lines of CSV (RFC 4180), of which a window of bytes is at hand. The parser says at which byte each record ends,
// so the next window begins with the record that this one cuts, quotes across lines and all. Where a record is wrong, the
// next physical line is the next record: one wrong line costs no other.

/** The longest record: twice the longest item there can be. */
export const MOST_RECORD_BYTES = 128 * 1024

/** A record, or what is wrong with it; `line` is the one on which it begins, counted from 1. */
export type Record = { line: number } & ({ value: string[] } | { fault: string })

/** Where to go on: at which byte of the window, on which line, and whether in the middle of a line that is passed over. */
export type Place = { at: number; line: number; passing: boolean }

/** Some records of a window, and where the next one begins. */
export type Read<R> = { records: R[]; place: Place }

const LF = 0x0a
const CR = 0x0d

/** What may stand between the fields of a line. */
const DELIMITERS = [',', ';', '\t'] as const
export type Delimiter = (typeof DELIMITERS)[number]

/** At most `most` records from `place` on; `final` where the file ends with the window. */
export function readRecords(
  bytes: Uint8Array,
  from: Place,
  { delimiter, most, final }: { delimiter: Delimiter; most: number; final: boolean },
): Read<Record> {
  const records: Record[] = []
  let place = passed(bytes, from)
  while (records.length < most && !place.passing && place.at < bytes.length) {
    const { rows, fault } = parsed(bytes.subarray(place.at), delimiter, most - records.length)
    const start = place.at
    for (const { fields, end } of rows) {
      if (!final && !endsLine(bytes, start + end)) return { records, place }
      place = skipBlank(bytes, place)
      records.push({ line: place.line, ...readAs(fields, bytes.subarray(place.at, start + end)) })
      place = moved(bytes, place, start + end)
    }
    if (fault === null) {
      // A CR at the end of a window is left to the next: it may be half of a CRLF.
      const end = final || bytes.at(-1) !== CR ? bytes.length : bytes.length - 1
      if (records.length < most) place = moved(bytes, place, Math.max(place.at, end))
      break
    }
    place = skipBlank(bytes, place)
    if (fault === NOT_CLOSED && !final && bytes.length - place.at <= MOST_RECORD_BYTES) break
    records.push({ line: place.line, fault: FAULTS[fault] ?? fault })
    place = passed(bytes, { ...place, passing: true })
  }
  return { records, place }
}

type Row = { fields: string[]; end: number }

/** The records from the beginning of `bytes` up to the first that is wrong. */
function parsed(
  bytes: Uint8Array,
  delimiter: Delimiter,
  most: number,
): { rows: Row[]; fault: string | null } {
  const rows: Row[] = []
  try {
    parse(bytes, {
      delimiter,
      to: most,
      relax_column_count: true,
      skip_empty_lines: true,
      record_delimiter: ['\r\n', '\n', '\r'],
      max_record_size: MOST_RECORD_BYTES,
      on_record: (fields: string[], { bytes: end }) => {
        rows.push({ fields, end })
        return null
      },
    })
    return { rows, fault: null }
  } catch (error) {
    if (error instanceof CsvError) return { rows, fault: error.code }
    throw error
  }
}

const NOT_CLOSED = 'CSV_QUOTE_NOT_CLOSED'

const FAULTS: { [code: string]: string } = {
  [NOT_CLOSED]: 'has a quote that is not closed',
  CSV_INVALID_CLOSING_QUOTE: 'goes on after a closing quote: write a quote within quotes twice',
  INVALID_OPENING_QUOTE:
    'has a quote in a field that has none around it: put it in quotes, with that one twice',
  CSV_MAX_RECORD_SIZE: `is longer than ${MOST_RECORD_BYTES} bytes; a quote before may not be closed`,
}

/** Bytes that are no UTF-8 are read as U+FFFD; where that was written by somebody, it stays. */
function readAs(fields: string[], raw: Uint8Array): { value: string[] } | { fault: string } {
  if (!fields.some((field) => field.includes('\ufffd')) || isUtf8(raw)) return { value: fields }
  return { fault: NOT_UTF8 }
}

export const NOT_UTF8 = 'is not UTF-8'

export function isUtf8(bytes: Uint8Array): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true, ignoreBOM: false }).decode(bytes)
    return true
  } catch {
    return false
  }
}

/** Whether a line surely ends before `at`: a CR at the end of a window may be half of a CRLF. */
const endsLine = (bytes: Uint8Array, at: number): boolean =>
  bytes[at - 1] === LF || (bytes[at - 1] === CR && at < bytes.length)

/** The place after the lines up to `at`. */
function moved(bytes: Uint8Array, place: Place, at: number): Place {
  let { line } = place
  for (let i = place.at; i < at; i++) if (bytes[i] === LF || (bytes[i] === CR && bytes[i + 1] !== LF)) line++
  return { at, line, passing: false }
}

function skipBlank(bytes: Uint8Array, place: Place): Place {
  let at = place.at
  while (bytes[at] === LF || bytes[at] === CR) at++
  return moved(bytes, place, at)
}

/** The beginning of the next line, where the rest of this one is passed over; the end of the window if that is none. */
export function passed(bytes: Uint8Array, place: Place): Place {
  if (!place.passing) return place
  let at = place.at
  while (at < bytes.length && bytes[at] !== LF && !(bytes[at] === CR && at + 1 < bytes.length)) at++
  if (at >= bytes.length) return { ...place, at }
  return moved(bytes, place, bytes[at] === CR && bytes[at + 1] === LF ? at + 2 : at + 1)
}

/** The place behind a byte-order mark. 400 for the one of UTF-16. */
export function afterMark(bytes: Uint8Array): Place {
  const [a, b, c] = bytes
  if ((a === 0xff && b === 0xfe) || (a === 0xfe && b === 0xff))
    throw problem('malformed_body', 'The text is UTF-16; save it as UTF-8')
  return { at: a === 0xef && b === 0xbb && c === 0xbf ? 3 : 0, line: 1, passing: false }
}

/** What stands between the fields: whichever of a comma, a semicolon and a tab the first line has most of. */
export function delimiterOf(bytes: Uint8Array): Delimiter {
  const { at } = skipBlank(bytes, afterMark(bytes))
  const end = bytes.findIndex((byte, i) => i > at && (byte === LF || byte === CR))
  const first = new TextDecoder().decode(bytes.subarray(at, end < 0 ? undefined : end))
  const most = (one: Delimiter) => first.split(one).length
  return DELIMITERS.reduce((best, one) => (most(one) > most(best) ? one : best))
}

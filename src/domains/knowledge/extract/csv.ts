import { CsvError, parse } from 'csv-parse/sync'
import type { Block } from '../chunks'

/** Why a document can't be read, in words for its tenant. */
export class Unreadable extends Error {}

/** The rows of a table, each with the names of its columns. */
export function fromCsv(text: string): Block[] {
  const [header = [], ...rows] = rowsOf(text)
  return rows.map((row) => ({
    heading: null,
    text: row
      .flatMap((value, i) =>
        value.trim() === '' ? [] : `${header[i]?.trim() || `column ${i + 1}`}: ${value}`,
      )
      .join('\n'),
  }))
}

function rowsOf(text: string): string[][] {
  try {
    return parse(text, {
      delimiter: delimiterOf(text),
      relax_column_count: true,
      skip_empty_lines: true,
    }) as string[][]
  } catch (error) {
    if (error instanceof CsvError) throw new Unreadable(`is no CSV: ${error.message}`)
    throw error
  }
}

/** What parts the values: of what may, that which stands most often in the header, outside of quotes. */
function delimiterOf(text: string): string {
  const [header = ''] = text
    .trimStart()
    .replace(/"[^"]*"/g, '')
    .split('\n', 1)
  const counts = [',', ';', '\t'].map((sign) => ({ sign, count: header.split(sign).length }))
  return counts.reduce((most, one) => (one.count > most.count ? one : most)).sign
}

import { csvLine } from '../../lib/csv'
import { utf8 } from '../../lib/encoding'
import { AuditEntry } from './schema'
import type { AuditRow } from './table'

/** How a log is written to a file. */
export type Format = 'csv' | 'ndjson'

const COLUMNS = Object.keys(AuditEntry.shape) as (keyof typeof AuditEntry.shape)[]

export const CONTENT_TYPES: Record<Format, string> = {
  csv: 'text/csv; charset=utf-8; header=present',
  ndjson: 'application/x-ndjson; charset=utf-8',
}

const line: Record<Format, (row: AuditRow) => string> = {
  csv: (row) => csvLine(COLUMNS.map((name) => (isJson(row[name]) ? JSON.stringify(row[name]) : row[name]))),
  ndjson: (row) => `${JSON.stringify(AuditEntry.parse(row))}\n`,
}

const isJson = (value: unknown): boolean => typeof value === 'object' && value !== null

/** The file of rows that come slice by slice, each asked for when the reader wants more; `bytes` once it has ended. */
export function fileOf(
  format: Format,
  slices: AsyncGenerator<AuditRow[]>,
): { body: ReadableStream<Uint8Array>; bytes: Promise<number> } {
  const { promise: bytes, resolve } = Promise.withResolvers<number>()
  let sent = 0
  const write = (controller: ReadableStreamDefaultController<Uint8Array>, text: string) => {
    const chunk = utf8(text)
    sent += chunk.byteLength
    controller.enqueue(chunk)
  }
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      if (format === 'csv') write(controller, csvLine(COLUMNS))
    },
    async pull(controller) {
      try {
        const { value, done } = await slices.next()
        if (value) write(controller, value.map(line[format]).join(''))
        if (!done) return
        controller.close()
        resolve(sent)
      } catch (error) {
        // What was sent until then counts all the same.
        resolve(sent)
        throw error
      }
    },
    async cancel() {
      resolve(sent)
      await slices.return(undefined)
    },
  })
  return { body, bytes }
}

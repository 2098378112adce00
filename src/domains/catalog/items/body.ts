import type { MiddlewareHandler } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { jsonOf, textOf } from '../../../http/body'
import { linesBody, MOST_LINES } from '../../../http/lines-body'
import { afterMark } from '../../../lib/csv-records'
import { fieldErrors } from '../../../lib/fields'
import { refuseUnusable } from '../../../lib/keepable'
import { problem } from '../../../lib/problem'
import { arrayLines, csvReader, jsonReader, type Line, readHeader } from './lines'
import { NewItem } from './schema'

const JSON_TYPE = /^application\/json\s*(?:;|$)/i
const NDJSON = /^application\/(?:x-ndjson|ndjson|jsonl|x-jsonlines)\s*(?:;|$)/i
const CSV = /^text\/csv\s*(?:;|$)/i

/** What was sent: one item, or many lines. */
export type Sent = { item: NewItem } | { lines: Line[] }

/**
 * An item, or many as a JSON array, lines of JSON or CSV. 415 for another type, 400 for what is not of its type, 413 for
 * too many; what is wrong with one of many is said of that line alone.
 */
export function itemsBody(): MiddlewareHandler<AppEnv & { Variables: { sent: Sent } }> {
  return linesBody<Sent>(
    sentAs,
    { one: 'item', asFile: 'import them as a file' },
    {
      schema: NewItem,
      contentType: 'application/json',
      example: {
        external_id: 'sku-1042',
        title: 'Trail running shoe',
        category: 'shoes',
        tags: ['waterproof'],
      },
    },
  )
}

function sentAs(type: string, bytes: Uint8Array<ArrayBuffer>): Sent {
  if (JSON_TYPE.test(type)) return sentJson(textOf(bytes))
  if (NDJSON.test(type)) return { lines: jsonReader(bytes, afterMark(bytes), MOST_LINES + 1, true).records }
  if (CSV.test(type)) {
    const { header, place } = readHeader(bytes, true)
    return { lines: csvReader(header)(bytes, place, MOST_LINES + 1, true).records }
  }
  throw problem('unsupported_media_type', 'The body must be JSON, lines of JSON, or CSV', {
    details: { expected: 'application/json, application/x-ndjson or text/csv', received: type },
  })
}

function sentJson(text: string): Sent {
  const value = jsonOf(text)
  if (Array.isArray(value)) return { lines: arrayLines(text, value) }
  refuseUnusable(text)
  const result = NewItem.safeParse(value)
  if (!result.success) throw problem.invalid(fieldErrors(result.error.issues))
  return { item: result.data }
}

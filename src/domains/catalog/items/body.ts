import type { Context as HonoContext, MiddlewareHandler } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { readBytes, textOf } from '../../../http/body'
import { noted } from '../../../http/notes'
import { afterMark } from '../../../lib/csv-records'
import { fieldErrors } from '../../../lib/fields'
import { refuseUnusable } from '../../../lib/keepable'
import { problem } from '../../../lib/problem'
import { arrayLines, csvReader, jsonReader, type Line, readHeader } from './lines'
import { NewItem } from './schema'

/** Of one request (data.md); more come as a file. */
const MOST_LINES = 10_000
const LIMIT = 10 * 1024 * 1024

const JSON_TYPE = /^application\/json\s*(?:;|$)/i
const NDJSON = /^application\/(?:x-ndjson|ndjson|jsonl|x-jsonlines)\s*(?:;|$)/i
const CSV = /^text\/csv\s*(?:;|$)/i

/** What was sent: one item, or many lines. */
export type Sent = { item: NewItem } | { lines: Line[] }

type WithSent = AppEnv & { Variables: { sent: Sent } }

/**
 * An item, or many as a JSON array, lines of JSON or CSV. 415 for another type, 400 for what is not of its type, 413 for
 * too many; what is wrong with one of many is said of that line alone.
 */
export function itemsBody(): MiddlewareHandler<WithSent> {
  const middleware: MiddlewareHandler<WithSent> = async (c, next) => {
    const sent = sentAs(
      c.req.header('Content-Type') ?? '',
      await readBytes(c as unknown as HonoContext<AppEnv>),
    )
    if ('lines' in sent && sent.lines.length === 0)
      throw problem.invalid({ body: 'must have at least one item' })
    if ('lines' in sent && sent.lines.length > MOST_LINES)
      throw problem('payload_too_large', `These are more than ${MOST_LINES} lines: import them as a file`, {
        details: { limit_lines: MOST_LINES },
      })
    c.set('sent', sent)
    await next()
  }
  return noted(middleware, {
    body: {
      schema: NewItem,
      contentType: 'application/json',
      example: {
        external_id: 'sku-1042',
        title: 'Trail running shoe',
        category: 'shoes',
        tags: ['waterproof'],
      },
    },
    bodyLimit: LIMIT,
  })
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
  const value = parsed(text)
  if (Array.isArray(value)) return { lines: arrayLines(text, value) }
  refuseUnusable(text)
  const result = NewItem.safeParse(value)
  if (!result.success) throw problem.invalid(fieldErrors(result.error.issues))
  return { item: result.data }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw problem('malformed_json', 'The body is not valid JSON', { cause })
  }
}

import type { Context as HonoContext, MiddlewareHandler } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { jsonOf, readText, refuseDeepNesting, refuseUnusable } from '../../../http/body'
import { noted } from '../../../http/notes'
import { unkeepable } from '../../../lib/keepable'
import { Problem, problem } from '../../../lib/problem'
import { CreateInteraction } from './schema'

/** Interactions of one request, and bytes of it. */
const MOST = 1_000
const LIMIT = 4 * 1024 * 1024

const NDJSON = /^application\/(?:x-ndjson|ndjson|jsonl|x-jsonlines)\s*(?:;|$)/i
const JSON_TYPE = /^application\/json\s*(?:;|$)/i

/** One of those that were sent: what it says, or why it can't be read. */
export type Sent = { index: number; line: number | null } & ({ value: unknown } | { refusal: Problem })

type WithSent = AppEnv & { Variables: { sent: Sent[] } }

/** A JSON array, or a line of JSON for each. 415 for another type, 400 for an array that is no JSON, 422 for too many. */
export function batchBody(): MiddlewareHandler<WithSent> {
  const middleware: MiddlewareHandler<WithSent> = async (c, next) => {
    const type = c.req.header('Content-Type') ?? ''
    const isLines = NDJSON.test(type)
    if (!isLines && !JSON_TYPE.test(type))
      throw problem('unsupported_media_type', 'The body must be lines of JSON, or a JSON array', {
        details: { expected: 'application/x-ndjson or application/json', received: type },
      })
    const text = await readText(c as unknown as HonoContext<AppEnv>)
    const sent = isLines ? linesIn(text) : arrayIn(text)
    if (sent.length === 0 || sent.length > MOST)
      throw problem.invalid({ body: `must be 1 to ${MOST.toLocaleString('en')} interactions` })
    c.set('sent', sent)
    await next()
  }
  return noted(middleware, {
    body: {
      schema: CreateInteraction,
      contentType: 'application/x-ndjson',
      example: { type: 'purchase', user_id: 'user-42', item_id: 'sku-1', value: 19.9 },
    },
    bodyLimit: LIMIT,
  })
}

function linesIn(text: string): Sent[] {
  const lines = text.split('\n').map((line, at) => ({ text: line.trim(), line: at + 1 }))
  return lines
    .filter((line) => line.text !== '')
    .map((one, index) => ({ index, line: one.line, ...valueIn(one.text) }))
}

function valueIn(line: string): { value: unknown } | { refusal: Problem } {
  try {
    refuseUnusable(line)
    return { value: JSON.parse(line) }
  } catch (error) {
    if (error instanceof Problem) return { refusal: error }
    return { refusal: problem('malformed_json', 'The line is not valid JSON') }
  }
}

function arrayIn(text: string): Sent[] {
  refuseDeepNesting(text)
  const values = jsonOf(text)
  if (!Array.isArray(values)) throw problem.invalid({ body: 'must be a list of interactions' })
  const unusable = unkeepable(text) ?? {}
  return values.map((value, index) => {
    const fields = Object.entries(unusable).flatMap(([path, why]) =>
      path === String(index) || path.startsWith(`${index}.`)
        ? [[path.slice(String(index).length + 1) || 'body', why]]
        : [],
    )
    const at = { index, line: null }
    return fields.length > 0
      ? { ...at, refusal: problem.invalid(Object.fromEntries(fields)) }
      : { ...at, value }
  })
}

import type { MiddlewareHandler } from 'hono'
import * as z from 'zod'
import type { AppEnv } from '../../../http/app-env'
import { jsonOf, textOf } from '../../../http/body'
import { linesBody, MOST_LINES } from '../../../http/lines-body'
import { fieldErrors } from '../../../lib/fields'
import { problem } from '../../../lib/problem'
import { arrayLines, type Line, readHeader, readLines } from './lines'
import { AddContacts, Given } from './schema'

const JSON_TYPE = /^application\/json\s*(?:;|$)/i
const CSV_TYPE = /^text\/csv\s*(?:;|$)/i

/** What was sent: contacts, or which file has them. */
export type Sent = { lines: Line[] } | { file_id: string }

/**
 * Contacts as CSV or as a JSON array, or a file that has them. 415 for another type, 400 for what is not of its type, 413
 * for too many; what is wrong with one of them is said of that line alone.
 */
export function contactsBody(): MiddlewareHandler<AppEnv & { Variables: { sent: Sent } }> {
  return linesBody<Sent>(
    sentAs,
    { one: 'contact', asFile: 'send them as a file' },
    {
      schema: AddContacts,
      contentType: 'application/json',
      example: {
        contacts: [
          { phone: '+14155550123', name: 'Ada Lovelace', timezone: 'America/New_York' },
          { phone: '+4915155501234', metadata: { plan: 'Gold' } },
        ],
      },
      or: { schema: CSV, contentType: 'text/csv' },
    },
  )
}

const CSV = z.string().meta({
  description: 'With a header: phone, name, timezone, and metadata.<name> for whatever else is known.',
  example: 'phone,name,timezone,metadata.plan\n+14155550123,Ada Lovelace,America/New_York,Gold\n',
})

function sentAs(type: string, bytes: Uint8Array<ArrayBuffer>): Sent {
  if (JSON_TYPE.test(type)) return sentJson(textOf(bytes))
  if (CSV_TYPE.test(type)) {
    const { header, place } = readHeader(bytes, true)
    return readLines(header, bytes, place, MOST_LINES + 1, true)
  }
  throw problem('unsupported_media_type', 'The body must be CSV, or JSON', {
    details: { expected: 'text/csv or application/json', received: type },
  })
}

function sentJson(text: string): Sent {
  const value = jsonOf(text)
  if (Array.isArray(value)) return { lines: arrayLines(text, value) }
  const result = Given.safeParse(value)
  if (!result.success) throw problem.invalid(fieldErrors(result.error.issues))
  const { contacts, file_id = '' } = result.data
  return contacts ? { lines: arrayLines(text, contacts, 'contacts.') } : { file_id }
}

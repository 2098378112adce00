import type { Context as HonoContext, MiddlewareHandler } from 'hono'
import * as z from 'zod'
import type { AppEnv } from '../../../http/app-env'
import { readBytes } from '../../../http/body'
import { noted } from '../../../http/notes'
import { isUuid } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { NewFile } from '../../files/schema'
import { plainType } from '../../files/types'
import { MAX_ATTACHMENT } from './schema'
import type { Sent } from './service'

/** Boundaries and part headers around the file. */
const FRAMING = 16 * 1024

const Form = z.object({
  file: z.string().optional().meta({ format: 'binary', description: 'At most 25 MiB.' }),
  file_id: z
    .string()
    .optional()
    .meta({ format: 'uuid', description: 'Instead: a file that is there already.' }),
})

/** A file that came along, or the id of one that came before. */
export type Given = { sent: Sent } | { file_id: string }

type WithGiven = AppEnv & { Variables: { given: Given } }

/** A multipart body with one `file`, or a `file_id`. 411 without a length, 415 for another content type, 413 over 25 MiB. */
export function attachmentForm(): MiddlewareHandler<WithGiven> {
  const middleware: MiddlewareHandler<WithGiven> = async (c, next) => {
    c.set('given', await givenIn(c as unknown as HonoContext<AppEnv>))
    await next()
  }
  return noted(middleware, {
    body: { schema: Form, contentType: 'multipart/form-data' },
    bodyLimit: MAX_ATTACHMENT + FRAMING,
    errors: ['length_required', 'malformed_body'],
  })
}

async function givenIn(c: HonoContext<AppEnv>): Promise<Given> {
  const type = c.req.header('Content-Type') ?? ''
  if (!/^multipart\/form-data\s*;/i.test(type))
    throw problem('unsupported_media_type', 'The file must be sent as multipart/form-data', {
      details: { expected: 'multipart/form-data; boundary=…', received: type },
    })
  if (c.req.header('Content-Length') === undefined)
    throw problem('length_required', 'An upload needs a Content-Length')
  const bytes = await readBytes(c)
  const form = await new Response(bytes, { headers: { 'Content-Type': type } }).formData().catch((cause) => {
    throw problem('malformed_body', 'The body is not valid multipart/form-data', { cause })
  })
  const unknown = [...form.keys()].filter((name) => name !== 'file' && name !== 'file_id')
  if (unknown.length > 0)
    throw problem.invalid(Object.fromEntries(unknown.map((name) => [name, 'is not a known field'])))
  const [given, second] = [...form.values()]
  if (given === undefined || second !== undefined)
    throw problem.invalid({ file: 'must be one file (or file_id the id of one)' })
  const id = form.get('file_id')
  if (id === null) return { sent: sentIn(given) }
  if (typeof id !== 'string' || !isUuid(id.toLowerCase()))
    throw problem.invalid({ file_id: 'must be a UUID' })
  return { file_id: id.toLowerCase() }
}

function sentIn(file: File | string): Sent {
  if (typeof file === 'string' || file.size === 0) throw problem.invalid({ file: 'must be a file' })
  if (file.size > MAX_ATTACHMENT)
    throw problem('body_too_large', 'The file is over its limit; presign larger ones', {
      details: { limit_bytes: MAX_ATTACHMENT, size_bytes: file.size },
    })
  // Clients send paths, and types that are none.
  const name = NewFile.shape.filename.safeParse(file.name.split(/[/\\]/).at(-1))
  if (!name.success) throw problem.invalid({ file: 'must have a name of 1 to 255 characters' })
  const type = NewFile.shape.content_type.safeParse(plainType(file.type))
  return {
    name: name.data,
    content_type: type.success ? type.data : 'application/octet-stream',
    // Not copied: the body is in memory already, and as often again as a form has been read from it.
    bytes: file,
  }
}

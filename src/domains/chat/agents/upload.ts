import type { Context as HonoContext, MiddlewareHandler } from 'hono'
import * as z from 'zod'
import type { AppEnv } from '../../../http/app-env'
import { readBytes } from '../../../http/body'
import { noted } from '../../../http/notes'
import { problem } from '../../../lib/problem'
import { MAX_PICTURE } from './avatar'

/** Boundaries and part headers around the file. */
const FRAMING = 16 * 1024

const Upload = z.object({
  file: z.string().meta({ format: 'binary', description: 'PNG, JPEG, GIF or WebP, at most 2 MB.' }),
})

/** A multipart body with one `file`. 411 without a length, 415 for another content type, 413 over 2 MiB. */
export function pictureUpload(): MiddlewareHandler<
  AppEnv & { Variables: { picture: Uint8Array<ArrayBuffer> } }
> {
  const middleware: MiddlewareHandler<AppEnv & { Variables: { picture: Uint8Array<ArrayBuffer> } }> = async (
    c,
    next,
  ) => {
    c.set('picture', await fileIn(c as unknown as HonoContext<AppEnv>))
    await next()
  }
  return noted(middleware, {
    body: { schema: Upload, contentType: 'multipart/form-data' },
    bodyLimit: MAX_PICTURE + FRAMING,
    errors: ['length_required', 'malformed_body'],
  })
}

async function fileIn(c: HonoContext<AppEnv>): Promise<Uint8Array<ArrayBuffer>> {
  const type = c.req.header('Content-Type') ?? ''
  if (!/^multipart\/form-data\s*;/i.test(type))
    throw problem('unsupported_media_type', 'The picture must be sent as multipart/form-data', {
      details: { expected: 'multipart/form-data; boundary=…', received: type },
    })
  if (c.req.header('Content-Length') === undefined)
    throw problem('length_required', 'An upload needs a Content-Length')
  const bytes = await readBytes(c)
  const form = await new Response(bytes, { headers: { 'Content-Type': type } }).formData().catch((cause) => {
    throw problem('malformed_body', 'The body is not valid multipart/form-data', { cause })
  })
  const unknown = [...form.keys()].filter((name) => name !== 'file')
  if (unknown.length > 0)
    throw problem.invalid(Object.fromEntries(unknown.map((name) => [name, 'is not a known field'])))
  const [file, second] = form.getAll('file')
  if (file === undefined || typeof file === 'string' || file.size === 0)
    throw problem.invalid({ file: 'must be a file' })
  if (second !== undefined) throw problem.invalid({ file: 'must be one file' })
  if (file.size > MAX_PICTURE)
    throw problem('body_too_large', 'The picture is over its limit', {
      details: { limit_bytes: MAX_PICTURE, size_bytes: file.size },
    })
  return new Uint8Array(await file.arrayBuffer())
}

import type { Context as HonoContext } from 'hono'
import type { Context } from '../../data/context'
import type { AppEnv } from '../../http/app-env'
import type { Note } from '../../http/notes'
import { admitFile, countUnknown } from '../metering/limits/sources'
import { countPinned } from '../tenancy/tenants/pinned'
import { readBytesOf, spanOf } from './content'
import type { SignedQuery } from './schema'
import { proven, signedFile } from './signed'
import type { Signed } from './signing'
import type { FileRow } from './table'
import { isShown } from './types'

const bytes = { schema: null, contentType: '*/*' }

/** What a route that answers a file’s bytes says of its answers. */
export const fileNote: Pick<Note, 'returns' | 'also'> = {
  returns: { ...bytes, status: 200, description: 'The bytes' },
  also: [{ ...bytes, status: 206, description: 'The range that was asked for' }],
}

/** The name as a header carries it (RFC 6266): plain letters for old clients, all of it for the others. */
function disposition(row: FileRow): string {
  const plain = row.filename.replace(/[^\x20-\x7e]|["\\%]/g, '_')
  const whole = encodeURIComponent(row.filename).replace(
    /['()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  )
  return `${isShown(row.content_type) ? 'inline' : 'attachment'}; filename="${plain}"; filename*=UTF-8''${whole}`
}

/** A file’s bytes: all, the range that was asked for, or none where the reader has them (RFC 9110). */
export async function fileAnswer(c: HonoContext<AppEnv>, ctx: Context, row: FileRow): Promise<Response> {
  const etag = `"${row.etag}"`
  const headers: Record<string, string> = {
    ...{ ETag: etag, 'Cache-Control': 'private, no-cache', 'Accept-Ranges': 'bytes' },
    'Content-Disposition': disposition(row),
    // Were it opened by itself, and not the picture it seems to be.
    'Content-Security-Policy': "default-src 'none'; sandbox",
    'X-Content-Type-Options': 'nosniff',
  }
  const known = c.req.header('If-None-Match')?.split(',')
  if (known?.some((one) => one.trim() === '*' || one.trim().replace(/^W\//, '') === etag))
    return c.body(null, 304, headers)
  const since = c.req.header('If-Range')
  const asked = since === undefined || since.trim() === etag ? c.req.header('Range') : undefined
  const span = spanOf(asked, row.size)
  const length = span?.length ?? row.size
  const last = span ? span.offset + span.length - 1 : 0
  const more: Record<string, string> = {
    'Content-Type': row.content_type,
    'Content-Length': String(length),
    ...(span ? { 'Content-Range': `bytes ${span.offset}-${last}/${row.size}` } : {}),
  }
  c.set('responseBytes', length)
  if (c.req.method === 'HEAD') return c.body(null, span ? 206 : 200, { ...headers, ...more })
  const body = await readBytesOf(ctx, row, span)
  return c.body(body, span ? 206 : 200, { ...headers, ...more })
}

/** The file that a signed URL is for. It is counted by that file, or by who asks where it was not signed here. */
export async function opened(
  c: HonoContext<AppEnv>,
  method: Signed['method'],
  id: string,
  query: SignedQuery,
) {
  const request = c.get('request')
  const signed = await proven(request, method, id, query).catch(async (refusal: unknown) => {
    await countUnknown(c)
    throw refusal
  })
  await countPinned(request, signed.tenant_id, () => admitFile(c, id))
  return signedFile(request, signed)
}

import type { Context } from '../../data/context'
import { fromStorage } from '../../lib/from-storage'
import { problem } from '../../lib/problem'
import { keyOf } from './store'
import type { FileRow } from './table'

/** Some of a file’s bytes. */
export type Span = { offset: number; length: number }

/**
 * The bytes that a Range header asks for (RFC 9110, 14.2): null for all of them, which is also the answer to what is no
 * single range. 416 where the file has none of them.
 */
export function spanOf(header: string | undefined, size: number): Span | null {
  const [, first = '', last = ''] = /^bytes=\s*(\d*)-(\d*)\s*$/i.exec(header ?? '') ?? []
  if (first === '' && last === '') return null
  if (first !== '' && last !== '' && Number(last) < Number(first)) return null
  const offset = first === '' ? Math.max(0, size - Number(last)) : Number(first)
  const end = first === '' || last === '' ? size : Math.min(size, Number(last) + 1)
  if (offset >= end)
    throw problem('range_not_satisfiable', 'The file has no such bytes', {
      details: { size },
      headers: { 'Content-Range': `bytes */${size}` },
    })
  return { offset, length: end - offset }
}

type Place = Pick<FileRow, 'tenant_id' | 'id' | 'etag'>

/** A file’s bytes, as they were when it was completed. 404 where the object has gone or is another. */
export async function readBytesOf(
  ctx: Pick<Context, 'env'>,
  row: Place,
  span: Span | null,
): Promise<ReadableStream> {
  return (await objectOf(ctx, row, span)).body
}

/** Some of them, read. */
export async function readSpanOf(ctx: Pick<Context, 'env'>, row: Place, span: Span): Promise<Uint8Array> {
  const object = await objectOf(ctx, row, span)
  return new Uint8Array(await fromStorage(object.arrayBuffer()))
}

async function objectOf(ctx: Pick<Context, 'env'>, row: Place, span: Span | null): Promise<R2ObjectBody> {
  const object = await fromStorage(
    ctx.env.FILES.get(keyOf(row), {
      ...(row.etag === null ? {} : { onlyIf: { etagMatches: row.etag } }),
      ...(span ? { range: span } : {}),
    }),
  )
  if (!object || !('body' in object)) throw problem.notFound('file', row.id)
  return object
}

import type { Context } from '../../data/context'
import { find } from '../../data/revise'
import { storageFailed } from '../../lib/from-storage'
import { problem } from '../../lib/problem'
import { isOfStorage } from './faults'
import { PART_BYTES } from './schema'
import { keyOf, removeBytes } from './store'
import { type FileRow, files } from './table'
import { plainType } from './types'

/** The bytes of a request, and what it says of them. */
export type Incoming = { body: ReadableStream<Uint8Array> | null; length: string | null; type: string }

/**
 * Takes the bytes of a file, or of one of its parts, into storage; answers their ETag. 411 without a length, 422 for
 * another length, 415 for another type than was said, 409 once the file is complete.
 */
export async function takeUpload(
  ctx: Context,
  row: FileRow,
  part: number | undefined,
  { body, length, type }: Incoming,
): Promise<string> {
  if (row.status !== 'pending')
    throw problem('conflict', 'The file is complete, and its bytes stay as they are')
  if ((row.upload_id !== null) !== (part !== undefined)) throw problem.notFound('file', row.id)
  const size = part === undefined ? row.size : Math.min(PART_BYTES, row.size - (part - 1) * PART_BYTES)
  if (length === null) throw problem('length_required', 'An upload needs a Content-Length')
  if (Number(length) !== size) throw problem.invalid({ 'Content-Length': `must be ${size}, as was said` })
  if (part === undefined && plainType(type) !== row.content_type)
    throw problem('unsupported_media_type', 'The upload is not of the type that was said', {
      details: { expected: row.content_type, received: type },
    })
  if (body === null) throw problem('malformed_body', 'There is no body')
  const { readable, writable } = new FixedLengthStream(size)
  const sent = body.pipeTo(writable)
  const kept = await Promise.all([
    part === undefined || row.upload_id === null
      ? ctx.env.FILES.put(keyOf(row), readable, { httpMetadata: { contentType: row.content_type } })
      : ctx.env.FILES.resumeMultipartUpload(keyOf(row), row.upload_id).uploadPart(part, readable),
    sent,
  ]).catch((cause: unknown) => {
    if (isOfStorage(cause)) throw storageFailed(cause)
    throw problem('malformed_body', 'The body ended early, or the upload was given up', { cause })
  })
  // Its row may have gone while the bytes came: nothing would name them any more.
  if (part === undefined && !(await find(ctx, files, row.id))) {
    await removeBytes(ctx.env, ctx.settings, row)
    throw problem.notFound('file', row.id)
  }
  return kept[0].etag
}

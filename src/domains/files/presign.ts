import { commit } from '../../data/commit'
import { actingUser, type Context } from '../../data/context'
import { iso, newId } from '../../lib/ids'
import { Problem, problem } from '../../lib/problem'
import { presignPut, usesS3 } from './s3'
import { type NewFile, type Presign, partSizes, SINGLE_BYTES, type Upload } from './schema'
import { getFile } from './service'
import { signedUrl } from './signing'
import { storageHolds } from './storage'
import { beginParts, keyOf, plainUploadId, removeBytes } from './store'
import { type FileRow, files } from './table'

/** How long a URL takes bytes. */
const URL_MS = 15 * 60_000
/** How long an upload in parts may take, with URLs that are made anew. */
const PARTS_MS = 6 * 3600_000

/** The row of a file that is still to come. */
export function newFile(ctx: Context, input: NewFile): FileRow {
  const now = iso(ctx.now)
  const { filename, content_type, size, purpose } = input
  const ms = size > SINGLE_BYTES ? PARTS_MS : URL_MS
  return {
    ...{ tenant_id: ctx.tenant.id, id: newId(ctx.now), user_id: actingUser(ctx) },
    ...{ filename, content_type, size, purpose, status: 'pending', upload_id: null, etag: null },
    // Whole seconds, as the URLs say it.
    ...{
      expires_at: iso(Math.floor((ctx.now + ms) / 1000) * 1000),
      version: 1,
      created_at: now,
      updated_at: now,
    },
  }
}

/** Reserves storage for files that will come, and says where to send them. 409 `storage_limit_reached`. */
export async function presignFiles(
  ctx: Context,
  input: Presign,
  purpose?: string,
): Promise<Partial<Upload> & { files?: Upload[] }> {
  const wanted = input.files ?? [{ purpose: 'other', ...input } as NewFile]
  const rows = wanted.map((one) => newFile(ctx, purpose === undefined ? one : { ...one, purpose }))
  try {
    for (const row of rows)
      if (row.size > SINGLE_BYTES)
        row.upload_id = await beginParts(ctx.env, ctx.settings, row, row.content_type)
    const uploads = await Promise.all(rows.map((row) => uploadOf(ctx, row)))
    const result = input.files ? { files: uploads } : (uploads[0] as Upload)
    return await commit(ctx, {
      statements: [...rows.map((row) => ctx.db.insert(files).values(row)), storageHolds(ctx)],
      result,
      // The URLs are credentials.
      secret: true,
    })
  } catch (refusal) {
    // Only what was refused stands nowhere: after any other failure a row may name the upload.
    if (refusal instanceof Problem)
      for (const row of rows) if (row.upload_id !== null) ctx.defer(removeBytes(ctx.env, ctx.settings, row))
    throw refusal
  }
}

/** New URLs for bytes that did not come yet, as long as the upload may take. 404, 409. */
export async function presignAgain(ctx: Context, id: string): Promise<Upload> {
  const row = await getFile(ctx, id)
  if (row.status === 'ready')
    throw problem('conflict', 'The file is complete, and its bytes stay as they are')
  if (endOf(row) <= ctx.now) throw problem('upload_incomplete', 'The time for the upload is over')
  return uploadOf(ctx, row)
}

const endOf = ({ expires_at }: FileRow) => Date.parse(expires_at ?? '')

/** When the URLs that are made now expire. */
const urlsEnd = (ctx: Context, row: FileRow) =>
  Math.min(endOf(row), Math.floor((ctx.now + URL_MS) / 1000) * 1000)

async function uploadOf(ctx: Context, row: FileRow): Promise<Upload> {
  const headers = { 'Content-Type': row.content_type }
  const expires_at = iso(urlsEnd(ctx, row))
  const common = { file_id: row.id, method: 'PUT' as const, headers, expires_at }
  if (row.upload_id === null) return { ...common, url: await urlOf(ctx, row, row.size), parts: null }
  const parts = await Promise.all(
    partSizes(row.size).map(async (size, i) => ({
      part_number: i + 1,
      size,
      url: await urlOf(ctx, row, size, i + 1),
    })),
  )
  return { ...common, headers: {}, url: null, parts }
}

function urlOf(ctx: Context, row: FileRow, size: number, part?: number): Promise<string> {
  const expires = urlsEnd(ctx, row) / 1000
  if (!usesS3(ctx.settings))
    return signedUrl(ctx.settings, { method: 'PUT', tenant_id: row.tenant_id, id: row.id, expires, part })
  const query =
    part === undefined ? {} : { partNumber: String(part), uploadId: plainUploadId(row.upload_id ?? '') }
  const headers = {
    'Content-Length': String(size),
    ...(part === undefined ? { 'Content-Type': row.content_type } : {}),
  }
  return presignPut(ctx.settings, keyOf(row), expires - Math.floor(ctx.now / 1000), headers, query)
}

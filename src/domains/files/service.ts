import { and, desc, eq, isNull } from 'drizzle-orm'
import { commit } from '../../data/commit'
import { actingUser, type Context } from '../../data/context'
import { type Page, pageOf } from '../../data/page'
import { find, removal, revise } from '../../data/revise'
import { madeBetween } from '../../data/span'
import { fromStorage, storageFailed } from '../../lib/from-storage'
import { iso } from '../../lib/ids'
import { problem } from '../../lib/problem'
import { liesInParts } from './faults'
import { type Complete, type ListFilters, partSizes, type SignUrl } from './schema'
import { signedUrl } from './signing'
import { joinParts, keyOf, removeBytes } from './store'
import { type FileRow, files } from './table'
import { beginsAs, HEAD_BYTES, plainType } from './types'
import { GRACE_MS } from './unfinished'

const isMine = (ctx: Context, row: FileRow): boolean =>
  row.user_id === actingUser(ctx) || ctx.principal.scopes.has('files:admin')

/** A file of the caller’s own, or any with `files:admin`; 404 otherwise. */
export async function getFile(ctx: Context, id: string): Promise<FileRow> {
  const row = await find(ctx, files, id)
  if (!row || !isMine(ctx, row)) throw problem.notFound('file', id)
  return row
}

/** Asked before a stored answer is given again: 404 where the file is not the caller’s any more; one that is gone is nobody’s. */
export async function stillMine(ctx: Context, { id = '' }: Record<string, string>): Promise<void> {
  const row = await find(ctx, files, id)
  if (row && !isMine(ctx, row)) throw problem.notFound('file', id)
}

/** A file whose bytes are there; 409 `upload_incomplete` before. */
export async function getReadyFile(ctx: Context, id: string): Promise<FileRow> {
  const row = await getFile(ctx, id)
  if (row.status !== 'ready') throw problem('upload_incomplete', 'The file’s bytes are not there yet')
  return row
}

/** A user’s files, newest first: the caller’s own, or another’s with `files:admin`. */
export async function listFiles(ctx: Context, filters: ListFilters): Promise<Page<FileRow>> {
  const { limit, cursor, user_id, purpose, created_after, created_before } = filters
  const own = actingUser(ctx)
  const owner = user_id ?? own
  if (owner !== own && !ctx.principal.scopes.has('files:admin'))
    throw problem('insufficient_scope', 'Another user’s files need the scope files:admin', {
      details: { required: ['files:admin'], missing: 'files:admin' },
    })
  const by = [owner, purpose, created_after, created_before]
  return pageOf(`files:${ctx.tenant.id}:${JSON.stringify(by)}`, { limit, cursor }, (after, most) =>
    ctx.db
      .select()
      .from(files)
      .where(
        and(
          eq(files.tenant_id, ctx.tenant.id),
          owner === null ? isNull(files.user_id) : eq(files.user_id, owner),
          purpose === undefined ? undefined : eq(files.purpose, purpose),
          madeBetween(files.id, filters, after?.id),
        ),
      )
      .orderBy(desc(files.id))
      .limit(most),
  )
}

/**
 * Looks at the bytes that came, and opens the file to be read. 409 `upload_incomplete` while there are none, 422 where
 * their number, their type or the parts are not what was said, 503 where storage failed. Harmless for a file that is open.
 */
export async function completeFile(ctx: Context, id: string, input: Complete): Promise<FileRow> {
  const row = await getFile(ctx, id)
  if (row.status === 'ready') return row
  if (row.expires_at !== null && Date.parse(row.expires_at) + GRACE_MS <= ctx.now)
    throw problem('upload_incomplete', 'The time for the upload is over')
  await joined(ctx, row, input)
  const etag = await checkedEtag(ctx, row)
  const set = { status: 'ready' as const, etag, expires_at: null, upload_id: null }
  return revise(ctx, files, 'file', id, () => ({ set }))
}

/** Makes one object of the parts; where that was done before and not noted, it stands. */
async function joined(ctx: Context, row: FileRow, { parts }: Complete): Promise<void> {
  if (row.upload_id === null) {
    if (parts) throw problem.invalid({ parts: 'are of an upload in parts, and this one was not' })
    return
  }
  if (!parts) throw problem.invalid({ parts: 'must name each part with the ETag that its PUT was answered' })
  // Storage would join some as well, and the rest could not be added any more.
  const count = partSizes(row.size).length
  const named = new Set(parts.map(({ part_number }) => part_number))
  if (parts.length !== count || named.size !== count || Math.max(...named) > count)
    throw problem.invalid({ parts: `must be all ${count} parts, each once` })
  const inOrder = parts.toSorted((a, b) => a.part_number - b.part_number)
  const cause = await joinParts(ctx.env, ctx.settings, row, row.upload_id, inOrder)
  if (cause === null || (await fromStorage(ctx.env.FILES.head(keyOf(row)))) !== null) return
  if (!liesInParts(cause)) throw storageFailed(cause)
  throw problem('validation_failed', 'Storage does not have these parts', {
    details: { fields: { parts: 'must be all there are, each with the ETag that its PUT was answered' } },
    cause,
  })
}

/** The ETag of bytes that are what was said of them. */
async function checkedEtag(ctx: Context, row: FileRow): Promise<string> {
  const object = await fromStorage(
    ctx.env.FILES.get(keyOf(row), { range: { offset: 0, length: HEAD_BYTES } }),
  )
  if (!object) throw problem('upload_incomplete', 'No bytes have come yet')
  const head = new Uint8Array(await fromStorage(object.arrayBuffer()))
  if (object.size !== row.size)
    throw problem.invalid({ size: `must be ${row.size}, as was said, and ${object.size} bytes came` })
  const stored = plainType(object.httpMetadata?.contentType ?? '')
  if (stored !== row.content_type)
    throw problem.invalid({
      content_type: `must be ${row.content_type}, as was said, and ${stored || 'none'} came`,
    })
  if (!beginsAs(row.content_type, head))
    throw problem.invalid({
      content_type: `must be what the file is: these bytes are no ${row.content_type}`,
    })
  return object.etag
}

/** Deletes a file; chats that it was sent in show its name alone. 404, 412. */
export async function deleteFile(ctx: Context, id: string): Promise<undefined> {
  const row = await getFile(ctx, id)
  await commit(ctx, {
    statements: [removal(ctx, files, 'file', id)],
    result: undefined,
    // What people do with their own files is no administration.
    ...(row.user_id === actingUser(ctx)
      ? {}
      : {
          audit: {
            ...{ action: 'file.delete', resource: 'file', resource_id: id },
            before: { filename: row.filename, user_id: row.user_id },
          },
        }),
  })
  ctx.defer(removeBytes(ctx.env, ctx.settings, row))
}

/** A URL that shows the file to whoever has it, until then. 404, 409 `upload_incomplete`. */
export async function signFileUrl(ctx: Context, id: string, { expires_in }: SignUrl) {
  await getReadyFile(ctx, id)
  const expires = Math.floor(ctx.now / 1000) + expires_in
  const url = await signedUrl(ctx.settings, { method: 'GET', tenant_id: ctx.tenant.id, id, expires })
  return { url, expires_at: iso(expires * 1000) }
}

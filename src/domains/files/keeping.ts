import { and, eq, inArray, type SQL, sql } from 'drizzle-orm'
import type { Change, Guarded } from '../../data/commit'
import type { Context } from '../../data/context'
import { find } from '../../data/revise'
import { fromStorage } from '../../lib/from-storage'
import { problem } from '../../lib/problem'
import { noteComing, staying } from './passing'
import { newFile } from './presign'
import type { NewFile } from './schema'
import { storageHolds } from './storage'
import { keyOf } from './store'
import { type FileRow, files } from './table'

// Files that belong to something else of the tenant: whoever may have that may have them.

/** A file of the tenant, whosever it is; null where there is none. Who asks has seen that the caller may have it. */
export const fileOf = (ctx: Context, id: string): Promise<FileRow | null> => find(ctx, files, id)

/** Which of these files are still there: who owns one may delete it by itself. */
export async function filesThere(ctx: Context, ids: readonly string[]): Promise<Set<string>> {
  if (ids.length === 0) return new Set()
  const listed = sql`(select value from json_each(${JSON.stringify(ids)}))`
  const rows = await ctx.db
    .select({ id: files.id })
    .from(files)
    .where(and(eq(files.tenant_id, ctx.tenant.id), inArray(files.id, listed)))
  return new Set(rows.map(({ id }) => id))
}

type Statements = Change<unknown>['statements']

/** Bytes whose number is known, held in memory or passed on as they come. */
export type Sized = Pick<Blob, 'size' | 'stream'>

/**
 * Keeps bytes that came along, for a day unless the statements are committed with what names them. 409
 * `storage_limit_reached` in that batch.
 */
export async function keepBytes(
  ctx: Context,
  said: Omit<NewFile, 'size'>,
  bytes: Sized,
): Promise<{ file: FileRow; statements: Statements }> {
  const file = newFile(ctx, { ...said, size: bytes.size })
  await noteComing(ctx, file.id)
  // R2 takes a stream whose length it is told, and refuses one that is shorter or longer.
  const value = bytes instanceof Blob ? bytes : bytes.stream().pipeThrough(new FixedLengthStream(bytes.size))
  const httpMetadata = { contentType: said.content_type }
  const object = await fromStorage(ctx.env.FILES.put(keyOf(file), value, { httpMetadata }))
  const row: FileRow = { ...file, status: 'ready', etag: object.etag, expires_at: null }
  const statements = [ctx.db.insert(files).values(row), storageHolds(ctx), staying(ctx, file.id)]
  return { file: row, statements }
}

/** The statement that says what a file is, once somebody has looked; 404 where it has gone meanwhile. */
export function retyped(ctx: Context, id: string, content_type: string): Guarded {
  const mine = and(eq(files.tenant_id, ctx.tenant.id), eq(files.id, id))
  return {
    statement: ctx.db.update(files).set({ content_type }).where(mine),
    otherwise: problem.notFound('file', id),
  }
}

/** The statement that deletes these files provided that a condition, which may name `files.id`, holds for each. */
export const withoutFiles = (ctx: Context, ids: readonly string[], provided: SQL) =>
  ctx.db
    .delete(files)
    .where(
      and(
        eq(files.tenant_id, ctx.tenant.id),
        sql`${files.id} in (select value from json_each(${JSON.stringify(ids)}))`,
        provided,
      ),
    )

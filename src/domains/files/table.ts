import { sql } from 'drizzle-orm'
import { index, integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { confined, id, tenantId, time, version } from '../../data/columns'

/**
 * How many bytes a tenant's stored objects have. Triggers on the tables whose rows name an object keep it (see the
 * migration that made it), whoever writes there.
 */
export const storedBytes = confined(
  sqliteTable('stored_bytes', {
    tenant_id: text().primaryKey(),
    bytes: integer().notNull(),
  }),
)

/**
 * Objects whose rows are gone: a trigger on `files` notes each, whoever deletes there, and the sweep removes them. Before
 * `due_at` an upload may still be on its way. Declared before `files`, so that it is emptied after it.
 */
export const droppedFiles = confined(
  sqliteTable(
    'dropped_files',
    {
      tenant_id: tenantId(),
      id: id(),
      upload_id: text(),
      due_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      index('dropped_files_due').on(table.due_at),
    ],
  ),
)

/** Files of a tenant; the bytes are in R2 under `{tenant_id}/files/{id}`. */
export const files = confined(
  sqliteTable(
    'files',
    {
      tenant_id: tenantId(),
      id: id(),
      /** Whose it is; null where a key that the platform made put it there. */
      user_id: text(),
      filename: text().notNull(),
      content_type: text().notNull(),
      /** Reserved of the tenant's storage from the first, and what the upload must have. */
      size: integer().notNull(),
      purpose: text().notNull(),
      status: text({ enum: ['pending', 'ready'] }).notNull(),
      /** Of an upload in parts that is not complete; `s3:` before those that the S3 API knows. */
      upload_id: text(),
      /** Of the object as it was when it was checked: bytes that come later are not shown. */
      etag: text(),
      /** Until when bytes may come; null once they are there. */
      expires_at: time(),
      version: version(),
      created_at: time().notNull(),
      updated_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      index('files_by_user').on(table.tenant_id, table.user_id, table.id),
      index('files_by_purpose').on(table.tenant_id, table.user_id, table.purpose, table.id),
      index('files_unfinished').on(table.expires_at).where(sql`expires_at is not null`),
    ],
  ),
)

export type FileRow = typeof files.$inferSelect

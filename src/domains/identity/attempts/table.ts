import { index, integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'

/**
 * What is allowed so many times an hour for one account, each time as a row. An address that nobody has is counted like
 * any other, so the table is of no tenant; a bucket is an HMAC, since people type passwords into the wrong field.
 */
export const attempts = sqliteTable(
  'attempts',
  {
    bucket: text().notNull(),
    id: text().notNull(),
    /** Milliseconds since 1970. */
    at: integer().notNull(),
    /** 1 while it is not known yet whether the password was right. */
    pending: integer().notNull(),
  },
  (table) => [primaryKey({ columns: [table.bucket, table.id] }), index('attempts_by_age').on(table.at)],
)

import { primaryKey, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import { confined, id, json, tenantId, time } from '../../../data/columns'

/** The login or key that a subscription was made by, as it is looked at again. */
type MadeBy = {
  key: string
  kind: 'user' | 'api_key'
  id: string
  user_id: string | null
  session_id: string | null
  role: string
}

/** The browsers that a user is told by of answers, each by its push service (RFC 8030). */
export const pushSubscriptions = confined(
  sqliteTable(
    'push_subscriptions',
    {
      tenant_id: tenantId(),
      id: id(),
      user_id: text().notNull(),
      /** SHA-256 of its address: the same browser again is the same row. */
      address_hash: text().notNull(),
      /** The push service, as a person would know it. */
      service: text().notNull(),
      /** `{endpoint, p256dh, auth}`, sealed: who has it can write to the browser. */
      target: text().notNull(),
      /** By what it was made: what ends, or loses the right to a chat, is told nothing. */
      credential: json<MadeBy>().notNull(),
      created_at: time().notNull(),
      updated_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      uniqueIndex('push_subscriptions_by_user').on(table.tenant_id, table.user_id, table.address_hash),
    ],
  ),
)

export type PushRow = typeof pushSubscriptions.$inferSelect

import { primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { confined, id, tenantId, time } from '../../../data/columns'

/** The Ed25519 keys by which a tenant's webhooks are signed for whoever must not hold a secret. A few of each tenant. */
export const webhookKeys = confined(
  sqliteTable(
    'webhook_keys',
    {
      tenant_id: tenantId(),
      id: id(),
      /** The raw 32 bytes, in base64. */
      public_key: text().notNull(),
      private_sealed: text().notNull(),
      created_at: time().notNull(),
      /** Until when it signs and is published; null while it is the newest. */
      signs_until: time(),
    },
    (table) => [primaryKey({ columns: [table.tenant_id, table.id] })],
  ),
)

export type WebhookKeyRow = typeof webhookKeys.$inferSelect

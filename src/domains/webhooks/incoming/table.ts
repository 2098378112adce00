import { sql } from 'drizzle-orm'
import { index, integer, primaryKey, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import { confined, id, json, tenantId, time, version } from '../../../data/columns'
import type { Path } from '../endpoints/filter'

/** A secret as it is kept. */
export type StoredSecret = { sealed: string }

/** How a source of plain HMAC signs. */
export type HmacOptions = {
  header: string
  algorithm: 'sha1' | 'sha256' | 'sha512'
  encoding: 'hex' | 'base64'
  prefix: string
  timestamp_header: string | null
  id_header: string | null
  type_header: string | null
}

/** What a tenant takes webhooks from. Its id is in its URL, which names no tenant. */
export const webhookSources = confined(
  sqliteTable(
    'webhook_sources',
    {
      tenant_id: tenantId(),
      id: id(),
      kind: text({
        enum: ['standard', 'github', 'slack', 'shopify', 'twilio', 'telnyx', 'ultravox', 'hmac'],
      }).notNull(),
      name: text().notNull(),
      /** Sealed; each of them may have signed. */
      secrets: json<StoredSecret[]>().notNull(),
      /** Null for every other kind. */
      hmac: json<HmacOptions>(),
      per_minute: integer().notNull(),
      /** Where a payload says whom or what it is about; null where that is not asked. */
      subject_path: json<Path>(),
      version: version(),
      created_at: time().notNull(),
      updated_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      uniqueIndex('webhook_sources_by_id').on(table.id),
    ],
  ),
)

/**
 * A webhook that was taken in, once: written in the batch of the event that it became. What a provider sent of nobody
 * whom we know is kept under the tenant `public`, without an event.
 */
export const receivedWebhooks = confined(
  sqliteTable(
    'received_webhooks',
    {
      tenant_id: tenantId(),
      /** The UUID of the event that it became, where it became one. */
      id: id(),
      /** The source's id, or the provider's name. */
      source: text().notNull(),
      /** What its sender knows it by; the same again is the same webhook. */
      key: text().notNull(),
      type: text().notNull(),
      event_id: text(),
      /** Where the body is that was too large for an event. */
      body_key: text(),
      size_bytes: integer().notNull(),
      /** Which of the source's secrets had signed it; 1 is the first. */
      signed_by: integer().notNull(),
      received_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      uniqueIndex('received_webhooks_by_key').on(table.tenant_id, table.source, table.key),
      index('received_webhooks_by_source').on(table.tenant_id, table.source, table.id),
      index('received_webhooks_with_body').on(table.tenant_id, table.id).where(sql`body_key is not null`),
    ],
  ),
)

/** A webhook that was refused, without its body. Those of providers are kept under the tenant `public`. */
export const refusedWebhooks = confined(
  sqliteTable(
    'refused_webhooks',
    {
      tenant_id: tenantId(),
      id: id(),
      source: text().notNull(),
      code: text().notNull(),
      message: text().notNull(),
      size_bytes: integer(),
      content_type: text(),
      user_agent: text(),
      address: text(),
      request_id: text().notNull(),
      received_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      index('refused_webhooks_by_source').on(table.tenant_id, table.source, table.id),
    ],
  ),
)

/** What a provider calls something that it was asked for, and for which tenant it was asked. */
export const providerReferences = confined(
  sqliteTable(
    'provider_references',
    {
      tenant_id: tenantId(),
      provider: text({ enum: ['stripe', 'telnyx', 'ultravox'] }).notNull(),
      /** A checkout, customer, connection or call, by the provider's id. */
      reference: text().notNull(),
      created_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.provider, table.reference] }),
      // An id is one tenant's alone.
      uniqueIndex('provider_references_by_id').on(table.provider, table.reference),
    ],
  ),
)

export type SourceRow = typeof webhookSources.$inferSelect
export type ReceivedRow = typeof receivedWebhooks.$inferSelect
export type RefusedRow = typeof refusedWebhooks.$inferSelect
export type Provider = (typeof providerReferences.$inferSelect)['provider']
export type SourceKind = SourceRow['kind']

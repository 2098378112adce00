import { sqliteTable, text } from 'drizzle-orm/sqlite-core'
import type { JWK } from 'jose'
import { json, time } from '../../../data/columns'

/** The service's own ES256 keys. The private half is sealed under the master key; the public half is the JWKS. */
export const signingKeys = sqliteTable('signing_keys', {
  kid: text().primaryKey(),
  public_jwk: json<JWK>().notNull(),
  private_sealed: text().notNull(),
  created_at: time().notNull(),
  /** From when it signs: one cache lifetime of the JWKS after it was published. */
  signs_from: time().notNull(),
  /** Until when it is published: its last token has expired by then. Null while it is the newest. */
  published_until: time(),
})

/** What the service must remember of a master key that came before, sealed under the one in force. */
export const serverSecrets = sqliteTable('server_secrets', {
  name: text().primaryKey(),
  sealed: text().notNull(),
  created_at: time().notNull(),
})

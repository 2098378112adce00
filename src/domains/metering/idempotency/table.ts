import { integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { json, tenantId, time, withoutRowid } from '../../../data/columns'

/**
 * What a key stood for and what was answered, for 24 hours. `status` is null while a claim runs; a claim is made only by
 * a route that calls something outside; every other key appears finished, in the batch of the change it stands for, or
 * after what changed nothing in D1.
 */
export const idempotencyKeys = withoutRowid(
  sqliteTable(
    'idempotency_keys',
    {
      tenant_id: tenantId(),
      /** The caller: `user:{id}`, `api_key:{id}`, `call:{id}`, `run:{id}` or, on public routes, `address:{address}`. */
      principal: text().notNull(),
      key: text().notNull(),
      /** SHA-256 over method, path and body. */
      fingerprint: text().notNull(),
      /** Names the request that holds the claim; a claim that was taken over no longer matches. */
      claim: text().notNull(),
      status: integer(),
      headers: json<Record<string, string>>(),
      /** Sealed where the answer holds a secret. */
      body: text(),
      /** Until then the first request still waits for what comes of the stored answer, a job, unless it says before. */
      awaited_until: time(),
      created_at: time().notNull(),
    },
    (table) => [primaryKey({ columns: [table.tenant_id, table.principal, table.key] })],
  ),
  'tenant_id',
  'principal',
  'key',
)

import { integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { confined, json, tenantId, time } from '../../../data/columns'
import type { Answers } from './answers'
import type { Latencies } from './latency'

/** What a tenant's requests of an hour or a day came to, told apart in each way by itself. Written by its Meter. */
export const usageLogs = confined(
  sqliteTable(
    'usage_logs',
    {
      tenant_id: tenantId(),
      grain: text({ enum: ['hour', 'day'] }).notNull(),
      /** By what requests are told apart; `total` has the one name ''. */
      part: text({ enum: ['total', 'endpoint', 'status', 'caller'] }).notNull(),
      started_at: time().notNull(),
      /** `GET /api/v1/chats/:id`, `200`, or the id of an API key (`user` for all others). */
      name: text().notNull(),
      requests: integer().notNull(),
      /** Those answered with 400 or more. */
      errors: integer().notNull(),
      request_size_bytes: integer().notNull(),
      response_size_bytes: integer().notNull(),
      /** How many took how long, by the buckets of latency.ts. */
      latency: json<Latencies>().notNull(),
      /** What agents answered in chats, where any did. */
      answers: json<Answers>(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.grain, table.part, table.started_at, table.name] }),
    ],
  ),
)

// Lists with several filters: every two of them at once, by what all rows have and by what none has. The small tenant has
// more rows than such a page looks at, or it would have fewer to look at than the large one.

/** A page of these: five rows for each are fewer than the small tenant has. */
const LIMIT = 'limit=15'

/** Lists of which two filters are asked for at once. */
const LISTS = new Set([
  ...['/api/v1/chats', '/api/v1/deliveries', '/api/v1/events', '/api/v1/jobs'],
  '/api/v1/webhooks/{id}/deliveries',
  '/api/v1/voices',
])

/** A span of time is a span of every index, and what belongs to one event is little. */
const ALONE = new Set(['created_after', 'created_before', 'event_id', 'include', 'user_id', 'q'])

/** What a list is asked by beside each of its filters alone; `words` are those of each. */
export function pairsOf(path: string, words: readonly string[]): string[] {
  if (!LISTS.has(path)) return []
  const nameOf = (word: string) => word.slice(0, word.indexOf('='))
  const some = words.filter((word) => !ALONE.has(nameOf(word)))
  return some.flatMap((one, i) =>
    some
      .slice(i + 1)
      .filter((other) => nameOf(other) !== nameOf(one))
      .map((other) => `${one}&${other}&${LIMIT}`),
  )
}

/** A filter alone, where the list may have to look among others. */
export const aloneOf = (path: string, word: string): string => (LISTS.has(path) ? `${word}&${LIMIT}` : word)

/**
 * All events are of one type and on one channel, and hardly any of their deliveries arrived: where no index leads to those
 * that did, they are looked for.
 */
export async function makeAlike(database: D1Database, tenantId: string): Promise<void> {
  const oldest = 'select min(id) from deliveries where tenant_id = ?1'
  const all = [
    `update events set type = 'order.shipped', channels = '["rows"]' where tenant_id = ?1`,
    'delete from event_channels where tenant_id = ?1',
    `insert into event_channels (tenant_id, channel, event_id, type, unlike)
      select tenant_id, 'rows', id, type, 0 from events where tenant_id = ?1`,
    `update deliveries set status = 'exhausted', next_attempt_at = null where tenant_id = ?1 and id <> (${oldest})`,
  ]
  for (const sql of all) await database.prepare(sql).bind(tenantId).run()
}

import { sql } from 'drizzle-orm'
import { countedDaily } from '../../metering/daily/follow'

// Interactions are counted on the day on which they occurred; a trigger takes off those that are deleted.

countedDaily({
  table: 'interactions',
  day: sql`substr(r.occurred_at, 1, 10)`,
  parts: [{ metric: 'interactions.type', name: sql`r.type`, total: 'interactions' }],
})

import { sql } from 'drizzle-orm'
import { countedDaily } from '../metering/daily/follow'

// Events are counted on the day that they tell of. Their rows are kept for 90 days and these counts for ever.

/** Of what an agent’s days are made. */
export const OF_AGENT = ['chat.created', 'chat.run.completed', 'chat.run.failed'] as const

const types = sql.raw(OF_AGENT.map((type) => `'${type}'`).join(', '))

countedDaily({
  table: 'events',
  day: sql`substr(r.timestamp, 1, 10)`,
  parts: [
    { metric: 'events.type', name: sql`r.type`, total: 'events' },
    {
      metric: 'events.agent',
      where: sql`r.type in (${types}) and r.data is not null`,
      name: sql`r.type || ' ' || (r.data ->> '$.agent_id')`,
    },
  ],
})

import * as z from 'zod'

export const Healthy = z.object({ status: z.literal('healthy') }).meta({ id: 'Healthy' })

export const ServiceState = z.enum(['healthy', 'degraded', 'unhealthy'])

/** What each part answered when it was last asked, at most five seconds ago. */
export const Readiness = z
  .object({
    status: z.enum(['ready', 'not_ready']),
    healthy: z.boolean().meta({ description: 'False where a part that requests need is down.' }),
    services: z
      .record(z.string(), ServiceState)
      .meta({ example: { database: 'healthy', chats: 'healthy', kv: 'healthy', queue: 'degraded' } }),
    failed_services: z.array(z.string()).meta({ example: [] }),
    timings_ms: z
      .record(z.string(), z.number())
      .meta({ example: { database: 2, chats: 4, kv: 1, queue: 1 } }),
    timestamp: z.iso.datetime(),
  })
  .meta({ id: 'Readiness' })

export type Readiness = z.infer<typeof Readiness>

export const KvHealth = z
  .object({
    status: z.enum(['healthy', 'unhealthy']),
    timing_ms: z.number(),
    timestamp: z.iso.datetime(),
  })
  .meta({ id: 'KvHealth' })

export type KvHealth = z.infer<typeof KvHealth>

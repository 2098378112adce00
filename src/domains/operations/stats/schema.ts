import * as z from 'zod'

const count = z.int()

export const PlatformStats = z
  .object({
    tenants: z.object({
      total: count,
      by_status: z.object({ active: count, suspended: count, cancelled: count }),
      by_plan: z.object({ starter: count, pro: count, enterprise: count }),
    }),
    users: z.object({ total: count, suspended: count }),
    deletions: z
      .object({ scheduled: count, running: count })
      .meta({ description: 'Of cancelled tenants; those that are done are not counted.' }),
    usage: z
      .object({ from: z.string(), requests: count, errors: count })
      .meta({ description: 'Of all tenants in seven days, today among them, up to the last full hour.' }),
    open_streams: count.nullable().meta({ description: 'Null while not every part can be asked.' }),
    outbox_entries: count.nullable(),
    outbox_oldest_seconds: z.number().nullable(),
    deliveries_due: count.nullable().meta({ description: 'Counted up to ten thousand.' }),
    deliveries_overdue_seconds: z.number().nullable(),
  })
  .meta({ id: 'PlatformStats' })
export type PlatformStats = z.output<typeof PlatformStats>

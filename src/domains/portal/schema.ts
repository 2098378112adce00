import * as z from 'zod'
import { TenantView } from '../tenancy/tenants/schema'

/** A tenant as its administrators see it on one page. */
export const Portal = z
  .object({
    tenant: TenantView,
    members: z.object({
      total: z.int(),
      active: z.int(),
      suspended: z.int(),
      limit: z.int().meta({ description: 'What `max_users` or the plan allows.' }),
    }),
    usage: z
      .object({ from: z.iso.datetime(), to: z.iso.datetime(), requests: z.int(), errors: z.int() })
      .nullable()
      .meta({ description: 'Of the last 24 hours; null while it can’t be read.' }),
  })
  .meta({ id: 'Portal' })
export type Portal = z.input<typeof Portal>

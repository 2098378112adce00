import * as z from 'zod'
import { Plan, RateLimits } from '../tenancy/tenants/schema'

/** What a plan means (limits.md). */
export const PlanView = z
  .object({
    name: Plan,
    limits: RateLimits,
    users: z.int().nullable().meta({ description: 'The most users a tenant may have; null: no limit.' }),
  })
  .meta({ id: 'Plan' })

import * as z from 'zod'
import { Plan } from '../../tenancy/tenants/schema'

export const LimitUse = z
  .object({
    window: z.string().meta({ description: 'As 429s and the RateLimit headers name it.', example: 'minute' }),
    per: z.enum(['second', 'minute', 'hour', 'day']).nullable().meta({
      description: 'What it counts over, sliding; null where it counts in all, or what is open now.',
    }),
    limit: z.int(),
    used: z.int().nullable().meta({ description: 'Null where what is too much is held, not refused.' }),
    remaining: z.int().nullable(),
    resets: z.int().nullable().meta({
      description: 'Seconds until the oldest of what is used leaves the window; null where nothing does.',
    }),
  })
  .meta({ id: 'LimitUse' })
export type LimitUse = z.output<typeof LimitUse>

export const LimitsNow = z.object({ plan: Plan, windows: z.array(LimitUse) }).meta({ id: 'LimitsNow' })
export type LimitsNow = z.output<typeof LimitsNow>

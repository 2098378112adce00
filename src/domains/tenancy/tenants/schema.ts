import * as z from 'zod'
import { isUuid } from '../../../lib/ids'
import { REGIONS } from '../../../lib/regions'
import { Id } from '../../../lib/wire'
import { Email, FullName, Password, User } from '../../identity/users/schema'
import { LIMIT_NAMES, type Limits, MOST, PLAN_NAMES } from '../plans'
import { TenantSettings } from './settings'

export const Slug = z
  .string()
  .regex(/^[a-z0-9-]{3,63}$/, 'must have 3 to 63 of a-z, 0-9 and -')
  // Where a tenant is named by its id or slug, one's slug must not be another's id.
  .refine((slug) => !isUuid(slug), 'must not be a UUID')
  .meta({ example: 'acme' })

export const TenantName = z.string().trim().min(1, 'must not be empty').max(200).meta({ example: 'Acme' })
export const Plan = z.enum(PLAN_NAMES)
export const Region = z.enum(REGIONS).meta({
  description:
    'Where the tenant’s objects are made, for good: `eu` keeps them in the European Union, the others are near a place. Without one they are near whoever asks first.',
})

/** Every limit by its name, each with `shapeOf` what it must be. */
const limits = <S extends z.ZodType>(shapeOf: (name: keyof Limits) => S) =>
  Object.fromEntries(LIMIT_NAMES.map((name) => [name, shapeOf(name)])) as Record<keyof Limits, S>

export const RateLimits = z.object(limits(() => z.int())).meta({ id: 'RateLimits' })

/** A tenant's own numbers: null goes back to the plan's, what is left out stays. */
export const SetRateLimits = z
  .strictObject(
    limits((name) => {
      const must = `must be a whole number from 1 to ${MOST[name]}, or null for the plan’s`
      return z.int(must).min(1, must).max(MOST[name], must).nullable().optional()
    }),
  )
  .nullable()
  .meta({
    description: 'Numbers that win over the plan’s: null takes one (or all of them) back, the others stay.',
    example: { requests_per_minute: 2_000 },
  })
export type SetRateLimits = z.output<typeof SetRateLimits>

export const TenantView = z
  .object({
    id: Id,
    name: z.string(),
    slug: z.string(),
    plan: Plan,
    status: z.enum(['active', 'suspended', 'cancelled']),
    settings: z.object(TenantSettings.shape),
    rate_limits: RateLimits,
    region: z.string().nullable(),
    created_at: z.string(),
    updated_at: z.string(),
  })
  .meta({ id: 'Tenant' })

export const Onboard = z.strictObject({
  name: TenantName,
  slug: Slug,
  email: Email,
  password: Password,
  full_name: FullName.optional(),
  region: Region.optional(),
})
export type Onboard = z.output<typeof Onboard>

export const Onboarded = z.object({ tenant: TenantView, user: User }).meta({ id: 'Onboarded' })

export const UpdateTenant = z.strictObject({
  name: TenantName.optional(),
  settings: TenantSettings.partial().optional().meta({ description: 'Settings to change; the others stay.' }),
})
export type UpdateTenant = z.output<typeof UpdateTenant>

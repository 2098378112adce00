import * as z from 'zod'
import { isUuid } from '../../../lib/ids'
import { Id } from '../../../lib/wire'
import { Email, FullName, Password, User } from '../../identity/users/schema'
import { TenantSettings } from './settings'

export const Slug = z
  .string()
  .regex(/^[a-z0-9-]{3,63}$/, 'must have 3 to 63 of a-z, 0-9 and -')
  // Where a tenant is named by its id or slug, one's slug must not be another's id.
  .refine((slug) => !isUuid(slug), 'must not be a UUID')
  .meta({ example: 'acme' })

export const TenantName = z.string().trim().min(1, 'must not be empty').max(200).meta({ example: 'Acme' })
export const Plan = z.enum(['starter', 'pro', 'enterprise'])

export const TenantView = z
  .object({
    id: Id,
    name: z.string(),
    slug: z.string(),
    plan: Plan,
    status: z.enum(['active', 'suspended', 'cancelled']),
    settings: z.object(TenantSettings.shape),
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
})
export type Onboard = z.output<typeof Onboard>

export const Onboarded = z.object({ tenant: TenantView, user: User }).meta({ id: 'Onboarded' })

export const UpdateTenant = z.strictObject({
  name: TenantName.optional(),
  settings: TenantSettings.partial().optional().meta({ description: 'Settings to change; the others stay.' }),
})
export type UpdateTenant = z.output<typeof UpdateTenant>

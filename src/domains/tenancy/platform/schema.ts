import * as z from 'zod'
import { Id } from '../../../lib/wire'
import { ApiKey, CreateApiKey } from '../../identity/api-keys/schema'
import { Email } from '../../identity/users/schema'
import { Plan, Region, SetRateLimits, Slug, TenantName } from '../tenants/schema'

export const CreateTenant = z.strictObject({
  name: TenantName,
  slug: Slug,
  plan: Plan.default('starter'),
  region: Region.optional(),
  rate_limits: SetRateLimits.optional(),
  admin_email: Email.optional().meta({ description: 'Gets an invitation to be the tenant’s admin.' }),
})
export type CreateTenant = z.output<typeof CreateTenant>

export const PatchTenant = z.strictObject({
  name: TenantName.optional(),
  plan: Plan.optional(),
  status: z.enum(['active', 'suspended']).optional().meta({
    description: 'A cancelled tenant goes on with either, until the deletion of its data begins.',
  }),
  rate_limits: SetRateLimits.optional(),
})
export type PatchTenant = z.output<typeof PatchTenant>

export const CreateTenantKey = z
  .strictObject({ ...CreateApiKey.shape, tenant_id: Id })
  .refine((input) => !(input.scopes && input.permissions), {
    path: ['permissions'],
    message: 'must be left out when scopes are given',
  })
/** A key as the platform's list shows it. */
export const TenantKey = ApiKey.extend({ tenant_id: Id }).meta({ id: 'TenantApiKey' })

export type CreateTenantKey = z.output<typeof CreateTenantKey>

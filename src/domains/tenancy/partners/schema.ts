import * as z from 'zod'
import { Id, paging } from '../../../lib/wire'
import { Plan, TenantName } from '../tenants/schema'
import { PARTNER_ROLES } from './table'

const Name = TenantName.meta({ example: 'Acme Integrators' })
const Status = z
  .enum(['active', 'suspended'])
  .meta({ description: 'The users of a suspended partner act in none of its tenants.' })
const Role = z.enum(PARTNER_ROLES).meta({ description: 'What the partner’s users are in the tenant.' })
const Time = z.string().meta({ format: 'date-time' })

export const CreatePartner = z.strictObject({ name: Name })
export type CreatePartner = z.output<typeof CreatePartner>

export const UpdatePartner = z.strictObject({ name: Name, status: Status }).partial()
export type UpdatePartner = z.output<typeof UpdatePartner>

export const ListPartners = { ...paging, status: Status.optional() }

export const Partner = z
  .object({ id: Id, name: z.string(), status: Status, created_at: Time, updated_at: Time })
  .meta({ id: 'Partner' })

export const GrantTenant = z.strictObject({ role: Role })

/** A tenant of a partner. */
export const PartnerTenant = z
  .object({
    tenant_id: Id,
    name: z.string(),
    slug: z.string(),
    plan: Plan,
    status: z.enum(['active', 'suspended', 'cancelled']),
    role: Role,
    created_at: Time.meta({ description: 'Since when it is the partner’s.' }),
  })
  .meta({ id: 'PartnerTenant' })

/** A user of a partner. */
export const PartnerUser = z
  .object({
    user_id: Id,
    tenant_id: Id.meta({ description: 'The tenant where the user logs in.' }),
    email: z.string(),
    full_name: z.string().nullable(),
    created_at: Time.meta({ description: 'Since when the user acts for the partner.' }),
  })
  .meta({ id: 'PartnerUser' })

export const Portal = z
  .object({
    partner: z.object({ id: Id, name: z.string() }),
    tenants: z.int().meta({ description: 'How many the partner has.' }),
    users: z.int().meta({ description: 'How many act for it.' }),
    active_tenant: PartnerTenant.nullable().meta({
      description: 'The one that X-Active-Tenant-Id names.',
    }),
  })
  .meta({ id: 'PartnerPortal' })

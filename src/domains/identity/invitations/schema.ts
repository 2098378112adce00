import * as z from 'zod'
import { Id, paging } from '../../../lib/wire'
import { MemberRole } from '../members/schema'
import { Email } from '../users/schema'

const Status = z.enum(
  ['pending', 'accepted', 'revoked', 'expired'],
  'must be pending, accepted, revoked or expired',
)

export const Invitation = z
  .object({
    id: Id,
    tenant_id: Id,
    email: z.string().meta({ example: 'ada@example.com' }),
    role: MemberRole,
    status: Status,
    invited_by: Id.nullable().meta({ description: 'Null where the platform invited.' }),
    user_id: Id.nullable().meta({ description: 'Whom it became.' }),
    created_at: z.string(),
    sent_at: z.string().meta({ description: 'When its last mail was written.' }),
    expires_at: z.string(),
    accepted_at: z.string().nullable(),
    revoked_at: z.string().nullable(),
  })
  .meta({ id: 'Invitation' })

export const CreateInvitation = z.strictObject({
  email: Email.meta({ format: 'email', example: 'grace@example.com' }),
  role: MemberRole.default('member'),
})
export type CreateInvitation = z.output<typeof CreateInvitation>

export const invitationFilters = { ...paging, status: Status.optional() }
export type InvitationFilters = z.output<z.ZodObject<typeof invitationFilters>>

import * as z from 'zod'
import { createdBetween, paging } from '../../../lib/wire'
import { Email, FullName, Password, Role } from '../users/schema'

/** The roles that a tenant gives. */
export const MemberRole = z.enum(
  ['viewer', 'member', 'developer', 'admin'],
  'must be viewer, member, developer or admin',
)

const Status = z.enum(['active', 'suspended'], 'must be active or suspended')

export const CreateUser = z.strictObject({
  email: Email,
  full_name: FullName.optional(),
  role: MemberRole.default('member'),
  password: Password.optional().meta({
    description: 'Left out, the user chooses one by the link of a mail, which works for seven days.',
  }),
})
export type CreateUser = z.output<typeof CreateUser>

export const UpdateUser = z.strictObject({
  role: MemberRole.optional(),
  status: Status.optional().meta({
    description: '`suspended` ends the user’s sessions and stops their keys.',
  }),
  full_name: FullName.nullable().optional(),
})
export type UpdateUser = z.output<typeof UpdateUser>

export const userFilters = {
  ...paging,
  role: Role.optional(),
  status: Status.optional(),
  q: z
    .string()
    .trim()
    .toLowerCase()
    .min(1, 'must not be empty')
    .max(254)
    .optional()
    .meta({
      description:
        'How the address begins; the list is then in the order of addresses. With another filter a page looks at five users ' +
        'for each that it may show; it may be short or empty, and goes on until `next_cursor` is null.',
    }),
  ...createdBetween,
}
export type UserFilters = z.output<z.ZodObject<typeof userFilters>>

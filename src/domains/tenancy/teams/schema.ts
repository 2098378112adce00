import * as z from 'zod'
import { Id, paging } from '../../../lib/wire'
import { Role } from '../../identity/users/schema'

const TeamName = z
  .string('must be a text')
  .trim()
  .min(1, 'must not be empty')
  .max(100, 'must have at most 100 characters')
  .meta({ description: 'No two teams have names that differ in case alone.', example: 'Support' })

const Description = z
  .string('must be a text, or null')
  .trim()
  .max(500, 'must have at most 500 characters')
  .nullable()
  .meta({ example: 'Answers customers' })

export const Team = z
  .object({
    id: Id,
    tenant_id: Id,
    name: z.string(),
    description: z.string().nullable(),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .meta({ id: 'Team' })

export const TeamMember = z
  .object({
    team_id: Id,
    user_id: Id,
    email: z.string().meta({ example: 'ada@example.com' }),
    full_name: z.string().nullable(),
    role: Role.meta({ description: 'In the tenant; a team knows no roles.' }),
    status: z.enum(['active', 'suspended']),
    created_at: z.iso.datetime().meta({ description: 'When the user came into the team.' }),
  })
  .meta({ id: 'TeamMember' })

export const CreateTeam = z.strictObject({ name: TeamName, description: Description.optional() })
export type CreateTeam = z.output<typeof CreateTeam>

export const UpdateTeam = CreateTeam.partial()
export type UpdateTeam = z.output<typeof UpdateTeam>

export const teamFilters = {
  ...paging,
  user_id: Id.optional().meta({ description: 'The teams that this user is in.' }),
  name: TeamName.optional().meta({ description: 'The team of that name, whatever its case.' }),
}
export type TeamFilters = z.output<z.ZodObject<typeof teamFilters>>

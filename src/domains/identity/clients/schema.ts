import * as z from 'zod'
import { Id } from '../../../lib/wire'
import { Plan } from '../../tenancy/tenants/schema'

export const Client = z
  .object({
    id: Id,
    name: z.string(),
    slug: z.string(),
    plan: Plan,
    role: z.string().meta({ description: 'What the caller is in this tenant.' }),
  })
  .meta({ id: 'Client' })

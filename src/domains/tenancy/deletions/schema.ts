import * as z from 'zod'
import { Id } from '../../../lib/wire'

export const Deletion = z
  .object({
    tenant_id: Id,
    status: z.enum(['scheduled', 'running', 'done']),
    requested_by: z.string().nullable().meta({
      description: 'The platform administrator; null where an unconfirmed registration was replaced.',
    }),
    cancelled_at: z.string(),
    delete_after: z.string().meta({ description: 'When the deletion begins.' }),
    started_at: z.string().nullable(),
    finished_at: z.string().nullable(),
    removed: z.record(z.string(), z.int()).meta({
      description: 'How many rows of each table, objects, files and entries were removed so far.',
      example: { endpoint_objects: 2, deliveries: 1_200, endpoints: 2, chat_objects: 40, files: 3, users: 5 },
    }),
  })
  .meta({ id: 'Deletion' })
export type Deletion = z.output<typeof Deletion>

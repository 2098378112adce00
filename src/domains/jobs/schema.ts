import * as z from 'zod'
import { createdBetween, Id, paging } from '../../lib/wire'

export const Status = z.enum(['queued', 'running', 'completed', 'failed', 'cancelled'])

export const Job = z
  .object({
    id: Id,
    kind: z.string().meta({ example: 'webhooks.recover' }),
    status: Status,
    progress: z.int().min(0).max(100).meta({ description: 'In percent.', example: 40 }),
    input: z.record(z.string(), z.unknown()).meta({ description: 'What it was asked for.' }),
    result: z.record(z.string(), z.unknown()).nullable().meta({
      description: 'What has come of it so far; final once it is completed.',
    }),
    error: z
      .object({ code: z.string(), message: z.string() })
      .nullable()
      .meta({ description: 'Why it failed, or why the step that is due did and is tried again.' }),
    created_by: z.string().nullable().meta({ description: 'The user or API key that asked for it.' }),
    created_at: z.string().meta({ format: 'date-time' }),
    started_at: z.string().nullable().meta({ format: 'date-time' }),
    finished_at: z.string().nullable().meta({ format: 'date-time' }),
    updated_at: z.string().meta({ format: 'date-time' }),
  })
  .meta({ id: 'Job' })

export const ListJobs = {
  ...paging,
  status: Status.optional(),
  kind: z
    .string()
    .regex(/^[a-z_]+(?:\.[a-z_]+)*$/, 'must be the name of a kind such as webhooks.recover')
    .max(64)
    .optional()
    .meta({ example: 'webhooks.recover' }),
  ...createdBetween,
}

export type Job = z.input<typeof Job>
export type ListJobs = z.output<z.ZodObject<typeof ListJobs>>

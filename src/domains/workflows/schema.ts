import * as z from 'zod'
import { sizeOf } from '../../lib/json-size'
import { createdBetween, Id, paging } from '../../lib/wire'
import { EventTypePattern } from '../events/schema'
import { Job, Status } from '../jobs/schema'
import { FilterField } from '../webhooks/endpoints/schema'
import { isTimeZone, refusalOfCron } from './cron'
import type { StepDefinition, Trigger } from './definition'
import { StepName, Steps } from './steps/schema'

const MAX_TRIGGERS = 10
/** Of a run's input as JSON. */
export const MAX_INPUT = 64 * 1024

const ByEvent = z.strictObject({
  type: z.literal('event'),
  event_type: EventTypePattern.meta({ description: 'A type, a prefix such as `order.*`, or `*`.' }),
  filter: FilterField.optional(),
})

const BySchedule = z.strictObject({
  type: z.literal('schedule'),
  cron: z
    .string()
    .trim()
    .max(200, 'must have at most 200 characters')
    .superRefine((cron, issue) => {
      const message = refusalOfCron(cron)
      if (message !== null) issue.addIssue({ code: 'custom', message })
    })
    .meta({ example: '0 9 * * 1-5' }),
  time_zone: z
    .string()
    .max(64)
    .refine(isTimeZone, 'must be the name of a time zone, such as Europe/Berlin')
    .default('UTC')
    .meta({ example: 'Europe/Berlin' }),
})

const Triggers = z
  .array(
    z.discriminatedUnion('type', [ByEvent, BySchedule], { error: 'must have a type: event or schedule' }),
  )
  .max(MAX_TRIGGERS, `must have at most ${MAX_TRIGGERS} triggers`)

const MAX_RUNS = 'must be a whole number from 1 to 1,000'

const fields = {
  name: z.string().trim().min(1, 'must not be empty').max(200, 'must have at most 200 characters'),
  description: z.string().max(2000, 'must have at most 2000 characters'),
  is_active: z.boolean('must be true or false').meta({ description: 'One that is not starts no runs.' }),
  triggers: Triggers.meta({ description: 'What starts it besides POST …/start.' }),
  steps: Steps.meta({
    description: 'From the first on, one after the other where they do not say otherwise.',
  }),
  max_runs: z.int(MAX_RUNS).min(1, MAX_RUNS).max(1_000, MAX_RUNS).meta({
    description: 'Runs that may be under way at once: beyond that events wait, and ticks are left out.',
  }),
}

export const EXAMPLE = {
  name: 'Large orders',
  triggers: [{ type: 'event', event_type: 'order.shipped' }],
  steps: [
    {
      ...{ name: 'is_large', type: 'branch', next: null },
      branches: [{ when: { path: 'input.total', compare: { gte: 100 } }, next: 'tell' }],
    },
    { name: 'tell', type: 'webhook', event_type: 'order.large', data: { order_id: '{{input.order_id}}' } },
  ],
}

export const CreateWorkflow = z.strictObject({
  ...fields,
  description: fields.description.default(''),
  is_active: fields.is_active.default(true),
  triggers: fields.triggers.default([]),
  max_runs: fields.max_runs.default(100),
})

export const UpdateWorkflow = z.strictObject(fields).partial()

export const StartWorkflow = z.strictObject({
  input: z
    .record(z.string(), z.unknown(), 'must be a JSON object')
    .refine((input) => sizeOf(input) <= MAX_INPUT, 'must have at most 64 KiB as JSON, nested 32 deep at most')
    .default({})
    .meta({ description: 'What steps use as {{input.…}}.', example: { order_id: 'A-1001', total: 120 } }),
})

export const ListWorkflows = {
  ...paging,
  is_active: z.stringbool('must be true or false').optional(),
  q: z.string().trim().min(1).max(100).optional().meta({ description: 'Words of the name or description.' }),
}

export const ListRuns = { ...paging, status: Status.optional(), ...createdBetween }

export const Workflow = z
  .object({
    id: Id,
    tenant_id: Id,
    name: z.string().meta({ example: 'Large orders' }),
    description: z.string(),
    is_active: z.boolean(),
    triggers: z.array(z.record(z.string(), z.unknown())).meta({ example: EXAMPLE.triggers }),
    steps: z.array(z.record(z.string(), z.unknown())).meta({ example: EXAMPLE.steps }),
    max_runs: z.int(),
    next_run_at: z
      .string()
      .nullable()
      .meta({ format: 'date-time', description: 'When a schedule starts it next.' }),
    version: z.int().meta({ description: 'Counts its changes; a run says which it began with.' }),
    created_by: z.string().nullable(),
    created_at: z.string().meta({ format: 'date-time' }),
    updated_at: z.string().meta({ format: 'date-time' }),
  })
  .meta({ id: 'Workflow' })

const RunStep = z.object({
  name: StepName,
  type: z.enum(['http', 'webhook', 'agent', 'wait', 'branch']),
  status: z.enum(['completed', 'failed']),
  visits: z.int().meta({ description: 'How often the run came here; the rest tells of the last time.' }),
  attempts: z.int(),
  output: z.unknown().meta({ example: { status: 200, body: { total: 120 } } }),
  error: z.string().nullable(),
  started_at: z.string().meta({ format: 'date-time' }),
  finished_at: z.string().meta({ format: 'date-time' }),
})

export const Run = Job.extend({
  current_step: z.string().nullable().meta({ description: 'The step that is due; null once there is none.' }),
  steps: z.array(RunStep).meta({ description: 'The steps that were made, in the order of their last time.' }),
}).meta({ id: 'WorkflowRun' })

export type CreateWorkflow = Omit<z.output<typeof CreateWorkflow>, 'steps' | 'triggers'> & {
  steps: StepDefinition[]
  triggers: Trigger[]
}
export type UpdateWorkflow = { [Name in keyof CreateWorkflow]?: CreateWorkflow[Name] | undefined }
export type StartWorkflow = z.output<typeof StartWorkflow>
export type ListWorkflows = z.output<z.ZodObject<typeof ListWorkflows>>
export type ListRuns = z.output<z.ZodObject<typeof ListRuns>>
export type Workflow = z.input<typeof Workflow>
export type Run = z.input<typeof Run>
export type RunStep = z.output<typeof RunStep>

import * as z from 'zod'
import { sizeOf } from '../../../lib/json-size'
import { Id } from '../../../lib/wire'
import { isBuiltIn } from '../../events/catalogue'
import { Channel, EventTypeName } from '../../events/schema'
import { refusalOfHeader } from '../../tools/headers'
import { FilterField } from '../../webhooks/endpoints/schema'
import type { StepDefinition } from '../definition'
import { issuesOfFlow } from '../flow'

const MAX_STEPS = 50
/** Of the steps as JSON: each run carries them. */
const MAX_DEFINITION = 64 * 1024
const LONGEST_WAIT_S = 366 * 24 * 3600

export const StepName = z
  .string()
  .regex(/^[a-z][a-z0-9_]{0,63}$/, 'must be 1 to 64 of the characters a-z 0-9 _, beginning with a letter')
  .refine((name) => !(name in {}), 'is a word that can’t be used; choose another')
  .meta({ example: 'look_up' })

const text = (most: number) =>
  z.string().min(1, 'must not be empty').max(most, `must have at most ${most} characters`)

const Attempts = z.int('must be a whole number from 1 to 8').min(1).max(8)
const seconds = (most: number) => {
  const message = `must be a whole number of seconds from 1 to ${most}`
  return z.int(message).min(1, message).max(most, message)
}

const flow = {
  name: StepName,
  next: StepName.nullable().optional().meta({
    description: 'The step that follows; null ends the run. By default the one that stands after this.',
  }),
  on_failure: StepName.optional().meta({
    description: 'Where the run goes on when this step has failed for good; without it the run fails.',
  }),
}

const Headers = z.record(z.string(), z.string('must be a string')).superRefine((headers, issue) => {
  const seen = new Set<string>()
  for (const [name, value] of Object.entries(headers)) {
    const message = seen.has(name.toLowerCase()) ? 'is given twice' : refusalOfHeader(name, value)
    if (message !== null) issue.addIssue({ code: 'custom', path: [name], message })
    seen.add(name.toLowerCase())
  }
})

const Http = z.strictObject({
  ...flow,
  type: z.literal('http'),
  method: z.enum(['GET', 'POST', 'PUT', 'PATCH', 'DELETE']).default('POST'),
  url: text(2048).meta({ example: 'https://api.example.com/orders/{{input.order_id}}' }),
  headers: Headers.default({}),
  body: z.unknown().optional().meta({ description: 'Sent as JSON; a text as it is.' }),
  timeout_seconds: seconds(60).default(30),
  attempts: Attempts.default(4),
})

const Webhook = z.strictObject({
  ...flow,
  type: z.literal('webhook'),
  event_type: EventTypeName.refine(
    (type) => !isBuiltIn(type),
    'is one of the service’s own types; send it under a name of yours',
  ),
  data: z.record(z.string(), z.unknown(), 'must be a JSON object').default({}),
  subject: text(255).optional(),
  channels: z.array(Channel).max(10, 'must have at most 10 channels').default([]),
})

const Agent = z.strictObject({
  ...flow,
  type: z.literal('agent'),
  agent_id: Id,
  prompt: text(32_768).meta({ example: 'Summarise: {{steps.look_up.output.body.text}}' }),
  timeout_seconds: seconds(300).default(60),
  attempts: Attempts.default(1),
})

const Wait = z.strictObject({
  ...flow,
  type: z.literal('wait'),
  seconds: seconds(LONGEST_WAIT_S).optional(),
  until: text(1024)
    .optional()
    .meta({ description: 'A time in ISO 8601, or a value that is one; what has passed is not waited for.' }),
})

const Branch = z.strictObject({
  ...flow,
  type: z.literal('branch'),
  branches: z
    .array(
      z.strictObject({
        when: FilterField.meta({
          description: 'A condition over `input`, `trigger`, `run` and `steps`, as endpoints filter events.',
          example: { path: 'steps.look_up.output.body.total', compare: { gte: 100 } },
        }),
        next: StepName.nullable(),
      }),
    )
    .min(1, 'must have at least one condition')
    .max(20, 'must have at most 20 conditions'),
})

const Step = z.discriminatedUnion('type', [Http, Webhook, Agent, Wait, Branch], {
  error: 'must have a type: http, webhook, agent, wait or branch',
})

export const Steps = z
  .array(z.unknown())
  .min(1, 'must have at least one step')
  .max(MAX_STEPS, `must have at most ${MAX_STEPS} steps`)
  .refine(
    (steps) => sizeOf(steps) <= MAX_DEFINITION,
    'must have at most 64 KiB as JSON, nested 32 deep at most',
  )
  .pipe(z.array(Step))
  .superRefine((steps, issue) => {
    for (const { path, message } of issuesOfFlow(steps as StepDefinition[]))
      issue.addIssue({ code: 'custom', path, message })
  })

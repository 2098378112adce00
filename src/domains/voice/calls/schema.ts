import * as z from 'zod'
import { isPhone, Phone } from '../../../lib/phone'
import { createdBetween, Id, paging } from '../../../lib/wire'
import { ENDED_REASONS } from './port'
import { CALL_STATUSES } from './table'

const MOST_METADATA = 8 * 1024

const Status = z.enum(CALL_STATUSES, `must be ${CALL_STATUSES.slice(0, -1).join(', ')} or no_answer`)

export const CallMetadata = z
  .record(z.string().max(100, 'must have a name of at most 100 characters'), z.json(), 'must be an object')
  .refine(
    (value) => Buffer.byteLength(JSON.stringify(value)) <= MOST_METADATA,
    `must have at most ${MOST_METADATA} bytes`,
  )

const SECONDS = 'must be a whole number of seconds from 10 to 86400'

export const PlaceCall = z
  .strictObject({
    agent_id: Id,
    to: Phone,
    from: Phone.optional().meta({ description: 'One of your numbers; the one that is set up otherwise.' }),
    metadata: CallMetadata.default({}).meta({
      description: 'Yours; what the agent says may name it, as `{{name}}`.',
      example: { name: 'Ada', order: 'A-1007' },
    }),
    max_duration_seconds: z.int(SECONDS).min(10, SECONDS).max(86_400, SECONDS).optional().meta({
      description: 'The longest it may last; the operator’s limit otherwise, and at most.',
    }),
  })
  .meta({ example: { agent_id: '0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d', to: '+14155550123' } })
export type PlaceCall = z.output<typeof PlaceCall>

const At = z.string().nullable().meta({ format: 'date-time' })

export const Call = z
  .object({
    id: Id,
    status: Status,
    agent_id: Id,
    campaign_id: Id.nullable(),
    contact_id: Id.nullable(),
    to: z.string().meta({ example: '+14155550123' }),
    from: z.string().meta({ example: '+14155550100' }),
    provider: z.string().meta({ description: 'Who places it.', example: 'simulated' }),
    started_at: At.meta({ format: 'date-time', description: 'When it was answered.' }),
    ended_at: At,
    duration_seconds: z
      .int()
      .nullable()
      .meta({ description: 'From the answer to the end, once it has ended.' }),
    cost: z.int().nullable().meta({ description: 'Credits, once it has ended.', example: 12 }),
    ended_reason: z.enum(ENDED_REASONS).nullable(),
    recording_url: z.url().nullable().meta({
      description: 'Plays the recording, for a quarter of an hour; null while there is none.',
    }),
    metadata: z.record(z.string(), z.json()),
    max_duration_seconds: z.int(),
    created_by: z.string().nullable().meta({ description: 'The user who placed it; null for campaigns.' }),
    created_at: z.string().meta({ format: 'date-time' }),
    updated_at: z.string().meta({ format: 'date-time' }),
  })
  .meta({ id: 'Call' })
export type CallView = z.input<typeof Call>

export const CallTurn = z
  .object({
    position: z.int().meta({ description: '0, 1, 2, … of the call.' }),
    role: z.enum(['agent', 'user']),
    text: z.string().meta({ example: 'Hello, this is Ada of Example Ltd.' }),
    started_at: z.string().meta({ format: 'date-time' }),
    ended_at: z.string().meta({ format: 'date-time' }),
  })
  .meta({ id: 'CallTurn' })

export const CallRecording = z
  .object({
    url: z.url().meta({ description: 'Needs no credential.' }),
    expires_at: z.string().meta({ format: 'date-time' }),
    content_type: z.string().meta({ example: 'audio/wav' }),
    size: z.int(),
    file_id: Id,
  })
  .meta({ id: 'CallRecording' })

export const ListCalls = {
  ...paging,
  status: Status.optional(),
  agent_id: Id.optional(),
  campaign_id: Id.optional(),
  // A plus in a query is a space where it was not escaped.
  to: z
    .string()
    .transform((text) => text.replace(/^ /, '+'))
    .refine(isPhone, 'must be a telephone number in E.164, such as +14155550123')
    .optional(),
  ...createdBetween,
}
export type ListCalls = z.output<z.ZodObject<typeof ListCalls>>

export const ListTurns = paging
export type ListTurns = z.output<z.ZodObject<typeof paging>>

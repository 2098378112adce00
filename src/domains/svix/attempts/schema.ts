import * as z from 'zod'
import { EndpointShape } from '../endpoints/schema'
import { filters, MessageOut, MessageShape } from '../messages/schema'
import { Flag, paging, Ref } from '../wire'

// Svix counts states and classes of status codes by numbers.

export const SUCCESS = 0
export const PENDING = 1
export const FAIL = 2
export const SENDING = 3
export const CANCELED = 4

export const WORDS = ['success', 'pending', 'fail', 'sending', 'canceled'] as const

const Status = z.coerce
  .number('must be a whole number from 0 to 4')
  .int('must be a whole number from 0 to 4')
  .min(0, 'must be a whole number from 0 to 4')
  .max(4, 'must be a whole number from 0 to 4')
  .optional()
  .meta({ description: '0 success, 1 pending, 2 fail, 3 sending, 4 canceled.' })

const CLASS = 'must be 0, 100, 200, 300, 400 or 500'
const StatusCodeClass = z
  .enum(['0', '100', '200', '300', '400', '500'], CLASS)
  .transform(Number)
  .optional()
  .meta({ description: 'Attempts that were answered so; 0 for those without an answer.' })

const ofAttempts = { ...filters, status: Status, status_code_class: StatusCodeClass }

export const ListByEndpoint = { ...ofAttempts, with_msg: Flag(false) }
export const ListByMessage = { ...ofAttempts, endpoint_id: Ref('ep').optional() }
export const ListMessagesOf = { ...filters, status: Status }
export const ListDestinations = paging

const state = {
  status: z.int().meta({ description: '0 success, 1 pending, 2 fail, 3 sending, 4 canceled.' }),
  statusText: z.enum(WORDS),
}

export const AttemptOut = z
  .object({
    id: z.string().meta({ example: 'atmpt_0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d_1' }),
    msgId: z.string(),
    endpointId: z.string(),
    url: z.string().meta({ description: 'Where the endpoint is now; empty where it was deleted.' }),
    response: z
      .string()
      .meta({ description: 'The first 16 KiB of the answer; `{}` without `with_content`.' }),
    responseStatusCode: z.int().meta({ description: '0 where there was no answer.' }),
    responseDurationMs: z.int(),
    ...state,
    triggerType: z.int().meta({ description: '0 by schedule, 1 asked for.' }),
    timestamp: z.string().meta({ format: 'date-time' }),
    msg: MessageOut.optional(),
  })
  .meta({ id: 'SvixMessageAttempt' })

const next = z.string().nullable().meta({ format: 'date-time', example: '2026-01-31T10:00:00.000Z' })

export const EndpointMessageOut = z
  .object({ ...MessageShape, ...state, nextAttempt: next })
  .meta({ id: 'SvixEndpointMessage' })

export const MessageEndpointOut = z
  .object({ ...EndpointShape, ...state, nextAttempt: next })
  .meta({ id: 'SvixMessageEndpoint' })

export type ListByEndpoint = z.output<z.ZodObject<typeof ListByEndpoint>>
export type ListByMessage = z.output<z.ZodObject<typeof ListByMessage>>
export type ListMessagesOf = z.output<z.ZodObject<typeof ListMessagesOf>>
export type ListDestinations = z.output<z.ZodObject<typeof ListDestinations>>
